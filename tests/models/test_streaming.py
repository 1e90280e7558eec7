"""A streamed model gives what a held one gives, one block at a time."""

import gc
import weakref

import jax
import ml_dtypes
import numpy as np
import pytest

from tests.activations import tiny
from tests.checkpoints import write_language
from tests.language_checkpoints import write_family
from vla.activations.extract import extract
from vla.models import load_model, streaming
from vla.models.streaming import Shelf
from vla.models.tensor import Tensor
from vla.models.weights import Weights


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    where = tmp_path_factory.mktemp("streamed")
    tiny.language(where / "language"), tiny.vision(where / "vision")
    for kind in ("gpt2", "gemma3_text", "bloom", "mixtral"):
        write_family(where / kind, kind)
    write_family(where / "both ways", "mistral", is_causal=False)
    return where


STIMULI = {"vision": tiny.pictures(7)}


def stimuli(kind: str) -> list:
    return STIMULI.get(kind, tiny.captions(20, 30))


KINDS = [(kind, "float32") for kind in ("language", "gpt2", "gemma3_text", "bloom", "mixtral", "both ways", "vision")]


@pytest.mark.parametrize("kind, dtype", [*KINDS, ("language", "bfloat16"), ("vision", "bfloat16")])
def test_streamed_is_held(folders, kind, dtype):
    held = extract(load_model(folders / kind, dtype=dtype), stimuli(kind), batch_size=3)
    streamed = extract(load_model(folders / kind, dtype=dtype, stream=True), stimuli(kind), batch_size=3)
    # in bfloat16 compilers may fuse, and round, differently on both ways
    assert tiny.apart(streamed.values, held.values) < (1e-6 if dtype == "float32" else 2e-2)


def test_hidden_states_put_on_disk_are_the_same(folders, monkeypatch):
    for kind in ("language", "vision"):
        model = load_model(folders / kind, stream=True)
        memory = extract(model, stimuli(kind), batch_size=2)
        with monkeypatch.context() as patch:
            patch.setattr(streaming, "HELD_BYTES", 0)
            np.testing.assert_array_equal(extract(model, stimuli(kind), batch_size=2).values, memory.values)


@pytest.mark.parametrize("layers", [["embed"], ["block_2"], ["embed", "block_1"], ["block_3", "final_norm"]])
def test_only_the_blocks_that_are_needed_are_read_each_once(folders, layers, monkeypatch):
    asked, real = [], Weights.block

    def block(self, number):
        asked.append(number)
        return real(self, number)

    monkeypatch.setattr(Weights, "block", block)
    model = load_model(folders / "language", stream=True)
    read = extract(model, stimuli("language"), layers=layers, batch_size=1)
    needed = {"embed": 0, "block_1": 1, "block_2": 2}.get(layers[-1], 3)
    assert asked == list(range(needed))
    held = extract(load_model(folders / "language"), stimuli("language"), layers=layers)
    assert tiny.apart(read.values, held.values) < 1e-6


def test_two_blocks_are_in_memory_at_most(tmp_path, monkeypatch):
    write_language(tmp_path, num_hidden_layers=5)
    seen: list[weakref.ref] = []
    most, real = [], Weights.block

    def block(self, number):
        made = real(self, number)
        leaves = jax.tree.leaves(made)
        seen.extend(map(weakref.ref, leaves))
        gc.collect()
        most.append(sum(ref() is not None for ref in seen) / len(leaves))
        return made

    monkeypatch.setattr(Weights, "block", block)
    extract(load_model(tmp_path, stream=True), stimuli("language"), batch_size=1)
    assert len(most) == 5 and max(most) <= 2


def test_of_the_embeddings_only_the_rows_that_occur_are_read(folders, monkeypatch):
    from vla.models import weights

    seen = []

    def watched(directory):
        def watch(name, tensor):
            def read(index):
                part = tensor.read(index)
                seen.append((name, part.shape))
                return part

            return Tensor(tensor.file, tensor.shape, read)

        return {name: watch(name, tensor) for name, tensor in opened(directory).items()}

    opened = weights.open_tensors
    monkeypatch.setattr(weights, "open_tensors", watched)
    model = load_model(folders / "language", stream=True)
    extract(model, ["a dog", "the dog"], layers=["embed"])
    rows = [shape[0] for name, shape in seen if "embed_tokens" in name]
    assert sum(rows) == 4  # <s> a the dog


def test_an_id_beyond_the_vocabulary_is_no_reading(folders):
    for stream in (False, True):
        model = load_model(folders / "language", stream=stream)
        tokens = np.array([[1, 10**6], [1, 5], [1, -1]], np.int32)
        read = np.asarray(model.readouts(tokens, pool="last", layers=("embed", "block_1")))
        assert np.isnan(read[:, [0, 2]]).all() and np.isfinite(read[:, 1]).all()


def test_progress_ends_at_the_number_of_items(folders):
    from vla.activations.extract import read_out

    for stream in (False, True):
        model = load_model(folders / "language", stream=stream)
        for layers in (model.layer_names, ("block_1",)):
            done = []
            captions = stimuli("language")
            list(read_out(model, captions, captions, ("mean",), layers, 1, 0, done.append))
            assert sum(done) == pytest.approx(len(captions))


@pytest.mark.parametrize("bound", [0, 200, 10**6])
@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
def test_what_was_put_last_comes_back(bound, dtype, tmp_path):
    kept = Shelf(bound, str(tmp_path))
    arrays = [np.random.default_rng(i).standard_normal((2, 3 + i, 4)).astype(dtype) for i in range(5)]
    for _ in range(2):
        for i, array in enumerate(arrays):
            kept.put(i, array)
        arrays = [array[:, ::-1] for array in arrays]
    for i, array in enumerate(arrays):
        back = kept.get(i)
        assert back.dtype == dtype and np.array_equal(back, array[:, ::-1])
    kept.close()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_says_where_and_what_to_do(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(streaming.os, "pwrite", full)
    with pytest.raises(ValueError, match=r"put aside in .*No space left.*set TMPDIR"):
        Shelf(0, str(tmp_path)).put(0, np.ones(3))
