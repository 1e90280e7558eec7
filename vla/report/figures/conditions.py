"""Scores by condition with marks of significance (Figures 3, 4, 7, 10, 12), and all tests beside the printed ones."""

import textwrap

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from vla.report.figures.style import (
    GREY,
    INK,
    PALE,
    metric_words,
    panels,
    quiet_grid,
    scores_by_pair,
    spoken,
    standard_error,
)

_LINE_LENGTH = 14
_WORDS = {"nouns_verbs": "nouns + verbs", "stuff_only": "stuff only", "things_only": "things only"}
# Larger t-values are drawn at the edge, so that small ones remain distinguishable.
_MOST = 25.0


def draw(table: pd.DataFrame, statistics: pd.DataFrame, length: pd.DataFrame | None = None) -> Figure:
    """One panel per direction: a dot per model pair and condition, lines between the dots of a pair, means on top.

    Wide marks are means over model pairs, the error bars their standard errors over vision and language models as
    crossed factors, with at least two of each.

    Args:
      table: Tidy rows of one experiment and metric, one score per condition, model pair and direction. Rows of
        `null_mean` become the dashed line of the shuffled baseline.
      statistics: Rows of comparisons (higher, lower, direction, q or p); the marks above a condition are those of
        its comparison: *** q<.001, ** q<.01, * q<.05, n.s. otherwise; none where no test was possible.
      length: Rows of the length-only baseline; their mean is a dotted line.
    """
    conditions = list(dict.fromkeys(table["condition"]))
    figure, columns = panels(table, max(2.1, 0.72 * len(conditions) + 0.7), 3.3)
    for (axis,), direction, rows, colour in columns:
        _panel(axis, rows, conditions, colour)
        if length is not None and (length["direction"] == direction).any():
            mean = float(length.loc[length["direction"] == direction, "score"].mean())
            _line(axis, mean, "length only", (0, (1, 2)), left=True)
    first = columns[0].axes[0]
    low, high = first.get_ylim()
    first.set_ylim(low, high + 0.1 * (high - low))
    for (axis,), direction, _, _ in columns:
        _marks(axis, statistics.loc[statistics["direction"] == direction], conditions, high + 0.03 * (high - low))
    first.set_ylabel(metric_words(str(table["metric"].iloc[0])))
    return figure


def draw_tests(statistics: pd.DataFrame) -> Figure:
    """A row per comparison, a panel per direction: the t of the run (filled) and that of the paper (hollow diamond).

    Right of zero the intact or preferred condition is higher. The grey band has the t-values that do not differ from
    zero at p = .05 for the degrees of freedom of the run.

    Args:
      statistics: Rows with `experiment`, `comparison`, `direction`, `t`, `df` and `paper_t`, of one metric.
    """
    names = list(dict.fromkeys(zip(statistics["experiment"], statistics["comparison"], strict=True)))
    figure, columns = panels(statistics, 4.0, 0.9 + 0.27 * len(names), 1.6)
    for (axis,), _, rows, colour in columns:
        edge = critical(rows["df"].to_numpy(float))
        axis.axvspan(-edge, edge, color="#ececec", zorder=0)
        axis.axvline(0, color=INK, linewidth=0.8)
        for row in rows.to_dict("records"):
            y = names.index((row["experiment"], row["comparison"]))
            measured, printed = (np.clip(row[name], -_MOST, _MOST) for name in ("t", "paper_t"))
            axis.plot([measured, printed], [y, y], color=PALE, linewidth=1, zorder=1)
            axis.plot(printed, y, "D", color=INK, markerfacecolor="white", markersize=5, zorder=2)
            axis.plot(measured, y, "o", color=colour, markersize=6, zorder=3)
        axis.set_xlabel("t over model pairs")
        axis.grid(axis="y", color="#efefef", linewidth=0.8)
        axis.set_axisbelow(True)
    first = columns[0].axes[0]
    first.set_yticks(range(len(names)), [f"{experiment}  {name}" for experiment, name in names])
    first.set_ylim(len(names) - 0.4, -0.6)
    first.plot([], [], "o", color=columns[0].colour, markersize=6, label="this run")
    first.plot([], [], "D", color=INK, markerfacecolor="white", markersize=5, label="the paper")
    figure.legend(loc="outside upper right", ncols=2)
    return figure


def critical(df: np.ndarray) -> float:
    """The t-value of p = .05, two-sided, for the smallest positive degrees of freedom; 0 without any."""
    valid = df[np.isfinite(df) & (df > 0)]
    return float(stats.t.ppf(0.975, valid.min())) if valid.size else 0.0


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
