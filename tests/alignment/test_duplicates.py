"""The same stimulus twice: found whatever the layers, warned of, kept together on request; scores as asked."""

import json
import warnings

import numpy as np
import pytest
from sklearn.model_selection import GroupKFold

from tests.metrics.reference import ridge_folds
from vla.alignment import duplicates
from vla.alignment.duplicates import same_items
from vla.alignment.score import score
from vla.alignment.score_blocks import score_blocks
from vla.alignment.score_store import ScoreStore, score_recipe

COPIES = {30: 2, 31: 2, 7: 20}


def data(n=40, copies=COPIES):
    """Unrelated sides, two layers each, some rows of x copied; the first layer of x is the same for all items."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, n, 12)), rng.standard_normal((2, n, 6))
    for copy, original in copies.items():
        x[:, copy] = x[:, original] * (1 + 1e-7 * rng.standard_normal((2, 12)))
    x[0] = 0.25
    return x, y


def test_copies_share_a_label():
    x, y = data()
    labels = same_items(x, y)
    assert labels[30] == labels[31] == labels[2] and labels[7] == labels[20]
    assert len(np.unique(labels)) == 40 - 3


def test_copies_on_either_side_are_joined():
    x, y = data(copies={30: 2})
    y[:, 5] = y[:, 30]
    labels = same_items(x, y)
    assert labels[5] == labels[30] == labels[2] and len(np.unique(labels)) == 38


def test_what_is_alike_in_one_layer_only_is_not_the_same():
    x, y = data(copies={})
    y[1, 5] = y[1, 6]
    assert len(np.unique(same_items(x, y))) == 40
    assert len(np.unique(same_items(x[:1], y))) == 40, "a layer that is the same for all items tells nothing"
    assert len(np.unique(same_items(np.array([[[1.5], [2.5], [1.5], [3.5]]])))) == 4, "nor does one number"
    lengths = np.random.default_rng(0).integers(3, 6, (1, 40, 2)).astype(float)
    assert len(np.unique(same_items(lengths, y))) == 40, "nor do a few numbers"


@pytest.mark.parametrize("exact", [True, False])
def test_copies_are_found_in_a_few_numbers_that_do_not_agree_by_chance(exact):
    x = np.random.default_rng(0).standard_normal((1, 40, 2))
    x[0, 30] = x[0, 2] if exact else x[0, 2] * (1 + 1e-7)
    labels = same_items(x)
    assert labels[30] == labels[2] and len(np.unique(labels)) == 39
    x[0, 5, 0] = x[0, 7, 0]
    assert len(np.unique(same_items(x))) == 40, "two items agree in one number of two: so may others"


def test_many_copies_and_near_items_are_told_apart():
    rng = np.random.default_rng(1)
    base = rng.standard_normal((3, 30))
    rows = rng.integers(3, size=400)
    side = base[rows] + 1e-7 * rng.standard_normal((400, 30))
    labels = same_items(side[None])
    for one in range(3):
        assert len(np.unique(labels[rows == one])) == 1
    assert len(np.unique(labels)) == 3
    assert len(np.unique(same_items((base[0] + 1e-3 * rng.standard_normal((50, 30)))[None]))) == 50


def test_duplicates_are_warned_of_by_name_and_change_nothing():
    x, y = data()
    with pytest.warns(
        UserWarning, match=r"linear_predictivity: the folds separate items with .*\(1 sets.*: 2 = 30 = 31\."
    ) as said:
        result = score(x, y)
    assert len(said) == 1 and "groups='duplicates'" in str(said[0].message)
    r, _ = ridge_folds(x[1], y[0])
    assert float(result["score"][1, 0]) == pytest.approx(r.mean(axis=1).mean(), abs=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        score(x, y, metric="cka")
        score(*data(copies={}))


def test_duplicates_stay_together_on_request(tmp_path):
    x, y = data()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = score(x, y, groups="duplicates", outer_folds=4)
    labels = json.loads(result.attrs["settings"])["groups"]
    assert labels[7] == labels[20] and len(set(labels)) == 37
    folds = list(GroupKFold(4, shuffle=True, random_state=42).split(x[1], groups=labels))
    r, _ = ridge_folds(x[1], y[0], folds=folds)
    np.testing.assert_allclose(result["fold_score"].values[1, 0], r.mean(axis=1), atol=1e-6)
    recipe = score_recipe(("x", "y"), groups="duplicates", outer_folds=4)
    score_blocks(x, y, recipe, ScoreStore(tmp_path))
    np.testing.assert_allclose(ScoreStore(tmp_path).read(recipe)["score"], result["score"], atol=1e-12)
    angles = score(x, y, "shape_distance_cv", groups="duplicates")
    assert len(set(json.loads(angles.attrs["settings"])["groups"])) == 37


def test_another_word_is_refused():
    with pytest.raises(ValueError, match="groups='copies': expected one label per item, or 'duplicates'"):
        score(*data(), groups="copies")


def test_duplicates_are_sought_once_for_a_list_of_metrics(monkeypatch):
    x, y = data()
    searches = []
    monkeypatch.setattr(duplicates, "same_items", lambda *sides: searches.append(0) or same_items(*sides))
    metrics = ["linear_predictivity", "cka", "retrieval", "shape_distance_cv"]
    with pytest.warns(
        UserWarning, match=r"^linear_predictivity, retrieval, shape_distance_cv: the folds separate items with the same"
    ):
        score(x, y, metric=metrics)
    assert len(searches) == 1
    score(x, y, metric=["cka", "procrustes"])
    assert len(searches) == 1, "metrics without folds have no use of it"
    grouped = score(x, {"a": y, "b": y + 1}, metric=metrics, groups="duplicates")
    assert len(searches) == 3, "once per target"
    groups = json.loads(grouped["b"]["retrieval"].attrs["settings"])["groups"]
    assert groups[7] == groups[20] and len(set(groups)) == 37
