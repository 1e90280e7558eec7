"""Comparisons over model pairs against SciPy, and what stands where no test could be made."""

import dataclasses
import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from vla.experiments.choices import Choices
from vla.experiments.compare import COLUMNS, LEVEL, statistics, verdict
from vla.experiments.experiment import Comparison, Condition, Experiment
from vla.experiments.study import DatasetPlan, Study
from vla.paper.seeing_through_words.experiments import experiments

DIRECTIONS = ("language_to_vision", "vision_to_language")
VISION, LANGUAGE = ("v", "w"), ("s", "t", "u", "x")
CONDITIONS = {"original": 0.4, "nouns": 0.3, "nouns+verbs": 0.39, "scrambled": 0.2}


def study(experiment, **choices):
    groups = {"core": VISION}, {"core": LANGUAGE}
    return Study((experiment,), {"coco": DatasetPlan("coco", "coco_val2017")}, *groups, choices=Choices(**choices))


def scores(draw=0, conditions=CONDITIONS, spread=0.05, **columns):
    """Scores in an order in which no pair stands where it does in another condition."""
    rng, rows = np.random.default_rng(draw), []
    for (condition, mean), direction in itertools.product(conditions.items(), DIRECTIONS):
        pairs = list(itertools.product(VISION, LANGUAGE))
        for v, t in rng.permutation(pairs):
            own = 0.1 * VISION.index(v) + 0.03 * LANGUAGE.index(t)
            rows.append(
                ("E3", condition, v, t, "linear_predictivity", direction, 900, mean + own + spread * rng.normal())
            )
    names = ("experiment", "condition", "vision_model", "language_model", "metric", "direction", "n_items", "score")
    layers = {"vision_layer": "block_11", "language_layer": "block_2"}
    return pd.DataFrame(rows, columns=list(names)).assign(**{**layers, **columns})


def wide(table, direction):
    own = table[table["direction"] == direction]
    return own.pivot(index=["vision_model", "language_model"], columns="condition", values="score")


@pytest.mark.parametrize("family", ["pooled", "direction"])
def test_tests_and_their_families_are_scipys(family):
    table = scores()
    found = statistics(study(experiments()["E3"], family=family), table, {})
    assert list(found) == list(COLUMNS) and len(found) == 6
    for row in found.to_dict("records"):
        own = wide(table, row["direction"])
        test = stats.ttest_rel(own["original"], own[row["lower"]])
        low, high = test.confidence_interval()
        difference = own["original"] - own[row["lower"]]
        assert [row["t"], row["p"], row["ci_low"], row["ci_high"]] == pytest.approx([*test, low, high])
        assert row["effect_size"] == pytest.approx(difference.mean() / difference.std())
        assert (row["n_pairs"], row["df"], row["n_items"]) == (8, 7, 900)
        assert row["mean_higher"] == pytest.approx(own["original"].mean())
    for directions in [DIRECTIONS] if family == "pooled" else [(one,) for one in DIRECTIONS]:
        own = found[found["direction"].isin(directions)]
        assert own["q"].to_numpy() == pytest.approx(stats.false_discovery_control(own["p"].astype(float)))


def test_the_papers_numbers_stand_beside_ours_and_decide_the_verdict():
    found = statistics(study(experiments()["E3"]), scores(), {}).set_index(["comparison", "direction"])
    row = found.loc["scrambled", "vision_to_language"]
    assert (float(row["paper_t"]), row["paper_sign"], row["paper_significant"]) == (22.8176, "+", "yes")
    assert row["q"] < LEVEL and row["verdict"] == "same sign and significance"
    # Not significant in the paper, where language predicts vision; here it is.
    row = found.loc["scrambled", "language_to_vision"]
    assert row["paper_t"] == "" and row["paper_significant"] == "no" and row["verdict"] == "differs"


def test_a_condition_that_is_absent_is_not_run_and_says_what_helps():
    absent = {("E3", "nouns"): ("no tagger", "python -m spacy download en_core_web_sm")}
    found = statistics(study(experiments()["E3"]), scores(), absent).set_index(["comparison", "direction"])
    for direction in DIRECTIONS:
        row = found.loc["nouns", direction]
        assert (row["verdict"], row["n_pairs"]) == ("not run", 0) and np.isnan(row["t"]) and np.isnan(row["q"])
        assert row["note"] == "no tagger. Remedy: python -m spacy download en_core_web_sm"
    # The family is of those that were tested.
    rest = found[found["verdict"] != "not run"]
    assert rest["q"].to_numpy() == pytest.approx(stats.false_discovery_control(rest["p"].astype(float)))


def test_a_condition_that_no_pair_has_scores_of_is_not_run():
    table = scores().query("condition != 'nouns'")
    found = statistics(study(experiments()["E3"]), table, {}).set_index(["comparison", "direction"])
    for direction in DIRECTIONS:
        row = found.loc["nouns", direction]
        assert (row["verdict"], row["n_pairs"], row["note"]) == (
            "not run",
            0,
            "no pair of models has scores of 'nouns'",
        )
    assert set(found.loc["scrambled", "n_pairs"]) == {8}


def test_one_pair_has_means_and_no_test():
    table = scores().query("vision_model == 'v' and language_model == 's'")
    found = statistics(study(experiments()["E3"]), table, {})
    assert set(found["verdict"]) == {"too few pairs"} and found["note"].str.contains("at least 2 are needed").all()
    assert found["mean_difference"].notna().all() and found[["t", "p", "q", "crossed_p"]].isna().all(axis=None)


