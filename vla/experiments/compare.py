"""Comparisons of conditions over model pairs, and the tests that the paper prints."""

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from vla.alignment.paired import crossed_test, paired_test, with_q_values
from vla.experiments.experiment import Comparison, Experiment
from vla.experiments.names import base_name
from vla.experiments.results import (
    ALIKE,
    DIFFERS,
    FEW,
    NEITHER,
    NOT_RUN,
    SAME,
    SIGN,
    UNTESTED,
    scalars,
)
from vla.experiments.study import Study
from vla.experiments.tables import directions
from vla.metrics.registry import sign

COLUMNS = (
    "experiment", "comparison", "higher", "lower", "metric", "direction", "n_pairs", "mean_higher", "mean_lower",
    "mean_difference", "ci_low", "ci_high", "t", "df", "p", "q", "family", "effect_size", "crossed_t", "crossed_df",
    "crossed_p", "crossed_ci_low", "crossed_ci_high", "crossed_note", "paper_t", "paper_p", "paper_q", "paper_sign",
    "paper_significant", "paper_source", "verdict", "note", "part", "n_items",
)  # fmt: skip
# Significance level.
LEVEL = 0.05


def statistics(study: Study, table: pd.DataFrame, absent: Mapping[tuple[str, str], tuple[str, str]]) -> pd.DataFrame:
    """One row per comparison, metric and direction, from the rows of `vla.experiments.write_run.scores`.

    `higher` is the condition that is expected to align better. Differences, t and effect sizes are the mean of `higher`
    minus that of `lower`; for a distance, the mean of `lower` minus that of `higher`. `absent` says why a condition has
    no scores, and the remedy.
    """
    table = scalars(table)
    rows = [
        _row(experiment, comparison, metric, direction, table, absent)
        for experiment in study.experiments
        for comparison in experiment.comparisons
        for metric in study.metrics_of(experiment)
        for direction in directions(metric)
    ]
    if not rows:
        return pd.DataFrame(columns=list(COLUMNS))
    tests = pd.DataFrame(rows).drop(columns=["q", "family"])
    tests = with_q_values(tests, study.choices.family, by=("experiment", "part", "metric"))
    tests["verdict"] = [verdict(row) for row in tests.to_dict("records")]
    return tests.reindex(columns=list(COLUMNS))


def verdict(row: Mapping) -> str:
    """Whether a row agrees with the test that the paper prints; "" if the paper prints none.

    "not run", "too few pairs", "no test" (all pairs differ by the same amount), one of `AGREE`, "same sign" or
    "differs". If the paper reports no significance, a result without significance agrees, whatever its sign.
    Significance is judged by q, or by p if the paper prints p alone.
    """
    if row["verdict"]:
        return row["verdict"]
    sign, significant = row["paper_sign"], row["paper_significant"]
    if not sign and not significant:
        return ""
    by_p = not math.isfinite(row["q"]) or (row["paper_p"] and not row["paper_q"])
    is_significant = (row["p"] if by_p else row["q"]) < LEVEL
    same_sign = not sign or (row["mean_difference"] > 0) == (sign == "+")
    if significant == "no" and is_significant:
        return SIGN if sign and same_sign else DIFFERS
    if significant == "no":
        return SAME if sign and same_sign else NEITHER
    if not same_sign:
        return DIFFERS
    return UNTESTED if not significant else SAME if is_significant else SIGN


def _row(
    experiment: Experiment,
    comparison: Comparison,
    metric: str,
    direction: str,
    table: pd.DataFrame,
    absent: Mapping[tuple[str, str], tuple[str, str]],
) -> dict:
    row = dict.fromkeys(COLUMNS, math.nan) | {
        "experiment": experiment.id,
        "comparison": comparison.name,
        "higher": comparison.higher,
        "lower": comparison.lower,
        "metric": metric,
        "direction": direction,
        "part": experiment.condition(comparison.higher).part,
        **dict.fromkeys(("crossed_note", "verdict", "note"), ""),
        **_paper(experiment, comparison, metric, direction),
    }
    rows = table.loc[
        (table["experiment"] == experiment.id) & (table["metric"] == metric) & (table["direction"] == direction)
    ]
    names = (comparison.higher, comparison.lower)
    reasons = [absent[experiment.id, name] for name in names if (experiment.id, name) in absent]
    # Saved activations can lack a view for every model.
    lacking = [name for name in names if name not in set(rows["condition"])]
    reasons += [(f"no pair of models has scores of {name!r}", "") for name in lacking]
    if reasons:
        reason, remedy = reasons[0]
        return row | {"n_pairs": 0, "verdict": NOT_RUN, "note": f"{reason}. Remedy: {remedy}" if remedy else reason}
    models = ["vision_model", "language_model"]
    if not _same_models(experiment, comparison):
        # Each checkpoint is compared with the checkpoint of the same model.
        rows = rows.assign(**{name: rows[name].map(base_name) for name in models})
    means = [rows.loc[rows["condition"] == name].groupby(models, sort=False)["score"].mean() for name in names]
    both = pd.DataFrame(dict(zip(("higher", "lower"), means, strict=True)))
    # Oriented, so that a positive difference means better alignment, by a distance too.
    better = sign(metric)
    tested = paired_test(better * both["higher"], better * both["lower"])
    row |= {name: value for name, value in dataclasses.asdict(tested).items() if name in COLUMNS}
    row |= {"mean_higher": better * tested.mean_higher, "mean_lower": better * tested.mean_lower}
    counts = rows.loc[rows["condition"] == comparison.higher, "n_items"]
    row["n_items"] = int(counts.iloc[0]) if len(counts) else 0
    if not np.isfinite(tested.p):
        row["verdict"] = FEW if tested.n_pairs < 2 else ALIKE
        return row
    vision, language = (list(both.index.get_level_values(name)) for name in models)
    crossed = crossed_test(better * (both["higher"] - both["lower"]), vision, language)
    return row | {f"crossed_{name}": getattr(crossed, name) for name in ("t", "df", "p", "ci_low", "ci_high", "note")}


def _same_models(experiment: Experiment, comparison: Comparison) -> bool:
    higher, lower = (experiment.condition(name) for name in (comparison.higher, comparison.lower))
    return (higher.vision, higher.language) == (lower.vision, lower.language)


def _paper(experiment: Experiment, comparison: Comparison, metric: str, direction: str) -> dict[str, str]:
    """The test that the paper prints of a comparison, as columns; "" for what it does not print."""
    key = (comparison.name, metric, direction)
    tests = {(test.comparison, test.metric, test.direction): test for test in experiment.printed}
    columns = ("t", "p", "q", "sign", "significant", "source")
    return {f"paper_{name}": getattr(tests.get(key), name, "") for name in columns}
