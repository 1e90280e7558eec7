import numpy as np
import pytest
import zarr

from tests.metrics.reference import related, ridge_folds
from vla.metrics.folds import outer_folds
from vla.metrics.linear_predictivity import all_pairs
from vla.metrics.ridge_settings import RidgeSettings
from vla.metrics.ridge_streamed import streamed_predictivity

SETTINGS = RidgeSettings(inner_cv=4)


@pytest.mark.parametrize("standardize", [True, False])
def test_equals_scikit_learn_and_the_same_in_memory(standardize):
    x, y = related(0, 203, 20, 12, noise=3.0)
    settings = RidgeSettings(inner_cv=4, standardize_targets=standardize)
    found = streamed_predictivity(x, y, settings, rows=37)
    r, alpha = ridge_folds(x, y, inner_cv=4, standardize_targets=standardize)
    np.testing.assert_allclose(found.alpha[0, 0, 0], alpha, rtol=1e-12)
    np.testing.assert_allclose(found.fold_score[0, 0, 0], r.mean(axis=1), atol=1e-9)
    in_memory = all_pairs(x[None], y[None], settings)
    for name in ("fold_score", "alpha", "undefined"):
        np.testing.assert_allclose(getattr(found, name), getattr(in_memory, name), atol=1e-9)


def test_memory_maps_and_zarr_are_read_in_slices(tmp_path):
    x, y = related(1, 120, 9, 5)
    np.save(tmp_path / "x.npy", x)
    stored = zarr.create_array(str(tmp_path / "y.zarr"), data=y, chunks=(32, 5))
    asked = []

    class Watched:
        shape = x.shape

        def __getitem__(self, rows):
            asked.append((rows.start, rows.stop))
            return np.load(tmp_path / "x.npy", mmap_mode="r")[rows]

    found = streamed_predictivity(Watched(), stored, SETTINGS, rows=50)
    assert asked == [(0, 50), (50, 100), (100, 120)]
    whole = streamed_predictivity(x, y, SETTINGS, rows=1000)
    np.testing.assert_allclose(found.fold_score, whole.fold_score, atol=1e-12)


def test_large_means_constant_units_and_rank_deficiency():
    x, y = related(2, 150, 8, 6)
    x = np.concatenate([x, x[:, :2] @ np.ones((2, 3)), np.full((150, 1), 0.1)], axis=1) + 1e3
    y[:, 1] = 0.3
    found = streamed_predictivity(x, y, SETTINGS)
    r, alpha = ridge_folds(x, y, inner_cv=4)
    np.testing.assert_allclose(found.alpha[0, 0, 0], alpha, rtol=1e-12)
    np.testing.assert_allclose(found.fold_score[0, 0, 0], np.nanmean(r, axis=1), atol=1e-8)
    np.testing.assert_array_equal(found.undefined[0, 0, 0], 1)


def test_grouped_folds():
    x, y = related(3, 90, 6, 4)
    settings = RidgeSettings(inner_cv=3, groups=np.repeat(np.arange(30), 3))
    whole, found = all_pairs(x[None], y[None], settings), streamed_predictivity(x, y, settings, rows=20)
    np.testing.assert_allclose(found.fold_score, whole.fold_score, atol=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"settings": RidgeSettings()}, "inner_cv as a number"),
        ({"settings": RidgeSettings(inner_cv=3, alpha_per_target=True)}, "alpha_per_target=False"),
        ({"settings": RidgeSettings(inner_cv=3, test_statistics="test")}, "test_statistics='train'"),
        ({"y": np.zeros((39, 2))}, "same items"),
        ({"y": np.where(np.arange(40)[:, None] == 17, np.nan, np.ones((40, 2)))}, "y is not finite at item 17"),
        ({"rows": 0}, "rows=0"),
    ],
)
def test_what_sums_cannot_serve_is_refused(change, message):
    given = {"x": np.ones((40, 3)), "y": np.ones((40, 2)), "settings": SETTINGS, "rows": 10}
    with pytest.raises(ValueError, match=message):
        streamed_predictivity(**{**given, **change})


@pytest.mark.parametrize("offset", [0.0, 5.0])
@pytest.mark.parametrize("still", ["y in training", "y in test", "x in test"])
def test_units_that_are_constant_in_one_fold_only(still, offset):
    """However far they are from the mean of the first chunk, which is what sums are kept about."""
    x, y = related(4, 60, 5, 4)
    x, (train, test) = x + offset, outer_folds(60, 5, 42)[0]
    side, rows = (x if still[0] == "x" else y), train if "training" in still else test
    side[rows, 1:] = 3.7 + np.arange(side.shape[1] - 1) / 3
    if still[0] == "x":
        side[rows, 0] = 0.1
    found, whole = streamed_predictivity(x, y, SETTINGS, rows=7), all_pairs(x[None], y[None], SETTINGS)
    np.testing.assert_array_equal(found.undefined, whole.undefined)
    assert whole.undefined[0, 0, 0, 0] == (4 if still[0] == "x" else 3)
    np.testing.assert_allclose(found.fold_score, whole.fold_score, atol=1e-8)
