"""`vla.score`: every layer pair, against scikit-learn's loop and plain NumPy, with what it refuses."""

import json

import numpy as np
import pytest
import xarray as xr
from scipy import stats
from sklearn.model_selection import GroupKFold, KFold, ShuffleSplit

import vla
from tests.metrics.reference import ALPHAS, related, ridge_folds
from vla.activations.labels import label
from vla.alignment.measure import pairings
from vla.alignment.permutations import halves
from vla.alignment.score import score
from vla.alignment.task import make_tasks
from vla.metrics import ridge_host

N = 40
ITEMS = [f"{i}.jpg" for i in range(N)]


def activations(values, layers, items=ITEMS):
    coords = {"layer": list(layers), "item": list(items)}
    return xr.DataArray(values, dims=("layer", "item", "unit"), coords=coords)


@pytest.fixture(scope="module")
def pair():
    """Two vision layers of 6 units and three language layers of 4."""
    layers = [related(seed, N, 6, 4, noise=2.0) for seed in range(3)]
    x = activations(np.stack([layers[0][0], layers[1][0]]), ("embed", "block_1"))
    y = activations(np.stack([side[1] for side in layers]), ("embed", "block_1", "final_norm"))
    return x, y


@pytest.fixture(scope="module")
def result(pair):
    return score(*pair)


def plain_cka(a, b):
    a, b = a - a.mean(0), b - b.mean(0)
    return np.linalg.norm(a.T @ b) ** 2 / (np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b))


def test_linear_predictivity_is_the_scikit_learn_loop(pair, result):
    x, y = pair
    assert result["score"].dims == ("x_layer", "y_layer")
    assert result["fold_score"].dims == result["alpha"].dims == ("x_layer", "y_layer", "fold")
    assert result["x_layer"].values.tolist() == ["embed", "block_1"]
    assert result["y_layer"].values.tolist() == ["embed", "block_1", "final_norm"]
    for a in x["layer"].values:
        for b in y["layer"].values:
            r, alphas = ridge_folds(x.sel(layer=a).values, y.sel(layer=b).values)
            cell = result.sel(x_layer=a, y_layer=b)
            np.testing.assert_allclose(cell["fold_score"].values, r.mean(axis=1), atol=1e-6)
            np.testing.assert_allclose(float(cell["score"]), r.mean(axis=1).mean(), atol=1e-6)
            np.testing.assert_allclose(cell["alpha"].values, alphas)
    assert (result["undefined"] == 0).all()


def test_constant_units_are_left_out_and_counted(pair):
    x, y = pair
    values = y.values.copy()
    values[1, :, 2] = 3.0
    values[2] = 1.0
    result = score(x, y.copy(data=values))
    r, _ = ridge_folds(x.values[0], values[1])
    np.testing.assert_allclose(float(result["score"][0, 1]), np.nanmean(r, axis=1).mean(), atol=1e-6)
    assert result["undefined"].values[0].tolist() == [[0] * 5, [1] * 5, [4] * 5]
    assert np.isnan(result["score"].values[:, 2]).all() and np.isfinite(result["score"].values[:, :2]).all()


@pytest.mark.parametrize("metric", ["cka", "cka_debiased"])
def test_a_symmetric_metric_gives_one_table(pair, metric):
    x, y = pair
    there, back = score(x, y, metric=metric), score(y, x, metric=metric)
    assert set(there.data_vars) == {"score", "chance"} and there["score"].dims == ("x_layer", "y_layer")
    np.testing.assert_allclose(there["score"].values, back["score"].values.T, atol=1e-12)
    if metric == "cka":
        expected = [[plain_cka(a, b) for b in y.values] for a in x.values]
        np.testing.assert_allclose(there["score"].values, expected, atol=1e-10)


def test_a_directed_metric_is_not_symmetric(pair, result):
    back = score(pair[1], pair[0])
    assert np.abs(result["score"].values - back["score"].values.T).max() > 0.01


@pytest.mark.parametrize("metric", ["linear_predictivity", "cka"])
def test_the_null_is_the_score_of_shuffled_items(pair, metric):
    x, y = pair
    y = y.drop_vars("item")
    result = score(x, y, metric=metric, null=2, seed=7)
    rng = np.random.default_rng(7)
    assert result["null_score"].dims == ("permutation", "x_layer", "y_layer")
    for shuffled in result["null_score"].values:
        order = rng.permutation(N)
        by_hand = score(x, y.values[:, order], metric=metric, seed=7)["score"].values
        np.testing.assert_allclose(shuffled, by_hand, atol=1e-9)
    np.testing.assert_allclose(result["score"].values, score(x, y, metric=metric, seed=7)["score"].values, atol=1e-12)


