"""The t-value of every comparison beside the one that the paper prints."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

from vla.report.figures.style import DIRECTION_COLOURS, DIRECTION_WORDS, INK, ordered_directions

# Larger t-values are drawn at the edge, so that small ones remain distinguishable.
_MOST = 25.0


def draw(statistics: pd.DataFrame) -> Figure:
    """A row per comparison, a panel per direction: our t (filled) and the paper's (hollow diamond).

    Args:
      statistics: Rows with `experiment`, `comparison`, `direction`, `t`, `df` and `paper_t`, of one metric.

    Returns:
      The figure; right of zero the intact or preferred condition is higher. The grey band holds the t-values that do
      not differ from zero at p = .05 for our degrees of freedom.
    """
    directions = ordered_directions(statistics["direction"].unique())
    rows = list(dict.fromkeys(zip(statistics["experiment"], statistics["comparison"], strict=True)))
    figure = Figure(figsize=(4.0 * len(directions) + 1.6, 0.9 + 0.27 * len(rows)), layout="constrained")
    axes = figure.subplots(1, len(directions), squeeze=False, sharey=True)[0]
    for axis, direction in zip(axes, directions, strict=True):
        rows_of_direction = statistics.loc[statistics["direction"] == direction]
        colour = DIRECTION_COLOURS.get(direction, INK)
        edge = critical(rows_of_direction["df"].to_numpy(float))
        axis.axvspan(-edge, edge, color="#ececec", zorder=0)
        axis.axvline(0, color=INK, linewidth=0.8)
        for row in rows_of_direction.to_dict("records"):
            y = rows.index((row["experiment"], row["comparison"]))
            ours, printed = (np.clip(row[name], -_MOST, _MOST) for name in ("t", "paper_t"))
            axis.plot([ours, printed], [y, y], color="#c9c9c9", linewidth=1, zorder=1)
            axis.plot(printed, y, "D", color=INK, markerfacecolor="white", markersize=5, zorder=2)
            axis.plot(ours, y, "o", color=colour, markersize=6, zorder=3)
        axis.set_title(DIRECTION_WORDS.get(direction, direction), fontsize=9)
        axis.set_xlabel("t over model pairs")
        axis.grid(axis="y", color="#efefef", linewidth=0.8)
        axis.set_axisbelow(True)
    axes[0].set_yticks(range(len(rows)), [f"{experiment}  {name}" for experiment, name in rows])
    axes[0].set_ylim(len(rows) - 0.4, -0.6)
    colour = DIRECTION_COLOURS.get(directions[0], INK)
    axes[0].plot([], [], "o", color=colour, markersize=6, label="this run")
    axes[0].plot([], [], "D", color=INK, markerfacecolor="white", markersize=5, label="the paper")
    figure.legend(loc="outside upper right", ncols=2)
    return figure


def critical(df: np.ndarray) -> float:
    """The t-value of p = .05, two-sided, for the smallest positive degrees of freedom; 0 without any."""
    valid = df[np.isfinite(df) & (df > 0)]
    return float(stats.t.ppf(0.975, valid.min())) if valid.size else 0.0
