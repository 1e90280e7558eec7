"""Claims of the paper in words, held against tables in which the answer is known."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from vla.paper.seeing_through_words.claims import CLAIMS
from vla.report import claims
from vla.report.claims import difference
from vla.report.run_folder import RunFolder

PAIRS = [(f"v{i}", f"l{j}") for i in range(2) for j in range(2)]
LAYERS = ["embed", *(f"block_{i}" for i in range(1, 7))]
NAMES = "experiment condition series k vision_model language_model metric direction score".split()
EMPTY = pd.DataFrame({name: pd.Series(dtype=object) for name in NAMES})


def _run(tmp_path, scores=EMPTY, curves=EMPTY):
    run = {"models": [{"name": name, "layers": LAYERS} for pair in PAIRS for name in pair]}
    return RunFolder(tmp_path, run, scores, EMPTY, curves, {}, {}, {}, ())


def outcomes(run, experiment):
    return claims.outcomes(run, experiment, CLAIMS.get(experiment, ()))


def _curves(id, series, score):
    rows = [
        {"experiment": id, "series": series, "k": k, "vision_model": v, "language_model": t, "n_items": 9,
         "metric": "linear_predictivity", "direction": direction, "score": score(direction, k) + 0.01 * place}
        for direction in ("language_to_vision", "vision_to_language")
        for place, (v, t) in enumerate(PAIRS)
        for k in range(1, 13)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_a_rise_that_saturates_near_ten_holds_and_one_that_saturates_at_once_does_not(tmp_path):
    for rate, holds in ((3.0, True), (0.5, False)):
        curves = _curves("E6", "captions", lambda direction, k, rate=rate: 0.5 - 0.2 * np.exp(-(k - 1) / rate))
        monotone, _, flat = outcomes(_run(tmp_path, curves=curves), "E6")
        # All but 5 % of the gain is had ln(20) = 3.0 rates after the first.
        assert monotone.holds and flat.holds is holds
        assert f"95 % of the gain at {1 + rate * np.log(20):.1f}" in flat.result


def test_a_curve_that_falls_once_is_not_monotone(tmp_path):
    curves = _curves("E6", "captions", lambda direction, k: 0.1 * k - 0.5 * (k == 7))
    claim = outcomes(_run(tmp_path, curves=curves), "E6")[0]
    assert claim.holds is False and claim.result == "10 of 11 steps rise; the largest fall is 0.400"


def test_which_direction_gains_more(tmp_path):
    for more, holds, found in (
        ("language_to_vision", True, "0.110 against 0.220, difference +0.110"),
        ("vision_to_language", False, "0.220 against 0.110, difference −0.110"),
    ):
        curves = _curves("E7", "images", lambda direction, k, more=more: 0.01 * k * (1 + (direction == more)))
        # Pairs that all differ alike have no interval.
        places = dict(zip(PAIRS, (-1.5, -0.5, 0.5, 1.5), strict=True))
        pairs = zip(curves["vision_model"], curves["language_model"], strict=True)
        spread = 0.0001 * curves["k"] * np.array([places[pair] for pair in pairs])
        curves["score"] += spread.where(curves["direction"] == more, 0.0)
        claim = outcomes(_run(tmp_path, curves=curves), "E7")[0]
        # From one to twelve images the curves rise by 11 steps of 0.01 or 0.02.
        assert claim.holds is holds and found in claim.result


def test_shuffled_curves_are_flat_at_zero_or_not(tmp_path):
    for level, holds in ((0.0, True), (0.1, False)):
        curves = _curves("E8", "shuffled captions", lambda direction, k, level=level: level)
        assert [each.holds for each in outcomes(_run(tmp_path, curves=curves), "E8")] == [holds] * 2


@pytest.mark.parametrize("rising", [True, False])
def test_depth(tmp_path, rising):
    rows = []
    for direction in ("language_to_vision", "vision_to_language"):
        for place, (v, t) in enumerate(PAIRS):
            for i, high in enumerate(LAYERS):
                for j, low in enumerate(LAYERS):
                    depth = i if rising else 6 - i
                    score = 0.1 * depth + 0.001 * j + 0.0001 * place * (i + 1)
                    rows.append(
                        {"experiment": "E1", "condition": "original", "vision_model": v, "language_model": t,
                         "metric": "linear_predictivity", "direction": direction, "vision_layer": high,
                         "language_layer": low, "n_items": 9, "score": score}
                    )  # fmt: skip
    found = outcomes(_run(tmp_path, scores=pd.DataFrame(rows)), "E1")
    assert [each.holds for each in found] == [rising] * 3


def test_claims_are_about_linear_predictivity_whatever_was_scored_first(tmp_path):
    row = {"experiment": "E1", "condition": "original", "vision_model": "v0", "language_model": "l0", "n_items": 9}
    grid = [{**row, "vision_layer": a, "language_layer": b, "score": 0.1 * i}
            for i, a in enumerate(LAYERS) for b in LAYERS]  # fmt: skip
    cka = pd.DataFrame(grid).assign(metric="cka", direction="symmetric")
    assert outcomes(_run(tmp_path, scores=cka), "E1") == []
    both = [pd.DataFrame(grid).assign(metric="linear_predictivity", direction=direction)
            for direction in ("language_to_vision", "vision_to_language")]  # fmt: skip
    found = outcomes(_run(tmp_path, scores=pd.concat([cka, *both], ignore_index=True)), "E1")
    assert len(found) == 3 and found[0].result.startswith("0.200 against 0.600")


def test_orderings_of_conditions(tmp_path):
    rows = [
        {"experiment": "E2", "condition": condition, "vision_model": v, "language_model": t, "n_items": 9,
         "metric": "linear_predictivity", "direction": direction, "vision_layer": "block_5",
         "language_layer": "block_5", "score": score + 0.01 * place * place + 0.001 * place * score}
        for direction in ("language_to_vision", "vision_to_language")
        for place, (v, t) in enumerate(PAIRS)
        for condition, score in (("original", 0.5), ("things only", 0.4), ("stuff only", 0.3))
    ]  # fmt: skip
    found = outcomes(_run(tmp_path, scores=pd.DataFrame(rows)), "E2")
    assert [each.holds for each in found] == [True, True]
    assert "difference +0.100" in found[0].result


def test_backbones_are_compared_over_language_models(tmp_path):
    """Two series and both directions of one language model are no four pairs."""
    high, low = "vit_base_patch16_224.augreg_in1k", "deit-base-distilled-patch16-224"
    gaps = {"a": 0.1, "b": 0.05, "c": -0.02}
    rows = [
        {"experiment": "E10", "series": series, "k": k, "vision_model": v, "language_model": t, "metric": "m",
         "direction": direction, "n_items": 9,
         "score": 0.3 + 0.1 * k + gaps[t] * (v == high) + 0.01 * (series == "images")}
        for direction in ("language_to_vision", "vision_to_language")
        for series in ("captions", "images") for k in (1, 2) for v in (high, low) for t in gaps
    ]  # fmt: skip
    found = {one.claim: one for one in outcomes(_run(tmp_path, curves=pd.DataFrame(rows)), "E10")}
    one = found[f"{high} above {low}"]
    ends = stats.ttest_1samp(list(gaps.values()), 0).confidence_interval()
    assert one.holds is False and one.result.endswith(f"difference +0.043 [−{-ends.low:.3f}, +{ends.high:.3f}]")
    assert found[f"{high} above dino-vitb16"].holds is None


def test_means_are_of_the_pairs_that_have_both():
    low, high = pd.Series({"a": 0.1, "b": 0.2, "c": 0.9}), pd.Series({"a": 0.2, "b": 0.4, "d": 0.0})
    assert difference("claim", low, high).result.startswith("0.150 against 0.300, difference +0.150 [")
    assert difference("claim", low[["c"]], high[["d"]]).result == "no model pair has both"


def test_an_experiment_that_is_not_the_papers_has_no_claims(tmp_path):
    assert outcomes(_run(tmp_path), "mine") == []
    assert all(outcomes(_run(tmp_path), f"E{i}") == [] for i in (1, 2, 3, 6, 7, 8, 11, 12))