def test_items_in_another_order_change_nothing(pair, result):
    x, y = pair
    turned = y.isel(item=np.random.default_rng(0).permutation(N))
    np.testing.assert_array_equal(score(x, turned)["score"].values, result["score"].values)
    with pytest.raises(ValueError, match="1 of x are not in y: 39.jpg; y has instead other.jpg"):
        score(x, y.assign_coords(item=[*ITEMS[:-1], "other.jpg"]))
    with pytest.raises(ValueError, match="x has 40 items and y has 39"):
        score(x, y.isel(item=slice(39)))


def test_plain_arrays_of_two_or_three_axes_are_scored_alike(pair, result):
    x, y = pair
    plain = score(x.values, y.values)
    np.testing.assert_array_equal(plain["score"].values, result["score"].values)
    assert plain["x_layer"].values.tolist() == ["layer_0", "layer_1"]
    one = score(x.values[1], y.sel(layer="final_norm"))
    np.testing.assert_allclose(one["score"].values, [[result["score"].values[1, 2]]], atol=1e-12)
    assert one["y_layer"].values.tolist() == ["final_norm"]


def test_what_xarray_reads_from_disk_is_scored_alike(pair, result, tmp_path):
    """Text as zarr gives it back, rows and dims in another order than in memory."""
    x, y = pair
    named = {axis: x[axis].astype(object) for axis in ("layer", "item")}
    x.assign_coords(named).isel(item=slice(None, None, -1)).to_dataset(name="x").transpose("unit", ...).to_zarr(
        tmp_path / "x.zarr", zarr_format=2
    )
    read = score(y, xr.open_zarr(tmp_path / "x.zarr")["x"], metric="cka")
    np.testing.assert_allclose(read["score"].values, score(y, x, metric="cka")["score"].values, atol=1e-12)
    assert read["y_layer"].values.tolist() == ["embed", "block_1"]


def test_float32_is_close_to_float64(pair, result):
    x, y = (side.astype(np.float32) for side in pair)
    np.testing.assert_allclose(score(x, y)["score"].values, result["score"].values, atol=1e-5)


def test_khosla_lab_is_its_explicit_settings(pair, result):
    named = score(*pair, protocol="khosla_lab")
    spelt = score(*pair, standardize_targets=False, test_statistics="test")
    np.testing.assert_array_equal(named["score"].values, spelt["score"].values)
    r, _ = ridge_folds(pair[0].values[0], pair[1].values[0], standardize_targets=False, test_statistics="test")
    np.testing.assert_allclose(float(named["score"][0, 0]), r.mean(axis=1).mean(), atol=1e-6)
    assert np.abs(named["score"].values - result["score"].values).max() > 1e-4


def test_overrides_win_over_the_protocol(pair):
    mixed = score(*pair, protocol="khosla_lab", standardize_targets=True)
    spelt = score(*pair, test_statistics="test")
    np.testing.assert_array_equal(mixed["score"].values, spelt["score"].values)


def test_one_penalty_per_target_gives_one_alpha_per_unit(pair):
    x, y = pair
    result = score(x, y, alpha_per_target=True)
    assert result["alpha"].dims == ("x_layer", "y_layer", "fold", "y_unit")
    _, alphas = ridge_folds(x.values[0], y.values[1], per_target=True)
    np.testing.assert_allclose(result["alpha"].values[0, 1], alphas)


def test_inner_folds_and_groups_reach_the_metric(pair):
    x, y = pair
    r, alphas = ridge_folds(x.values[0], y.values[0], inner_cv=5)
    inner = score(x, y, inner_cv=5)
    np.testing.assert_allclose(inner["alpha"].values[0, 0], alphas)
    np.testing.assert_allclose(float(inner["score"][0, 0]), r.mean(axis=1).mean(), atol=1e-6)
    groups = [f"scene {i // 2}" for i in range(N)]
    folds = list(GroupKFold(4, shuffle=True, random_state=42).split(x.values[0], groups=groups))
    r, _ = ridge_folds(x.values[0], y.values[0], folds=folds)
    grouped = score(x, y, groups=groups, outer_folds=4)
    np.testing.assert_allclose(grouped["fold_score"].values[0, 0], r.mean(axis=1), atol=1e-6)
    assert json.loads(grouped.attrs["settings"])["groups"] == groups


