"""Preferred and other images, best and worst captions, by hand-computed rankings."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from tests.stimuli.example_images import noise
from vla.records import Dataset, Item
from vla.stimuli import above_and_below_median, best_and_worst, image_view, preference_views

CAPTIONS = Dataset(
    "toy",
    (
        Item("a", Path("a"), ("a0", "a1", "a2", "a3", "a4")),
        Item("b", Path("b"), ("b0", "b1", "b2", "b3", "b4", "b5")),
        Item("c", Path("c"), ("c0", "c1", "c2", "c3", "c4")),
        Item("d", Path("d"), ("d0", "d1", "d2", "d3", "d4")),
    ),
)
NAN = np.nan
SCORES = xr.DataArray(
    [
        [0.4, 0.4, 0.4, 0.4, 0.4, NAN],
        [0.1, 0.9, 0.9, 0.1, 0.5, 0.2],
        [3.0, 2.0, 1.0, 0.0, -1.0, NAN],
        [0.2, 0.3, 0.6, 0.5, 0.1, NAN],
    ],
    dims=("item", "caption"),
    coords={"item": ["d", "b", "c", "a"]},
)


@pytest.mark.parametrize("scores", [SCORES, SCORES.T, {id: SCORES.sel(item=id).values for id in "abcd"}])
def test_best_and_worst(scores):
    best, worst = best_and_worst(CAPTIONS, scores)
    assert (best.name, worst.name, best.modality) == ("toy/best", "toy/worst", "language")
    # Of equals the first is the better: b1 before b2, b0 before b3.
    assert best.ids == worst.ids == ("a", "b", "c")
    assert (best.stimuli, worst.stimuli) == (("a2", "b1", "c0"), ("a4", "b3", "c4"))
    assert best.left_out == worst.left_out == ("d",)


def test_above_and_below_the_median():
    above, below = above_and_below_median(CAPTIONS, SCORES)
    assert [view.name for view in above + below] == [
        f"toy/{name}_{i}" for name in ("above_median", "below_median") for i in (0, 1)
    ]
    assert [view.stimuli for view in above] == [("a2", "b1", "c0"), ("a3", "b2", "c1")]
    assert [view.stimuli for view in below] == [("a4", "b3", "c4"), ("a0", "b0", "c3")]
    assert {view.left_out for view in above + below} == {("d",)}


def test_the_first_captions_only():
    best, worst = best_and_worst(CAPTIONS, SCORES, n_captions=2)
    assert (best.stimuli, worst.stimuli) == (("a1", "b1", "c0"), ("a0", "b0", "c1"))
    again = best_and_worst(CAPTIONS, SCORES[:, :2], n_captions=2)
    assert (best, worst) == again
    (above,), (below,) = above_and_below_median(CAPTIONS, SCORES, n_captions=3)
    assert (above.stimuli, below.stimuli) == (("a2", "b1", "c0"), ("a0", "b0", "c2"))
    with pytest.raises(ValueError, match="n_captions=0; expected a whole number of at least 1"):
        best_and_worst(CAPTIONS, SCORES, n_captions=0)


def test_ties():
    best, worst = best_and_worst(CAPTIONS, SCORES, ties="published")
    assert (best.stimuli[3], worst.stimuli[3], best.left_out) == ("d0", "d4", ())
    with pytest.raises(ValueError, match='1 items have captions of one score only: d. Leave them out by ties="drop"'):
        best_and_worst(CAPTIONS, SCORES, ties="refuse")
    with pytest.raises(ValueError, match="ties='keep'; expected one of drop, published, refuse"):
        best_and_worst(CAPTIONS, SCORES, ties="keep")
    lone = Dataset("toy", (Item("e", Path("e"), ("e0",)),))
    with pytest.raises(ValueError, match="no item of toy is left: none has captions of different scores"):
        best_and_worst(lone, {"e": [1.0]})
    with pytest.raises(ValueError, match="items with one caption have no median to be above or below: e"):
        above_and_below_median(lone, {"e": [1.0]}, ties="published")


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        (SCORES.drop_sel(item=["a", "c"]), "2 of the 4 items of toy have no scores: a, c. Score the captions"),
        (SCORES.fillna(0.0), "item 'a' has 5 captions, but the scores .* NaN beyond"),
        (SCORES[:, :4], "item 'a' has 5 captions, but the scores"),
        (SCORES.where(SCORES != 0.9, np.inf), "item 'b' has 6 captions, but the scores .*inf"),
        (SCORES.drop_vars("item"), "expected a DataArray with dims .item, caption. whose items are named"),
        (SCORES.values, "scores is a ndarray; expected a DataArray"),
    ],
)
def test_scores_that_do_not_fit(scores, words):
    with pytest.raises(ValueError, match=words):
        best_and_worst(CAPTIONS, scores)


def test_preferred_and_not(tmp_path):
    items = []
    for place, id in enumerate("ab"):
        for number in range(2):
            noise(12, 12, 10 * place + number).save(tmp_path / f"{id}{number}.png")
        items.append(
            Item(id, tmp_path / f"{id}0.png", ("a prompt",), rejected=tmp_path / f"{id}1.png", group="a prompt")
        )
    dataset = Dataset("toy", tuple(items))
    preferred, other = preference_views(dataset)
    assert (preferred.name, other.name) == ("toy/preferred", "toy/non_preferred")
    assert preferred.stimuli == (tmp_path / "a0.png", tmp_path / "b0.png")
    assert other.stimuli == (tmp_path / "a1.png", tmp_path / "b1.png") and preferred.ids == other.ids
    assert preferred.content == image_view(dataset).content
    blurred = preference_views(dataset, "blur", sigma=2)
    assert [view.name for view in blurred] == ["toy/preferred/blur-2", "toy/non_preferred/blur-2"]
    assert blurred[1].content == image_view(dataset, "blur:sigma=2", source="rejected").content


def test_items_that_are_no_judgments():
    with pytest.raises(ValueError, match="4 of the 4 items of toy have no rejected image"):
        preference_views(CAPTIONS)
