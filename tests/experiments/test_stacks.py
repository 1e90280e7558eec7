"""Stacked sides against the mean of each side's exemplars on its own."""

from unittest import mock

import numpy as np
import pytest
import xarray as xr

from vla.activations.averaging import average
from vla.experiments.choices import Choices
from vla.experiments.gallery import Gallery
from vla.experiments.sides import Side
from vla.experiments.stacks import Stacks
from vla.experiments.study import Study
from vla.experiments.tables import Table
from vla.records import Dataset

IDS = [f"{i:02d}" for i in range(9)]


def read(view, layers):
    """Activations for any view."""
    values = np.random.default_rng(ord(view)).standard_normal((1, len(IDS), 4)).astype(np.float32)
    return xr.DataArray(values, dims=("layer", "item", "unit"), coords={"layer": ["block_1"], "item": IDS})


def stacks(averaging="mean_first", **options):
    """Stacks of a model, and the model, which counts how often it is read."""
    study = mock.Mock(spec=Study, choices=Choices(averaging=averaging), seed=3)
    model = mock.Mock()
    model.read.side_effect = read
    gallery = mock.Mock(spec=Gallery, dataset=Dataset("d", ()))
    gallery.view.side_effect = lambda modality, member: member
    return Stacks(study, {("language", "m"): model}, {"coco": gallery}, **options), model.read


TABLE = mock.Mock(spec=Table, dataset="coco", layers="penultimate")


@pytest.mark.parametrize("averaging", ["mean_first", "z_score_first"])
def test_means_of_the_first_few_are_those_of_each_on_its_own(averaging):
    (made, reads), some = stacks(averaging), IDS[::-1][:6]
    sides = [Side("language", tuple(members)) for members in ("a", "abc", "ab", "b", "bc")]
    found = made.stack(TABLE, "m", sides, some)
    assert found.shape == (5, 6, 4) and list(found["item"].values) == some
    # One exemplar alone stays as it is.
    for values, side in zip(found.values, sides, strict=True):
        own = [read(member, "").sel(item=some) for member in side.members]
        expected = own[0] if len(own) == 1 else average(own, averaging == "z_score_first")
        np.testing.assert_array_equal(values, expected.values[0])
    assert reads.call_count == 5, "a, b, c once for the first three, and b, c for the others"


def test_views_of_different_widths_are_named():
    made, reads = stacks()
    reads.side_effect = lambda view, layers: read(view, layers)[..., : 3 if view == "b" else 4]
    with pytest.raises(ValueError, match="m has activations of different widths: 4 on a, 3 on b; save those of one"):
        made.stack(TABLE, "m", [Side("language", (member,)) for member in "ab"], IDS)


def test_mismatched_items_keep_their_names_and_lose_their_rows():
    side = Side("language", ("a", "b"), mismatched=True)
    made, _ = stacks()
    found, matched = made.stack(TABLE, "m", [side], IDS), made.stack(TABLE, "m", [Side("language", ("a", "b"))], IDS)
    assert list(found["item"].values) == IDS
    assert not (found.values == matched.values).any()
    np.testing.assert_array_equal(np.sort(found.values, axis=1), np.sort(matched.values, axis=1))


@pytest.mark.parametrize(("most_bytes", "reads"), [(1 << 20, 2), (1, 3)])
def test_what_was_asked_for_last_is_held_as_far_as_there_is_room(most_bytes, reads):
    made, read = stacks(most_bytes=most_bytes)
    for members in ("a", "b", "b", "a"):
        made.stack(TABLE, "m", [Side("language", (members,))], IDS)
    assert read.call_count == reads