def test_own_splits_reach_every_measurement(pair):
    """Scores, chance, nulls and halves of three random test sets of 16 items; some items are never tested."""
    x, y = pair[0].values[0], pair[1].values[0]
    splitter = ShuffleSplit(3, test_size=16, random_state=0)
    folds = list(splitter.split(x))
    found = score(x, y, metric=["linear_predictivity", "retrieval"], splits=splitter, null=1, halves=1, bootstrap=2)
    result = found["linear_predictivity"]
    r, alphas = ridge_folds(x, y, folds=folds)
    np.testing.assert_allclose(result["fold_score"].values[0, 0], r.mean(axis=1), atol=1e-9)
    np.testing.assert_allclose(result["alpha"].values[0, 0], alphas)
    assert json.loads(result.attrs["settings"])["splits"] == [[side.tolist() for side in fold] for fold in folds]
    assert "splits" not in json.loads(score(x, y).attrs["settings"])  # the keys of stores stay
    assert found["retrieval"]["chance"].item() == pytest.approx(1 / 16)
    (task,) = make_tasks(["linear_predictivity"], "paper", 42, 1)
    order = pairings(task, N)[1]
    r, _ = ridge_folds(x, y[order], folds=folds)
    np.testing.assert_allclose(result["null_score"].values.item(), r.mean(), atol=1e-9)
    for half, rows in zip(result["half_score"].values.ravel(), halves(N, None, 1, 42)[0], strict=True):
        left = [tuple(np.searchsorted(rows, side[np.isin(side, rows)]) for side in fold) for fold in folds]
        r, _ = ridge_folds(x[rows], y[rows], folds=left)
        assert half == pytest.approx(r.mean(), abs=1e-9)
    with pytest.raises(ValueError, match=r"halves= scores random halves .* splits\[0\] has too few test items"):
        score(x, y, splits=[(range(4, N), range(4))], halves=9)
    draws = score(x, y, splits=splitter, measure="r2", bootstrap=4)["resampled_score"]
    assert draws.sizes["resample"] == 4 and np.isfinite(draws).all()


@pytest.mark.parametrize("sizes", [[2] * 20, [1, 7, 2, 1, 3, 2, 1, 2, 3, 7, 9, 2]], ids=["equal", "unequal"])
def test_the_null_exchanges_whole_groups_of_equal_size(pair, sizes):
    """Else x and y, whose items are alike within groups, seem related: five of a hundred tests by chance become 17."""
    x, y = pair
    groups = np.random.default_rng(0).permutation(np.repeat([f"scene {i}" for i in range(len(sizes))], sizes))
    (task,) = make_tasks(["linear_predictivity"], "paper", 3, 4, {"groups": groups, "outer_folds": 4})
    first, *shuffled = pairings(task, N)
    assert first.tolist() == list(range(N)) and len({tuple(order) for order in shuffled}) == 4
    for order in shuffled:
        assert sorted(order) == list(range(N))
        for group in set(groups):
            rows = np.flatnonzero(groups == group)
            (there,) = set(groups[order[rows]])  # one group of y beside every group of x, its items in their order
            np.testing.assert_array_equal(order[rows], np.flatnonzero(groups == there))
    result = score(x, y.drop_vars("item"), null=4, seed=3, groups=groups, outer_folds=4)
    by_hand = score(x, y.values[:, shuffled[2]], seed=3, groups=groups, outer_folds=4)
    np.testing.assert_allclose(result["null_score"].values[2], by_hand["score"].values, atol=1e-9)


def test_the_seed_chooses_the_folds(pair, result):
    x, y = pair
    other = score(x, y, seed=np.int64(7))
    r, _ = ridge_folds(x.values[0], y.values[0], folds=list(KFold(5, shuffle=True, random_state=7).split(ITEMS)))
    np.testing.assert_allclose(other["fold_score"].values[0, 0], r.mean(axis=1), atol=1e-6)
    assert np.abs(other["score"].values - result["score"].values).max() > 1e-4
    np.testing.assert_array_equal(score(x, y, seed=42)["score"].values, result["score"].values)