def test_pairs_that_all_differ_alike_are_not_called_too_few():
    found = statistics(study(experiments()["E3"]), scores(conditions=dict.fromkeys(CONDITIONS, 0.4), spread=0), {})
    assert set(found["n_pairs"]) == {8} and set(found["verdict"]) == {"no test"}
    assert found["note"].str.contains("the differences of all model pairs are alike").all()


def test_pairs_without_one_of_the_two_are_left_out_and_counted():
    table = scores()
    lost = (table["condition"] == "nouns") & (table["language_model"] == "u")
    row = statistics(study(experiments()["E3"]), table[~lost], {}).iloc[0]
    own = wide(table[~lost], row["direction"]).dropna()
    assert row["n_pairs"] == 6 and row["t"] == pytest.approx(stats.ttest_rel(own["original"], own["nouns"]).statistic)
    assert row["note"] == "2 of 8 model pairs left out: no score"


def test_of_layer_maps_the_penultimate_blocks_are_compared():
    depths = [scores(draw, vision_layer=f"block_{draw + 1}") for draw in range(3)]
    found = statistics(study(experiments()["E3"]), pd.concat(depths), {})
    pd.testing.assert_frame_equal(found, statistics(study(experiments()["E3"]), depths[1], {}))


def test_seeds_are_averaged_before_pairs_are_compared():
    one, other = scores(0, seed=1), scores(1, seed=2)
    found = statistics(study(experiments()["E3"]), pd.concat([one, other]), {}).iloc[0]
    own = (wide(one, found["direction"]) + wide(other, found["direction"])) / 2
    assert found["n_pairs"] == 8
    assert found["t"] == pytest.approx(stats.ttest_rel(own["original"], own["nouns"]).statistic)


def test_parts_are_families_of_their_own_and_experiments_without_comparisons_have_no_rows():
    conditions = tuple(Condition(name, part=part) for part in "ab" for name in (f"{part}1", f"{part}2"))
    compared = tuple(Comparison(part, f"{part}1", f"{part}2") for part in "ab")
    mine = Experiment("E3", "Mine", "?", conditions, compared)
    table = scores(conditions={"a1": 0.4, "a2": 0.3, "b1": 0.4, "b2": 0.38})
    found = statistics(study(mine), table, {})
    for part in "ab":
        own = found[found["part"] == part]
        assert own["q"].to_numpy() == pytest.approx(stats.false_discovery_control(own["p"].astype(float)))
    empty = statistics(study(dataclasses.replace(mine, comparisons=())), table, {})
    assert list(empty) == list(COLUMNS) and empty.empty


@pytest.mark.parametrize(
    ("difference", "p", "sign", "significant", "expected"),
    [
        (0.1, 0.01, "+", "yes", "same sign and significance"),
        (0.1, 0.2, "+", "yes", "same sign"),
        (-0.1, 0.01, "+", "yes", "differs"),
        (-0.1, 0.2, "-", "no", "same sign and significance"),
        (0.1, 0.2, "-", "no", "neither significant"),
        (0.1, 0.2, "", "no", "neither significant"),
        (-0.1, 0.01, "-", "no", "same sign"),
        (0.1, 0.01, "-", "no", "differs"),
        (0.1, 0.01, "", "no", "differs"),
        (0.1, 0.2, "+", "", "same sign, not tested in the paper"),
        (-0.1, 0.2, "+", "", "differs"),
        (0.1, 0.2, "", "", ""),
    ],
)
def test_verdicts(difference, p, sign, significant, expected):
    row = {"verdict": "", "paper_sign": sign, "paper_significant": significant, "paper_p": "", "paper_q": "", "q": p,
           "p": p, "mean_difference": difference}  # fmt: skip
    assert verdict(row) == expected


@pytest.mark.parametrize(
    ("paper_p", "paper_q", "significant", "expected"),
    [
        # Both printed, or neither: what the paper calls significant is so after control of the false discovery rate.
        ("0.0088", "0.0176", "yes", "same sign"),
        ("", "", "no", "same sign and significance"),
        # Tests that the paper makes alone have no q.
        ("0.0057", "", "yes", "same sign and significance"),
    ],
)
def test_significance_is_of_q_unless_the_paper_prints_p_alone(paper_p, paper_q, significant, expected):
    row = {"verdict": "", "paper_sign": "+", "paper_significant": significant, "paper_p": paper_p, "paper_q": paper_q,
           "p": 0.047, "q": 0.095, "mean_difference": 0.1}  # fmt: skip
    assert verdict(row) == expected
    assert verdict({**row, "q": np.nan, "paper_significant": "yes"}) == "same sign and significance"


def test_a_distance_is_better_where_it_is_smaller():
    """The same verdicts as of the similarity whose complement it is."""
    similar = scores().assign(metric="procrustes", direction="symmetric").drop_duplicates(
        ["condition", "vision_model", "language_model"]
    )  # fmt: skip
    distance = similar.assign(metric="shape_distance", score=1 - similar["score"])
    asked = dataclasses.replace(study(experiments()["E3"]), metrics=("procrustes", "shape_distance"))
    found = statistics(asked, pd.concat([similar, distance]), {})
    one, other = (found.loc[found["metric"] == name].reset_index() for name in asked.metrics)
    for name in ("t", "p", "mean_difference", "ci_low", "crossed_t", "effect_size"):
        np.testing.assert_allclose(one[name], other[name])
    np.testing.assert_allclose(one["mean_higher"], 1 - other["mean_higher"])
    assert (one["mean_difference"] > 0).all() and list(one["verdict"]) == list(other["verdict"])
