"""Comparisons of conditions over model pairs, beside what the paper printed."""

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from vla.alignment.paired import crossed_test, paired_test, with_q_values
from vla.experiments.experiment import Comparison, Experiment
from vla.experiments.naming import trunk
from vla.experiments.penultimate import scalars
from vla.experiments.scoring import directions
from vla.experiments.study import Study
from vla.metrics import sign

COLUMNS = (
    "experiment", "comparison", "higher", "lower", "metric", "direction", "n_pairs", "mean_higher", "mean_lower",
    "mean_difference", "ci_low", "ci_high", "t", "df", "p", "q", "family", "effect_size", "crossed_t", "crossed_df",
    "crossed_p", "crossed_ci_low", "crossed_ci_high", "crossed_note", "paper_t", "paper_p", "paper_q", "paper_sign",
    "paper_significant", "paper_source", "verdict", "note", "part", "n_items",
)  # fmt: skip
# A finding counts as significant at this level.
LEVEL = 0.05

SAME, NEITHER, UNTESTED = "same sign and significance", "neither significant", "same sign, not tested in the paper"
SIGN, DIFFERS, NOT_RUN, FEW, ALIKE = "same sign", "differs", "not run", "too few pairs", "no test"
# Verdicts that agree with the paper.
AGREE = (SAME, NEITHER, UNTESTED)


def statistics(study: Study, table: pd.DataFrame, absent: Mapping[tuple[str, str], tuple[str, str]]) -> pd.DataFrame:
    """One row per comparison, metric and direction.

    `higher` is the condition that is expected to be more alike. Differences, t and effect sizes say how much better it
    is than `lower`: the mean of `higher` less that of `lower`, of a distance the mean of `lower` less that of `higher`.

    Args:
      study: What was asked.
      table: Tidy rows as of `vla.experiments.assemble.scores`.
      absent: Why a condition has no scores, and the command that helps, by (experiment, condition).
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
    found = pd.DataFrame(rows).drop(columns=["q", "family"])
    found = with_q_values(found, study.choices.family, by=("experiment", "part", "metric"))
    found["verdict"] = [verdict(row) for row in found.to_dict("records")]
    return found.reindex(columns=list(COLUMNS))


def verdict(row: Mapping) -> str:
    """What a row says of the paper's: "" where the paper says nothing.

    "not run", "too few pairs", "no test" (all pairs differ alike, or not at all), one of `AGREE`, "same sign" or
    "differs". Where the paper has that something is not significant, ours agrees if it is not significant either,
    whatever its sign. What is significant is told by q; by p where the paper prints p alone.
    """
    if row["verdict"]:
        return row["verdict"]
    sign, significant = row["paper_sign"], row["paper_significant"]
    if not sign and not significant:
        return ""
    by_p = not math.isfinite(row["q"]) or (row["paper_p"] and not row["paper_q"])
    finding = (row["p"] if by_p else row["q"]) < LEVEL
    same_sign = not sign or (row["mean_difference"] > 0) == (sign == "+")
    if significant == "no" and finding:
        return SIGN if sign and same_sign else DIFFERS
    if significant == "no":
        return SAME if sign and same_sign else NEITHER
    if not same_sign:
        return DIFFERS
    return UNTESTED if not significant else SAME if finding else SIGN


def _row(
    experiment: Experiment,
    comparison: Comparison,
    metric: str,
    direction: str,
    table: pd.DataFrame,
    absent: Mapping[tuple[str, str], tuple[str, str]],
) -> dict:
    part = experiment.condition(comparison.higher).part
    row = dict.fromkeys(COLUMNS, math.nan) | {
        "experiment": experiment.id,
        "comparison": comparison.name,
        "higher": comparison.higher,
        "lower": comparison.lower,
        "metric": metric,
        "direction": direction,
        "part": part,
        "crossed_note": "",
        "verdict": "",
        "note": "",
        **_paper(experiment, comparison, metric, direction),
    }
    rows = table.loc[
        (table["experiment"] == experiment.id) & (table["metric"] == metric) & (table["direction"] == direction)
    ]
    names = (comparison.higher, comparison.lower)
    reasons = [absent[experiment.id, name] for name in names if (experiment.id, name) in absent]
    # Saved activations may lack a view of every model.
    reasons += [
        (f"no pair of models has scores of {name!r}", "") for name in names if name not in set(rows["condition"])
    ]
    if reasons:
        why, command = reasons[0]
        return row | {"n_pairs": 0, "verdict": NOT_RUN, "note": f"{why}. To make it: {command}" if command else why}
    models = ["vision_model", "language_model"]
    if not _same_models(experiment, comparison):
        # Each checkpoint is compared with that of the same model.
        rows = rows.assign(**{name: rows[name].map(trunk) for name in models})
    means = {
        name: rows.loc[rows["condition"] == name].groupby(models, sort=False)["score"].mean()
        for name in (comparison.higher, comparison.lower)
    }
    both = pd.DataFrame({"higher": means[comparison.higher], "lower": means[comparison.lower]})
    # Oriented, so that a positive difference means that `higher` is more alike also by a distance.
    better = sign(metric)
    tested = paired_test(better * both["higher"], better * both["lower"])
    values = dataclasses.asdict(tested)
    for name in ("n_pairs", "mean_higher", "mean_lower", "mean_difference", "ci_low", "ci_high", "t", "df", "p",
                 "effect_size", "note"):  # fmt: skip
        row[name] = values[name]
    row["mean_higher"], row["mean_lower"] = better * row["mean_higher"], better * row["mean_lower"]
    counts = rows.loc[rows["condition"] == comparison.higher, "n_items"]
    row["n_items"] = int(counts.iloc[0]) if len(counts) else 0
    if not np.isfinite(tested.p):
        row["verdict"] = FEW if tested.n_pairs < 2 else ALIKE
        return row
    pairs = both.index.to_frame()
    crossed = crossed_test(better * (both["higher"] - both["lower"]), list(pairs.iloc[:, 0]), list(pairs.iloc[:, 1]))
    for name in ("t", "df", "p", "ci_low", "ci_high", "note"):
        row[f"crossed_{name}"] = getattr(crossed, name)
    return row


def _same_models(experiment: Experiment, comparison: Comparison) -> bool:
    one, other = (experiment.condition(name) for name in (comparison.higher, comparison.lower))
    return (one.vision, one.language) == (other.vision, other.language)


def _paper(experiment: Experiment, comparison: Comparison, metric: str, direction: str) -> dict[str, str]:
    """What the paper prints of a comparison, as columns; "" where it prints nothing."""
    asked = (comparison.name, metric, direction)
    test = next((one for one in experiment.printed if (one.comparison, one.metric, one.direction) == asked), None)
    return {f"paper_{name}": getattr(test, name, "") for name in ("t", "p", "q", "sign", "significant", "source")}