def test_attributes_say_how_it_was_computed(pair, result, tmp_path):
    settings = json.loads(result.attrs["settings"])
    assert settings == {
        "alphas": [float(alpha) for alpha in settings["alphas"]],
        "outer_folds": 5,
        "inner_cv": "loo",
        "alpha_per_target": False,
        "standardize_targets": True,
        "test_statistics": "train",
        "groups": None,
        "seed": 42,
        "measure": "pearson",
    }
    np.testing.assert_allclose(settings["alphas"], ALPHAS)
    said = {name: value for name, value in result.attrs.items() if name not in ("settings", "items_hash")}
    assert said == {
        "metric": "linear_predictivity",
        "protocol": "paper",
        "seed": 42,
        "n_items": 40,
        "null": 0,
        "bootstrap": 0,
        "halves": 0,
        "confidence": 0.95,
    }
    assert score(*pair, metric="cka").attrs["settings"] == "{}"
    array_settings = score(*pair, alphas=np.array([1.0]), groups=np.arange(N), inner_cv=np.int64(3), outer_folds=4)
    assert json.loads(array_settings.attrs["settings"])["inner_cv"] == 3
    array_settings.assign_coords(
        {axis: array_settings[axis].astype(object) for axis in ("x_layer", "y_layer")}
    ).to_zarr(tmp_path / "result.zarr", zarr_format=2)
    assert xr.open_zarr(tmp_path / "result.zarr").attrs == array_settings.attrs


@pytest.mark.usefixtures("no_type_checks")
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"metric": "cosine"}, r"metric='cosine'; expected one of cca, cka, .*linear_pred"),
        ({"protocol": "mine"}, r"protocol='mine'; expected one of khosla_lab, paper"),
        (
            {"alpha": 3, "folds": 2},
            r"linear_predictivity has no setting alpha, folds; it has alpha_per",
        ),
        ({"metric": "cka", "alphas": (1.0,)}, r"cka has no setting alphas; it has none"),
        ({"null": -1}, "null=-1; expected a whole number of at least 0"),
        ({"null": True}, "null=True; expected a whole number"),
        ({"bootstrap": 1}, "bootstrap=1: an interval needs at least 2 draws"),
        ({"bootstrap": 2.0}, "bootstrap=2.0; expected a whole number"),
        ({"halves": -1}, "halves=-1; expected a whole number"),
        ({"confidence": 95}, "confidence=95; expected a number > 0 and < 1"),
        ({"metric": "mutual_knn", "neighbours": 40}, "neighbours=40, but an item has only 39 others"),
        ({"seed": 1.5}, "seed=1.5; expected a whole number"),
        ({"seed": -1}, "seed=-1; expected a whole number from 0 to 4294967295"),
        ({"seed": 2**32}, "seed=4294967296; expected"),
        ({"outer_folds": "5"}, "outer_folds='5'; expected a whole number"),
        ({"standardize_targets": "raw"}, "standardize_targets='raw': expected True or False"),
        ({"alpha_per_target": 0}, "alpha_per_target=0: expected True or False"),
        ({"metric": "cknna", "unbiased": "no"}, "unbiased='no': expected True or False"),
        ({"outer_folds": 1}, "outer_folds=1: cross-validation needs at least 2 folds"),
        ({"outer_folds": 21}, "40 items are too few for 21 folds: .*set outer_folds to at most 20"),
        ({"alphas": (-1.0,)}, "alphas=.*expected one or more positive"),
    ],
)
def test_unknown_choices_are_refused_with_the_alternatives(pair, options, words):
    with pytest.raises(ValueError, match=words):
        score(*pair, **options)


def test_bad_activations_are_refused_by_name(pair):
    x, y = pair
    values = y.values.copy()
    values[2, 5, 1] = np.nan
    with pytest.raises(ValueError, match="y is not finite: nan at layer final_norm, item 5.jpg, unit 1"):
        score(x, y.copy(data=values))
    with pytest.raises(ValueError, match=r"x has shape \(3,\)"):
        score(np.zeros(3), y)
    with pytest.raises(ValueError, match="9 items are too few for 5 folds"):
        score(x.isel(item=slice(9)), y.isel(item=slice(9)))


def test_masked_values_are_refused(pair):
    with pytest.raises(ValueError, match="x has masked values: leave these items"):
        score(np.ma.masked_greater(pair[0].values, 1), pair[1])


