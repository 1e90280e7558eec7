"""Keys change with every ingredient and with nothing else."""

import dataclasses
import hashlib
import json

import pytest

from vla.activations.recipe import Recipe

RECIPE = Recipe(
    determines={
        "model_fingerprint": "f",
        "view_content": "c",
        "pool": "cls",
        "dtype": "float32",
        "numerics_version": 1,
    },
    words={"model": "dinov2-base", "view": "flickr8k/original", "source": "facebook/dinov2-base"},
    layers=("embed", "block_1"),
    items=("a.jpg", "b.jpg"),
    width=4,
)


@pytest.mark.parametrize(
    "changes",
    [
        *({"determines": {**RECIPE.determines, name: "other"}} for name in RECIPE.determines),
        {"layers": ("embed",)},
        {"layers": ("block_1", "embed")},
        {"items": ("b.jpg", "a.jpg")},
        {"items": ("a.jpg", "b.jpg", "c.jpg")},
    ],
)
def test_every_ingredient_changes_the_key(changes):
    other = dataclasses.replace(RECIPE, **changes)
    assert other.key != RECIPE.key and other.name != RECIPE.name


def test_words_and_the_order_of_ingredients_do_not_change_the_key():
    words = {**RECIPE.words, "source": "elsewhere/dinov2-base"}
    turned = dict(reversed(RECIPE.determines.items()))
    other = dataclasses.replace(RECIPE, words=words, determines=turned)
    assert (other.key, other.name) == (RECIPE.key, RECIPE.name)


def test_the_key_is_the_hash_of_the_plain_json():
    plain = {**RECIPE.determines, "layers": ["embed", "block_1"], "items": ["a.jpg", "b.jpg"]}
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    assert RECIPE.key == hashlib.sha256(text.encode()).hexdigest()


def test_the_name_says_model_and_view_and_is_fit_for_a_file():
    assert RECIPE.name == f"dinov2-base--flickr8k_original--{RECIPE.key[:16]}"
    long = dataclasses.replace(RECIPE, words={"model": "m" * 300, "view": "größe / x"})
    assert len(long.name) < 200 and "/" not in long.name and long.name.endswith(RECIPE.key[:16])
