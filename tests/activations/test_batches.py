"""Batches through a model: every layer of every item once, whether the model is held or streamed."""

import numpy as np
import pytest

from tests.activations import tiny
from vla.activations.extract import read_out

NAMES = [f"item {i}" for i in range(9)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    where = tmp_path_factory.mktemp("models")
    return {kind: (where / kind, getattr(tiny, kind)(where / kind)[1]) for kind in ("language", "vision")}


def stimuli(kind: str) -> list:
    return tiny.captions(9) if kind == "language" else tiny.pictures(9)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind, pools", [("language", ("last", "mean")), ("vision", ("cls",))])
def test_every_layer_of_every_item_comes_once(kind, pools, stream, folders):
    directory, twin = folders[kind]
    model = tiny.load_model(directory, stream=stream)
    layers = ("embed", "block_2", "final_norm")
    found = np.full((len(pools), 3, 9, model.width), np.nan, np.float32)
    steps = []
    for where, items, values in read_out(model, stimuli(kind), NAMES, pools, layers, 2, advance=steps.append):
        assert np.isnan(found[:, where, items]).all(), "read twice"
        found[:, where, items] = values
        # a block that is passed through for others' sake reports an empty reading
        assert values.shape[1] in ((0, 1) if stream else (3,))
    assert sum(steps) == pytest.approx(9)
    see = tiny.heard if kind == "language" else tiny.seen
    chosen = [tiny.LAYERS.index(layer) for layer in layers]
    for p, pool in enumerate(pools):
        theirs = np.stack([see(twin, stimulus, pool)[chosen] for stimulus in stimuli(kind)], axis=1)
        assert tiny.apart(found[p], theirs) < 1e-5


@pytest.mark.parametrize(
    "options, message",
    [
        ({"batch_size": 0}, "batch_size=0; expected a whole number of at least 1"),
        ({"batch_size": True}, "batch_size=True; expected"),
        ({"batch_size": 2.0}, "batch_size=2.0; expected"),
        ({"workers": -1}, "workers=-1; expected a whole number of at least 0"),
    ],
)
def test_numbers_are_whole(options, message, folders):
    model = tiny.load_model(folders["language"][0])
    with pytest.raises(ValueError, match=message):
        next(read_out(model, ["a dog"], ["x"], ("mean",), ("embed",), **options))


@pytest.mark.parametrize("value, dtype, remedy", [(np.nan, "float32", "download"), (np.inf, "bfloat16", "float32'")])
def test_the_item_and_the_layer_of_what_is_not_finite_are_named(value, dtype, remedy, folders, monkeypatch):
    model = tiny.load_model(folders["language"][0], dtype=dtype)
    read = type(model).read

    def broken(self, batches, **options):
        for where, number, values in read(self, batches, **options):
            values = np.array(values)
            values[1, 0, 1, 5] = value
            yield where, number, values

    monkeypatch.setattr(type(model), "read", broken)
    captions = ["two boat", "a cat", "on grass"]
    with pytest.raises(
        ValueError, match=rf"gives (nan|inf) at layer block_2 for 1 of the 3 items .*: (u|v|w)\. .*{remedy}"
    ):
        list(read_out(model, captions, ["u", "v", "w"], ("mean",), ("embed", "block_2")))