@pytest.mark.parametrize(
    ("metric", "asked", "words"),
    [
        ("mutual_knn", {"bootstrap": 2}, "bootstrap= scores random halves of the 14 items, 7 in each: neighbours=10"),
        ("cka_debiased", {"halves": 1}, "halves= scores random halves of the 6 items, 3 in each: .* at least 4 items"),
        ("linear_predictivity", {"halves": 1}, "halves= .* 12 items, 6 in each: 6 items are too few for 5 folds"),
    ],
)
def test_too_few_items_in_a_half_are_said_to_be_so(pair, metric, asked, words):
    n = int(words.split(" items")[0].split()[-1])
    with pytest.raises(ValueError, match=words):
        score(*(side.values[:1, :n] for side in pair), metric=metric, **asked)


def test_metrics_are_listed_with_their_facts():
    facts = vla.list_metrics()
    assert {"linear_predictivity", "cka", "cka_debiased"} <= facts.keys()
    assert facts["linear_predictivity"].directed and not facts["cka"].directed
    assert (facts["cka"].lowest, facts["cka"].highest) == (0.0, 1.0)
    facts.clear()
    assert "cka" in vla.list_metrics()
    assert vla.score is score


def test_several_metrics_in_one_call_score_as_each_alone(pair):
    x, y = pair
    both = score(x, y, metric=["cka", "linear_predictivity"], null=2, outer_folds=3)
    assert list(both) == ["cka", "linear_predictivity"]
    xr.testing.assert_identical(both["cka"], score(x, y, metric="cka", null=2))
    xr.testing.assert_identical(both["linear_predictivity"], score(x, y, null=2, outer_folds=3))


def test_metrics_of_the_same_predictions_share_them(pair, monkeypatch):
    x, y = pair
    names, asked = ["retrieval", "cka", "linear_predictivity", "matching_accuracy"], {"null": 2, "bootstrap": 3}
    asked |= {"halves": 1}
    alone = {name: score(x, y, metric=name, **asked) for name in names}
    searches = []
    search = ridge_host.choose_shared
    monkeypatch.setattr(ridge_host, "choose_shared", lambda *args: searches.append(0) or search(*args))
    together = score(x, y, metric=names, **asked)
    assert list(together) == names
    # Once for all items, and once for each half: those of the split behind bootstrap=3, and of halves=1.
    assert len(searches) == x.sizes["layer"] * 5 * (1 + 2 + 2)
    for name in names:
        xr.testing.assert_allclose(together[name], alone[name], atol=1e-9)
        assert together[name].attrs == alone[name].attrs


@pytest.mark.parametrize("metric", [[], ["cka", "cka"]])
def test_a_list_of_metrics_names_each_once(pair, metric):
    with pytest.raises(ValueError, match="metric names cka more than once|metric is empty: name at least one"):
        score(*pair, metric=metric)


def test_several_targets_in_one_call_score_as_each_alone(pair):
    """Two of equal width, which share what is prepared of x, and one of another; one with its items reordered."""
    x, y = pair
    turned = y.isel(item=np.random.default_rng(0).permutation(N)) + 0.5
    targets = {"plain": y, "wide": x, "turned": turned.isel(layer=[1])}
    for metric in ("linear_predictivity", "procrustes", ["cka", "linear_predictivity"]):
        together = score(x, targets, metric=metric, null=2, bootstrap=3)
        assert list(together) == list(targets)
        for name, target in targets.items():
            alone = score(x, target, metric=metric, null=2, bootstrap=3)
            for of, both in alone.items() if isinstance(metric, list) else [(metric, alone)]:
                got = together[name][of] if isinstance(metric, list) else together[name]
                xr.testing.assert_allclose(got, both, atol=1e-9)
                assert got.attrs == both.attrs


def test_targets_are_named_in_refusals(pair):
    x, y = pair
    with pytest.raises(ValueError, match=r"y\['b'\] is not finite"):
        score(x, {"a": y, "b": y * np.nan})
    with pytest.raises(ValueError, match="y is an empty mapping"):
        score(x, {})
    with pytest.raises(ValueError, match="y is a Dataset with the variables"):
        score(x, xr.Dataset({"a": y}))


