"""Labelled activations: whatever users bring is brought to (layer, item, unit), or refused by layer and item."""

import ml_dtypes
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from vla.activations.labels import as_activations, check_items, join, label, per_item

VALUES = np.arange(24.0).reshape(2, 3, 4)


def labelled(values=VALUES, layers=("embed", "block_1"), items=("a", "b", "c")):
    return xr.DataArray(
        values, dims=("layer", "item", "unit"), coords={"layer": list(layers), "item": list(items)}, name="net"
    )


def test_label_names_the_rows_and_layers():
    array = label(VALUES, ("embed", "block_1"), ["a", "b", "c"], name="net")
    assert array.dims == ("layer", "item", "unit") and array.name == "net"
    assert array.sel(layer="block_1", item="b").values.tolist() == [16, 17, 18, 19]


@pytest.mark.parametrize("order", [("unit", "item", "layer"), ("item", "layer", "unit"), ("layer", "unit", "item")])
def test_dims_come_in_any_order(order):
    array = as_activations(labelled().transpose(*order), "x")
    assert array.dims == ("layer", "item", "unit")
    np.testing.assert_array_equal(array.values, VALUES)
    assert array["item"].values.tolist() == ["a", "b", "c"]


def test_two_axes_are_one_layer():
    array = as_activations(VALUES[0], "x")
    assert array.shape == (1, 3, 4) and array["layer"].values.tolist() == ["layer_0"]
    np.testing.assert_array_equal(array.values[0], VALUES[0])
    turned = as_activations(labelled().isel(layer=0, drop=True).transpose("unit", "item"), "x")
    np.testing.assert_array_equal(turned.values[0], VALUES[0])
    assert turned["layer"].values.tolist() == ["layer_0"]


def test_a_layer_chosen_by_name_keeps_its_name_and_its_values():
    array = as_activations(labelled().sel(layer="block_1"), "x")
    assert array["layer"].values.tolist() == ["block_1"]
    np.testing.assert_array_equal(array.values[0], VALUES[1])


def test_unnamed_layers_are_numbered():
    assert as_activations(VALUES, "x")["layer"].values.tolist() == ["layer_0", "layer_1"]


@pytest.mark.parametrize(
    ("given", "becomes"),
    [
        (np.float16, np.float32),
        (ml_dtypes.bfloat16, np.float32),
        (np.uint8, np.float32),
        (np.int16, np.float32),
        (np.int32, np.float64),
        (np.int64, np.float64),
        (np.float32, np.float32),
        (np.float64, np.float64),
    ],
)
def test_numbers_of_every_kind_keep_their_values(given, becomes):
    array = as_activations(VALUES.astype(given), "x")
    assert array.dtype == becomes
    np.testing.assert_array_equal(array.values, VALUES)


def test_arrays_of_other_libraries_are_read():
    import jax.numpy as jnp
    import torch

    for values in (jnp.asarray(VALUES, jnp.bfloat16), torch.from_numpy(VALUES), VALUES.tolist()):
        np.testing.assert_array_equal(as_activations(values, "x").values, VALUES)
    with pytest.raises(ValueError, match="x is a Tensor that is not read as an array"):
        as_activations(torch.from_numpy(VALUES).requires_grad_(), "x")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_named(bad):
    values = VALUES.copy()
    values[1, 2, 3] = values[1, 2, 1] = bad
    with pytest.raises(ValueError, match=r"x is not finite: -?(nan|inf) at layer block_1, item c, unit 1 \(2 such"):
        as_activations(labelled(values), "x")
    with pytest.raises(ValueError, match="at layer layer_1, item 2, unit 1"):
        as_activations(values, "x")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (np.zeros(3), r"y has shape \(3,\); expected \[layer, item, unit\] or \[item, unit\]"),
        (np.zeros((1, 2, 3, 4)), r"y has shape \(1, 2, 3, 4\)"),
        (np.zeros((2, 0, 4)), r"y has an empty axis: \{'layer': 2, 'item': 0, 'unit': 4\}"),
        (np.zeros((3, 4), complex), "y has values of type complex128; expected real numbers"),
        (np.full((3, 4), "a"), "expected real numbers"),
        ([[1.0, 2.0], [3.0]], "y is a list that is not read as an array"),
        (xr.DataArray(VALUES, dims=("layer", "row", "unit")), r"y has dims \('layer', 'row', 'unit'\); expected"),
        (xr.Dataset({"acts": labelled()}), r"y is a Dataset with the variables \['acts'\]"),
        (labelled(items="aba"), "item of y 'a' occurs more than once"),
        (labelled(layers=("embed", "embed")), "layer of y 'embed' occurs more than once"),
        (labelled(items=(1, 2, 2)), "item of y '2' occurs more than once"),
    ],
)
def test_what_is_no_set_of_activations_is_refused(given, words):
    with pytest.raises(ValueError, match=words):
        as_activations(given, "y")


