"""What an extraction is keyed by: the model, the view and the readout, whatever they are called."""

import dataclasses

import pytest

from tests.activations import tiny
from tests.checkpoints import write_language
from vla.activations.extract import recipe
from vla.models import load_model
from vla.records import View


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.language(tmp_path_factory.mktemp("language") / "tiny-llama")[0]


def view(**changes):
    made = View("world/caption_0", "language", ("a", "b"), ("a dog", "a cat"), "content")
    return dataclasses.replace(made, **changes)


def test_every_ingredient_of_an_extraction_is_in_the_key(model, tmp_path):
    known = recipe(model, view())
    assert known.determines == {
        "model_fingerprint": model.fingerprint,
        "view_content": "content",
        "pool": "mean",
        "dtype": "float32",
        "numerics_version": 6,
    }
    assert (known.layers, known.items, known.width) == (tiny.LAYERS, ("a", "b"), 24)
    assert known.words == {
        "model": "tiny-llama",
        "source": model.source,
        "modality": "language",
        "view": "world/caption_0",
    }
    write_language(tmp_path / "net", max_position_embeddings=tiny.LENGTH)  # the same model elsewhere
    model.commit = "ab" * 20
    fetched = recipe(model, view())
    model.commit = None
    assert fetched.words == known.words | {"commit": "ab" * 20} and fetched.key == known.key
    same = recipe(load_model(tmp_path / "net", weights=False), view(name="other words"), pool="mean", layers="all")
    others = [
        recipe(load_model(tmp_path / "net", weights=False, dtype="bfloat16"), view()),
        recipe(model, view(content="other")),
        recipe(model, view(ids=("a", "c"))),
        recipe(model, view(), pool="last"),
        recipe(model, view(), layers="penultimate"),
    ]
    write_language(tmp_path / "net", seed=1, max_position_embeddings=tiny.LENGTH)
    others.append(recipe(load_model(tmp_path / "net", weights=False), view()))
    assert same.key == known.key
    assert len({known.key, *(other.key for other in others)}) == 7


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"modality": "vision"}, "world/caption_0 is a view for vision, but tiny-llama is a language model"),
        ({"ids": ("a", "a")}, "item 'a' occurs more than once"),
        ({"ids": ("a",)}, "1 item names for 2 stimuli"),
        ({"ids": (), "stimuli": ()}, "world/caption_0 has no items"),
    ],
)
def test_a_view_that_does_not_fit_is_refused(model, changes, words):
    with pytest.raises(ValueError, match=words):
        recipe(model, view(**changes))