def test_draws_depend_on_items_seed_and_folds_alone(pair):
    x, y = pair
    one = score(x, y, bootstrap=4, halves=2)
    assert one["resampled_score"].dims == ("resample", "x_layer", "y_layer") and one.sizes["resample"] == 4
    assert one["half_score"].dims == ("split", "half", "x_layer", "y_layer")
    xr.testing.assert_identical(score(x, y, bootstrap=4, halves=2), one)
    part = score(x.isel(layer=[1]), y.isel(layer=[2]), bootstrap=4)
    np.testing.assert_allclose(part["resampled_score"][:, 0, 0], one["resampled_score"][:, 1, 2], atol=1e-12)
    assert np.abs(score(x, y, bootstrap=4, seed=1)["resampled_score"] - one["resampled_score"]).max() > 1e-3
    assert (one["ci_low"] <= one["ci_high"]).all()


def test_chance_stands_beside_every_biased_score_without_a_null(pair):
    x, y = pair
    for metric in ("cka", "cka_rbf", "mutual_knn", "retrieval", "rsa"):
        result = score(x, y, metric=metric, null=300)
        assert result["chance"].dims == ("x_layer", "y_layer")
        error = result["null_score"].std("permutation") / np.sqrt(300)
        assert (np.abs(result["null_mean"] - result["chance"]) < 5 * error).all(), metric
    assert "chance" not in score(x, y, metric="procrustes")
    dead = x.copy(data=np.ones_like(x.values))
    assert np.isnan(score(dead, y, metric="cka")["chance"]).all()


def test_integers_and_half_precision_score_as_their_values(pair):
    x, y = (np.round(side.values * 10) for side in pair)
    whole = score(x, y)
    for kind in (np.int16, np.int64, np.float16):
        values = (x.astype(kind), y.astype(kind))
        same = score(*(side.astype(np.float64) for side in values))
        np.testing.assert_allclose(score(*values)["score"], same["score"], atol=1e-5)
    np.testing.assert_allclose(score(x.astype(np.int64), y.astype(np.int64))["score"], whole["score"], atol=1e-12)


@pytest.mark.parametrize("measure", ["r2", "explained_variance"])
def test_shares_of_variance_have_no_lower_end_and_no_known_chance(measure):
    """Penalties too small for more units than items: predictions of unrelated targets are far off."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 40, 30)), rng.standard_normal((2, 40, 6))
    result = score(x, y, measure=measure, alphas=(1e-6,), bootstrap=30, null=9)
    drawn = result["resampled_score"]
    assert (result["score"] < -1).all() and (result["ci_low"] < result["score"]).all()
    reach = stats.t.ppf(0.975, 15) * drawn.std("resample")
    np.testing.assert_allclose(result["ci_low"].values, (result["score"] - reach).values)
    assert (result["null_mean"] < -1).all() and "chance" not in result
    assert "chance" in score(x, y)


def test_a_blank_item_that_leaves_a_layer_without_score_is_named():
    """Its units are all alike, so that it correlates with no item; other layers keep their scores."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 20, 6)), rng.standard_normal((1, 20, 5))
    x[1, 7] = 0
    x = label(x, ["early", "late"], [f"image_{i}" for i in range(20)])
    with pytest.warns(UserWarning, match=r"rsa: layer late of x has no score.*image_7.*drop_sel"):
        result = vla.score(x, y, metric="rsa")
    np.testing.assert_array_equal(np.isnan(result.score.values[:, 0]), [False, True])
    assert "image_7" in result.attrs["undefined_because"]
    assert np.isfinite(vla.score(x, y, metric="mutual_knn").score).all()


def test_the_score_of_every_target_unit():
    """Pearson r of each held-out unit, labelled by the units of y; beside metrics that have none."""
    x, y = related(3, 40, 6, 5)
    named = xr.DataArray(y[None], dims=("layer", "item", "unit"), coords={"unit": list("abcde")})
    result = vla.score(x, named, ["linear_predictivity", "retrieval"], units=True)
    units = result["linear_predictivity"]["unit_score"]
    assert units.dims == ("x_layer", "y_layer", "fold", "y_unit") and units["y_unit"].values.tolist() == list("abcde")
    np.testing.assert_allclose(units.values[0, 0], ridge_folds(x, y)[0], atol=1e-9)
    np.testing.assert_allclose(units.mean("y_unit"), result["linear_predictivity"]["fold_score"])
    assert "unit_score" not in result["retrieval"]
    assert "unit_score" not in vla.score(x, y)
    with pytest.raises(ValueError, match="units=True: cka is no mean over target units; only linear_predictivity is"):
        vla.score(x, y, "cka", units=True)
