"""The study in short, against tables in which the answer is known."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from vla.alignment.paired import crossed_test
from vla.experiments.experiment import Comparison
from vla.paper.seeing_through_words.claims import main_claims
from vla.paper.seeing_through_words.experiments import experiments
from vla.report.claims import comparison_claims
from vla.report.run_folder import RunFolder

PAIRS = [(f"v{i}", f"l{j}") for i in range(2) for j in range(2)]
WORDS = {"language_to_vision": "language predicts vision", "vision_to_language": "vision predicts language"}
STATISTICS = (
    "experiment comparison metric direction mean_higher mean_lower mean_difference crossed_ci_low crossed_ci_high "
    "n_pairs"
).split()
LEFT = {"original": 0.5, "grayscale": 0.45, "rotation": 0.43, "things only": 0.2, "stuff only": 0.44}


def _scores(left, spread=0.01):
    rng = np.random.default_rng(0)
    rows = [
        ("E2", condition, *pair, metric, direction, "block_2", "block_2", score + spread * rng.standard_normal(), 0.01)
        for metric in ("cka", "linear_predictivity")
        for condition, score in left.items()
        for direction in WORDS
        for pair in PAIRS
    ]
    names = "experiment condition vision_model language_model metric direction vision_layer language_layer score"
    return pd.DataFrame(rows, columns=[*names.split(), "null_mean"])


def _run(path, scores=None, statistics=()):
    scores = _scores({}) if scores is None else scores
    statistics = pd.DataFrame(list(statistics), columns=STATISTICS)
    models = [{"name": name, "layers": ["block_1", "block_2", "block_3"]} for name in ("v0", "v1", "l0", "l1")]
    curves = pd.DataFrame({name: pd.Series(dtype=object) for name in ("experiment", "series", "metric", "direction")})
    known = experiments()
    comparisons = [("Untrained", Comparison("training", "trained", "untrained", "trained networks are more aligned"))]
    comparisons += [(id, one) for id in ("E6", "E7") for one in known[id].comparisons]
    run = {"models": models}
    run["experiments"] = [{"id": id, "comparisons": [dataclasses.asdict(one)]} for id, one in comparisons]
    return RunFolder(path, run, scores, statistics, curves, {}, {}, {}, ())


def test_meaning_and_chance_are_differences_within_pairs_with_intervals_over_crossed_models(tmp_path):
    scores = _scores(LEFT)
    found = {one.claim: one for one in main_claims(_run(tmp_path, scores))}
    own = scores.query("metric == 'linear_predictivity' and direction == 'vision_to_language'")
    wide = own.pivot(index=["vision_model", "language_model"], columns="condition", values="score")
    gaps = {
        "above scores with items shuffled": wide["original"] - 0.01,
        "images without their things or stuff score lower than images of changed appearance (grayscale, "
        "rotation)": wide[["grayscale", "rotation"]].mean(axis=1) - wide[["things only", "stuff only"]].mean(axis=1),
    }
    for claim, gap in gaps.items():
        one = found[f"vision predicts language: {claim}"]
        test = crossed_test(gap, *(gap.index.get_level_values(name) for name in ("vision_model", "language_model")))
        low, high = test.ci_low, test.ci_high
        assert one.holds is True
        assert one.result.endswith(f"difference {gap.mean():+.3f} [{low:+.3f}, {high:+.3f}]")
    assert len(found) == 4


@pytest.mark.parametrize("things", [0.44, 0.9])
def test_a_difference_that_is_not_there_does_not_hold(things, tmp_path):
    found = main_claims(_run(tmp_path, _scores({**LEFT, "things only": things, "stuff only": 0.44})))
    assert [one.holds for one in found if "their things" in one.claim] == [False, False]


def test_tested_comparisons_are_those_of_the_statistics_and_one_pair_cannot_say(tmp_path):
    rows = [
        ("Untrained", "training", "linear_predictivity", "vision_to_language", 0.3, 0.1, 0.2, 0.1, 0.3, 4),
        ("Untrained", "training", "linear_predictivity", "language_to_vision", 0.3, 0.29, 0.01, -0.02, 0.04, 4),
        ("E6", "captions averaged", "linear_predictivity", "vision_to_language", 0.5, 0.4, 0.1, np.nan, np.nan, 1),
        ("E7", "images averaged", "linear_predictivity", "vision_to_language", 0.5, 0.4, 0.1, np.nan, np.nan, 4),
        ("E7", "images averaged", "linear_predictivity", "language_to_vision", *[np.nan] * 5, 0),
        ("E6", "captions averaged", "cka", "symmetric", 0.5, 0.4, 0.1, 0.05, 0.15, 4),
    ]
    found = comparison_claims(_run(tmp_path, statistics=rows))
    assert [(one.holds, one.result) for one in found] == [
        (True, "0.100 against 0.300, difference +0.200 [+0.100, +0.300]"),
        (False, "0.290 against 0.300, difference +0.010 [−0.020, +0.040]"),
        (None, "0.400 against 0.500, difference +0.100 (no interval: too few model pairs)"),
        (None, "0.400 against 0.500, difference +0.100 (no interval: too few model pairs)"),
    ]
    assert found[0].claim.startswith("vision predicts language: trained networks")


def test_a_run_without_these_experiments_claims_nothing(tmp_path):
    assert main_claims(_run(tmp_path)) == comparison_claims(_run(tmp_path)) == []