def test_items_in_another_order_are_brought_into_order():
    x, y = join(labelled(), labelled(VALUES[:, [2, 0, 1]], items="cab"))
    np.testing.assert_array_equal(x.values, VALUES)
    np.testing.assert_array_equal(y.values, VALUES)
    assert y["item"].values.tolist() == ["a", "b", "c"]


def test_numbers_and_their_text_are_the_same_names():
    _, y = join(labelled(items=(0, 1, 2)), labelled(VALUES[:, ::-1], items=("2", "1", "0")))
    np.testing.assert_array_equal(y.values, VALUES)


def test_without_names_rows_pair_by_position():
    x, y = join(labelled(), as_activations(VALUES, "y"))
    np.testing.assert_array_equal(y.values, VALUES)


def test_other_items_are_named():
    with pytest.raises(ValueError, match="1 of x are not in y: c; y has instead d"):
        join(labelled(), labelled(items="abd"))


def test_another_number_of_items_is_refused():
    with pytest.raises(ValueError, match="x has 3 items and y has 2"):
        join(labelled(), labelled().isel(item=[0, 1]))


@pytest.mark.parametrize(
    ("items", "words"),
    [
        (["a", "b"], "2 item names for 3 stimuli"),
        (["a", "b", "a"], "item 'a' occurs more than once"),
        ([1, 2, "1"], "item '1' occurs more than once"),
        (["a", "b", None], "None is a NoneType; expected a string or a number"),
        (["a", "b", ("c", "d")], "expected a string or a number"),
        ("abc", "items='abc' is one str; expected a list"),
        (3, "items=3 is one int; expected a list"),
    ],
)
def test_item_names_that_do_not_fit_are_refused(items, words):
    with pytest.raises(ValueError, match=words):
        check_items(items, 3)


def test_item_names_may_be_numbers_or_an_array():
    assert check_items(np.array([3, 1, 2]), 3) == [3, 1, 2]


def frames(n=6):
    rng, ids = np.random.default_rng(0), [f"im{i}" for i in range(n)]
    return pd.DataFrame(rng.standard_normal((n, 3)), index=ids), pd.DataFrame(rng.standard_normal((n, 2)), index=ids)


def test_frames_are_aligned_by_their_index():
    x, y = frames()
    shuffled = y.sample(frac=1, random_state=1)
    left, right = join(as_activations(x, "x"), as_activations(shuffled, "y"))
    np.testing.assert_array_equal(right.values[0], y.to_numpy())
    assert left["item"].values.tolist() == list(x.index)
    array = as_activations(xr.DataArray(y.to_numpy(), dims=("item", "unit"), coords={"item": list(y.index)}), "y")
    np.testing.assert_array_equal(join(as_activations(shuffled, "x"), array)[1].values[0], shuffled.to_numpy())
    series = as_activations(shuffled[0], "y")
    np.testing.assert_array_equal(join(left, series)[1].values[0, :, 0], y[0].to_numpy())
    nullable = y.convert_dtypes()
    np.testing.assert_array_equal(as_activations(nullable, "y").values[0], y.to_numpy())


