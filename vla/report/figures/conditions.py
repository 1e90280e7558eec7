"""Scores by condition, every model pair connected, with marks of significance (Figures 3, 4, 7, 10, 12)."""

import textwrap

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vla.report.figures.style import (
    DIRECTION_COLOURS,
    DIRECTION_WORDS,
    GREY,
    INK,
    metric_words,
    ordered_directions,
    quiet_grid,
    scores_by_pair,
    spoken,
    standard_error,
)

_LINE_LENGTH = 14
_WORDS = {"nouns_verbs": "nouns + verbs", "stuff_only": "stuff only", "things_only": "things only"}


def draw(table: pd.DataFrame, statistics: pd.DataFrame, length: pd.DataFrame | None = None) -> Figure:
    """One panel per direction: a dot per model pair and condition, lines between the dots of a pair, means on top.

    Args:
      table: Tidy rows of one experiment and metric, one score per condition, model pair and direction. Rows of
        `null_mean` become the dashed line of the shuffled baseline.
      statistics: Rows of comparisons (higher, lower, direction, q or p); the marks above a condition are those of
        its comparison: *** q<.001, ** q<.01, * q<.05, n.s. otherwise; none where no test was possible.
      length: Rows of the length-only baseline; their mean is a dotted line.

    Returns:
      The figure; the wide marks are means over model pairs, the error bars their standard errors over vision and
      language models as crossed factors, with at least two of each.
    """
    directions, conditions = ordered_directions(table["direction"].unique()), list(dict.fromkeys(table["condition"]))
    each = max(2.1, 0.72 * len(conditions) + 0.7)
    figure = Figure(figsize=(min(11.5, each * len(directions) + 0.6), 3.3), layout="constrained")
    axes = figure.subplots(1, len(directions), sharey=True, squeeze=False)[0]
    for axis, direction in zip(axes, directions, strict=True):
        rows = table.loc[table["direction"] == direction]
        _panel(axis, rows, conditions, DIRECTION_COLOURS.get(direction, INK))
        if length is not None and (length["direction"] == direction).any():
            mean = float(length.loc[length["direction"] == direction, "score"].mean())
            _line(axis, mean, "length only", (0, (1, 2)), left=True)
        axis.set_title(DIRECTION_WORDS.get(direction, direction), fontsize=9)
    low, high = axes[0].get_ylim()
    axes[0].set_ylim(low, high + 0.1 * (high - low))
    for axis, direction in zip(axes, directions, strict=True):
        _marks(axis, statistics.loc[statistics["direction"] == direction], conditions, high + 0.03 * (high - low))
    axes[0].set_ylabel(metric_words(str(table["metric"].iloc[0])))
    return figure


def stars(value: float) -> str:
    """The mark of a p- or q-value; "" for NaN."""
    if not np.isfinite(value):
        return ""
    return "***" if value < 0.001 else "**" if value < 0.01 else "*" if value < 0.05 else "n.s."


def _panel(axis: Axes, rows: pd.DataFrame, conditions: list[str], colour: str) -> None:
    wide, x = scores_by_pair(rows, "condition", conditions), np.arange(len(conditions))
    for scores in wide.to_numpy(float):
        axis.plot(x, scores, color=colour, alpha=0.35, linewidth=0.9, marker="o", markersize=3.2, markeredgewidth=0)
    error = np.nan_to_num(standard_error(wide))
    axis.errorbar(x, wide.mean().to_numpy(), error, fmt="none", ecolor=INK, elinewidth=1.3, capsize=0)
    axis.plot(x, wide.mean().to_numpy(), linestyle="none", marker="_", markersize=17, markeredgewidth=2.4, color=INK)
    if "null_mean" in rows and rows["null_mean"].notna().any():
        _line(axis, float(rows["null_mean"].mean()), "shuffled", (0, (4, 3)))
    axis.set_xticks(x, [_label(name) for name in conditions], fontsize=8)
    axis.set_xlim(-0.5, len(conditions) - 0.5)
    quiet_grid(axis)


def _label(name: str) -> str:
    """The name of a condition, wrapped so that neighbours do not overlap."""
    words = _WORDS.get(name, spoken(name))
    lines = words.split(" ", 1)
    if max(map(len, lines)) > _LINE_LENGTH:
        lines = textwrap.wrap(words, _LINE_LENGTH, max_lines=4, placeholder=" …")
    return "\n".join(lines)


def _marks(axis: Axes, statistics: pd.DataFrame, conditions: list[str], height: float) -> None:
    for row in statistics.to_dict("records"):
        # The mark stands above the condition that is not the reference.
        condition = row["lower"] if row["lower"] in conditions[1:] else row["higher"]
        value = row["q"] if np.isfinite(row.get("q", np.nan)) else row.get("p", np.nan)
        if condition in conditions and stars(value):
            axis.annotate(stars(value), (conditions.index(condition), height), ha="center", fontsize=8)


def _line(axis: Axes, level: float, words: str, dashes: tuple, left: bool = False) -> None:
    """A baseline with its name at the right end, or at the left end."""
    axis.axhline(level, color=GREY, linestyle=dashes, linewidth=1)
    axis.annotate(words, (0 if left else 1, level), xycoords=("axes fraction", "data"),
                  xytext=(3 if left else -1, 2), textcoords="offset points", ha="left" if left else "right",
                  va="bottom", fontsize=7, color=GREY)  # fmt: skip
