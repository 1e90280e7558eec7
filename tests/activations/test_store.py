"""The store: readable by xarray alone, finished or not there, whole or refused."""

import dataclasses
import hashlib
import json
import warnings

import numpy as np
import pytest
import xarray as xr

from tests.activations.groups import LAYERS, make_recipe, tree, values, write
from vla.activations import store
from vla.activations.store import Recipe, Store


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(store, "CHUNK_ITEMS", 4)


@pytest.fixture(params=["my runs/activations", "memory://my runs/activations"])
def root(request, tmp_path):
    return request.param if "://" in request.param else str(tmp_path / request.param)


def test_xarray_alone_reads_it_without_a_warning(root):
    recipe = make_recipe()
    write(Store(root), recipe)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        group = xr.open_zarr(Store(root).location(recipe))
    assert group.activations.dims == ("layer", "item", "unit") and group.activations.dtype == np.float32
    np.testing.assert_array_equal(group.activations.values, values(recipe))
    assert tuple(group.layer.values) == LAYERS and tuple(group.item.values) == recipe.items
    row = group.activations.sel(layer="block_1", item="item 7.jpg").values
    np.testing.assert_array_equal(row, values(recipe)[1, 7])
    assert group.attrs == {
        "title": "Activations of net on world/original",
        "model": "net",
        "view": "world/original",
        "source": "some/net",
        "pool": "cls",
        "numerics_version": 1,
        "key": recipe.key,
    }


def test_read_gives_what_was_written(root):
    recipe = make_recipe()
    write(Store(root), recipe)
    array = Store(root).read(recipe)
    np.testing.assert_array_equal(array.values, values(recipe))
    assert array.name == "net" and array.attrs["key"] == recipe.key
    assert array.sel(item="item 3.jpg").shape == (3, 5)


def test_only_finished_groups_are_there(root):
    store, recipe = Store(root), make_recipe()
    assert store.names() == [] and not store.has(recipe)
    unfinished = store.writer(recipe)
    unfinished.write((0, 4), values(recipe)[:, :4])
    assert store.names() == [] and not store.has(recipe)
    with pytest.raises(ValueError, match="No finished activations at .*launch.extract"):
        store.read(recipe)
    write(store, recipe)
    other = make_recipe(3)
    write(store, other)
    assert store.names() == sorted([recipe.name, other.name])


def test_a_local_store_may_be_a_relative_path_or_a_file_url(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = make_recipe()
    write(Store("a b/c"), recipe)
    monkeypatch.chdir("/")
    for root in (tmp_path / "a b" / "c", f"file://{tmp_path}/a b/c/"):
        np.testing.assert_array_equal(Store(root).read(recipe).values, values(recipe))


@pytest.mark.parametrize("url", ["nowhere://bucket/x", "made+up://x"])
def test_a_url_of_no_known_kind_is_refused(url):
    with pytest.raises(ValueError, match=f"store '{url.replace('+', '.')}': .*Expected a local path or a URL"):
        Store(url)


def damaged(tmp_path, pattern):
    store, recipe = Store(tmp_path), make_recipe()
    write(store, recipe)
    (file,) = tmp_path.glob(f"*.zarr/{pattern}")
    return store, recipe, file


@pytest.mark.parametrize("pattern", ["activations/c/1/1/0", "item/c/0", "layer/c/0"])
def test_a_flipped_bit_is_found(tmp_path, pattern):
    store, recipe, file = damaged(tmp_path, pattern)
    data = bytearray(file.read_bytes())
    data[6] ^= 1
    file.write_bytes(data)
    with pytest.raises(ValueError, match=r"\.zarr is damaged .*checksum.*: delete that folder and extract again"):
        store.read(recipe)


@pytest.mark.parametrize(
    "pattern", ["activations/c/1/1/0", "activations/zarr.json", "item/c/0", "item/zarr.json", "zarr.json"]
)
def test_a_file_cut_short_is_found(tmp_path, pattern):
    store, recipe, file = damaged(tmp_path, pattern)
    file.write_bytes(file.read_bytes()[:9])
    if pattern in ("activations/zarr.json", "item/zarr.json"):
        # The root holds a copy of these, which xarray reads instead.
        np.testing.assert_array_equal(store.read(recipe).values, values(recipe))
        return
    with pytest.raises(ValueError, match=r"\.zarr is damaged .*: delete that folder and extract again"):
        store.read(recipe)


@pytest.mark.parametrize("pattern", ["activations/c/2/0/0", "activations/c/0/2/0"])
def test_a_chunk_that_is_gone_is_found(tmp_path, pattern):
    store, recipe, file = damaged(tmp_path, pattern)
    file.unlink()
    with pytest.raises(ValueError, match="is damaged .chunks are missing.: delete that folder"):
        store.read(recipe)


def test_a_group_of_other_content_is_refused(tmp_path):
    store, recipe = Store(tmp_path), make_recipe()
    write(store, recipe)
    other = dataclasses.replace(recipe, items=tuple(reversed(recipe.items)))
    (tmp_path / f"{recipe.name}.zarr").rename(tmp_path / f"{other.name}.zarr")
    with pytest.raises(ValueError, match="holds other layers or items than its key says"):
        store.read(other)


def test_the_same_recipe_gives_the_same_bytes(tmp_path):
    recipe = make_recipe()
    for name in "ab":
        write(Store(tmp_path / name), recipe)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


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