def test_the_default_index_is_no_name_except_beside_its_numbers():
    x, y = (frame.reset_index(drop=True) for frame in frames())
    assert "item" not in as_activations(x, "x").coords
    shuffled = y.sample(frac=1, random_state=1)
    _, right = join(as_activations(x, "x"), as_activations(shuffled, "y"))
    np.testing.assert_array_equal(right.values[0], y.to_numpy())
    _, right = join(as_activations(shuffled, "x"), as_activations(x, "y"))
    np.testing.assert_array_equal(right.values[0], x.loc[shuffled.index].to_numpy())
    _, right = join(as_activations(frames()[0], "x"), as_activations(y.to_numpy(), "y"))
    np.testing.assert_array_equal(right.values[0], y.to_numpy())  # an array is in the order of x


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda y: y.reset_index(drop=True),
            r"y has the default index 0..5, but the items are called im0, .*y.to_numpy",
        ),
        (lambda y: y.rename(index={"im0": "im1"}), "item of y 'im1' occurs more than once"),
        (lambda y: y.rename(index={"im0": "q"}), "x and y show different items: 1 of x are not in y: im0; y has .* q"),
        (lambda y: y.assign(name="a"), "y has the column 'name' of type .*; expected numbers"),
        (lambda y: y.set_index([y.index, y.index]), "y has an index of 2 levels: give one name per item"),
        (lambda y: y[:-1], "x has 6 items and y has 5"),
    ],
)
def test_frames_that_do_not_match_are_refused(change, words):
    x, y = frames()
    with pytest.raises(ValueError, match=words):
        join(as_activations(x, "x"), as_activations(change(y), "y"))


def test_values_per_item_are_brought_to_the_order_of_the_items():
    items = as_activations(frames()[0], "x")
    labels = pd.Series(list("aabbcc"), index=items["item"].values)
    shuffled = labels.sample(frac=1, random_state=1)
    for values in (
        shuffled, shuffled.to_frame(), shuffled.to_dict(), {**shuffled, "other": "z"}, labels.tolist(),
        labels.to_numpy(),
        xr.DataArray(shuffled.to_numpy(), dims=["item"], coords={"item": list(shuffled.index)}),
        xr.DataArray(labels.to_numpy(), dims=["item"]), pl_like(labels.tolist()),
    ):  # fmt: skip
        assert per_item(values, items, "groups") == list("aabbcc")
    bare = as_activations(frames()[0].to_numpy(), "x")
    assert per_item(dict(enumerate("aabbcc")), bare, "groups") == per_item(labels, bare, "groups") == list("aabbcc")


class pl_like:
    """A column of another library, which NumPy can read."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return np.array(self.values, dtype)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda g: g[:-1], "groups has 5 labels for 6 items"),
        (lambda g: g.rename({"im0": "q"}), "groups has no label for 1 of the 6 items: im0; it has labels for q"),
        (lambda g: {"im0": "a"}, "groups has no label for 5 of the 6 items: im1, "),
        (lambda g: g.rename({"im0": "im1"}), "item of groups 'im1' occurs more than once"),
        (lambda g: g.reset_index(drop=True), "groups has the default index 0..5, but the items are called im0"),
        (lambda g: pd.DataFrame({"a": g, "b": g}), "groups has 2 columns: give one"),
        (lambda g: list("ab"), r"groups has shape \(2,\); expected one label per item, \(6,\)"),
        (lambda g: g.to_xarray(), r"groups has dims \('index',\); expected \('item',\)"),
    ],
)
def test_values_of_other_items_are_refused(change, words):
    items = as_activations(frames()[0], "x")
    with pytest.raises(ValueError, match=words):
        per_item(change(pd.Series(list("aabbcc"), index=items["item"].values)), items, "groups")
