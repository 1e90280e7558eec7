"""Profiles and peaks of layer maps whose best layer is known."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from vla.experiments.results import PEAKS, PROFILES, SUMMARY, depths, summary

PAIRS = [("v1", "l1"), ("v1", "l2"), ("v2", "l1"), ("v2", "l2")]
# Four blocks of vision, six of language: the highest score is at block 3 of vision, at block 2 of language.
VISION = ["embed", *(f"block_{i}" for i in range(1, 5)), "final_norm"]
LANGUAGE = ["embed", *(f"block_{i}" for i in range(1, 7))]


def _maps(**more):
    rows = [
        {"experiment": "E1", "condition": "original", "vision_model": v, "language_model": t, "metric": "cka",
         "direction": "symmetric", "vision_layer": high, "language_layer": low, "n_items": 50, "dataset": "coco",
         "score": 0.8 - 0.1 * abs(i - 3) - 0.05 * abs(j - 2) + 0.02 * place, **more}
        for place, (v, t) in enumerate(PAIRS) for i, high in enumerate(VISION) for j, low in enumerate(LANGUAGE)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_peaks_are_where_the_maps_have_them():
    _, peaks = depths(_maps())
    assert list(peaks) == list(PEAKS) and list(peaks["side"]) == ["vision", "language"]
    vision, language = peaks.to_dict("records")
    assert vision["depth"] == vision["depth_low"] == vision["depth_high"] == 0.75
    assert language["depth"] == pytest.approx(2 / 6)
    # The mean of 0.8, 0.82, 0.84, 0.86; the final norm, which lies beyond depth 1, has no part in it.
    assert vision["score"] == pytest.approx(0.83) and vision["score_low"] < 0.83 < vision["score_high"]
    assert vision["rise"] == pytest.approx(0.3) and vision["n_pairs"] == 4 and vision["n_items"] == 50


def test_profiles_have_the_interval_over_crossed_models():
    profiles, _ = depths(_maps())
    assert list(profiles) == list(PROFILES)
    own = profiles.query("side == 'vision'")
    np.testing.assert_allclose(own["depth"], [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(own["score"], [0.53, 0.63, 0.73, 0.83, 0.73])
    # [[0, 0.02], [0.04, 0.06]]: mean squares 0.0016, 0.0004 and 0, so the variance of the mean is 0.002 / 4, with
    # 0.002^2 / (0.0016^2 + 0.0004^2) = 1.470588 degrees of freedom.
    reach = stats.t.ppf(0.975, 0.002**2 / (0.0016**2 + 0.0004**2)) * np.sqrt(0.0005)
    np.testing.assert_allclose(own["ci_high"] - own["score"], reach, rtol=1e-6)


def test_seeds_are_averaged_and_one_pair_has_no_interval():
    both = pd.concat(
        [_maps(seed=1).assign(score=_maps()["score"] + 0.1), _maps(seed=2).assign(score=_maps()["score"] - 0.1)]
    )
    for found, expected in zip(depths(both), depths(_maps()), strict=True):
        pd.testing.assert_frame_equal(found, expected)
    profiles, peaks = depths(_maps().query("vision_model == 'v1' and language_model == 'l1'"))
    assert (
        peaks["note"].str.contains("1 vision and 1 language, at least 2 of each are needed").all()
        and peaks["depth_low"].isna().all()
    )
    assert profiles["ci_low"].isna().all() and profiles["score"].notna().all()


def test_models_of_other_depths_meet_at_the_depths_of_both():
    deeper = (
        _maps()
        .query("vision_model == 'v1'")
        .replace({"vision_model": {"v1": "v3"}, "vision_layer": {"block_4": "block_5"}})
    )
    profiles, _ = depths(pd.concat([_maps(), deeper]))
    own = profiles.query("side == 'vision'").set_index("depth")["score"]
    np.testing.assert_allclose(own.index, [0, 0.2, 0.25, 0.4, 0.5, 0.6, 0.75, 1])
    # At 0.75 four pairs have their peak, 0.83 on average; two, 0.81 at the peak at 0.6, are on the line down to 0.71.
    assert own[0.75] == pytest.approx((4 * 0.83 + 2 * (0.81 - 0.1 * 0.15 / 0.4)) / 6)


def test_scores_of_single_layers_make_no_profile():
    alone = _maps().query("vision_layer == 'block_3' and language_layer == 'block_2'")
    assert all(frame.empty for frame in depths(alone)) and all(frame.empty for frame in depths(alone.head(0)))


def test_a_distance_peaks_where_it_is_smallest():
    """The arccos of a similarity has the same peaks."""
    maps = _maps()
    _, peaks = depths(maps)
    distances = maps.assign(metric="shape_distance", score=1 - maps["score"])
    profiles, found = depths(distances)
    for name in ("depth", "depth_low", "depth_high", "rise"):
        np.testing.assert_allclose(found[name], peaks[name])
    np.testing.assert_allclose(found["score"], 1 - peaks["score"])
    np.testing.assert_allclose(found["score_low"], 1 - peaks["score_high"])
    np.testing.assert_allclose(profiles["score"], 1 - depths(maps)[0]["score"])


def _small(scores, metric="cka", **more):
    """A map of three layers of vision by two of language."""
    rows = [
        {"experiment": "E1", "condition": "original", "vision_model": "seer", "language_model": "teller",
         "metric": metric, "direction": "symmetric", "vision_layer": high, "language_layer": low, "n_items": 12,
         "seed": 42, "score": scores[i][j], "null_mean": 0.05, "ci_low": scores[i][j] - 0.1, "ci_high": np.nan,
         "p_max": 1 - scores[i][j], "reliability": 0.8, "ceiling": 0.9, **more}
        for i, high in enumerate(["embed", "block_1", "block_10"]) for j, low in enumerate(["embed", "block_1"])
    ]  # fmt: skip
    return pd.DataFrame(rows)


SCORES = [[np.nan, np.nan], [0.1, 0.2], [0.4, 0.3]]


def test_the_summary_names_the_best_pair_and_leaves_out_what_has_no_score():
    table = pd.concat([_small(SCORES), _small(np.full((3, 2), np.nan), condition="constant"), _small(SCORES, seed=1)])
    found = summary(table)
    assert tuple(found) == SUMMARY
    first, second, other = found.to_dict("records")
    assert (first["layer_pairs"], first["best"], first["n_items"]) == (4, 0.4, 12)
    assert first["mean"] == pytest.approx(0.25) and first["null_mean"] == pytest.approx(0.05)
    assert (first["best_vision_layer"], first["best_language_layer"]) == ("block_10", "embed")
    assert (first["best_ci_low"], first["best_p_max"], first["reliability"]) == pytest.approx((0.3, 0.6, 0.8))
    assert np.isnan(first["best_ci_high"]) and first["ceiling"] == 0.9
    assert second["layer_pairs"] == 0 and np.isnan(second["mean"]) and second["best_vision_layer"] == ""
    assert (first["seed"], other["seed"], other["best"]) == (42, 1, 0.4)


def test_the_best_pair_by_a_distance_is_the_nearest():
    (row,) = summary(_small(SCORES, "shape_distance")).to_dict("records")
    assert row["best"] == 0.1 and (row["best_vision_layer"], row["best_language_layer"]) == ("block_1", "embed")
