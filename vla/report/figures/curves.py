"""Curves of score against a count, such as averaged exemplars or items (Figures 5, 7C, 8, 9, 11, 12D)."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vla.report.figures.style import (
    DIRECTION_WORDS,
    GREY,
    INK,
    MARKERS,
    PALETTE,
    interval,
    metric_words,
    ordered_directions,
    quiet_grid,
    scores_by_pair,
    spoken,
)

SHUFFLED = "shuffled"


def draw(
    curves: pd.DataFrame, label: str, plateaus: Mapping[tuple[str, str], tuple[float, float, float]] | None = None,
    logarithmic: bool = False,
) -> Figure:  # fmt: skip
    """One panel per direction: mean over model pairs of each series, its 95 % interval, and thin lines of the pairs.

    The interval takes vision and language models as crossed factors.

    Args:
      curves: Rows of `series`, `k`, `vision_model`, `language_model`, `direction`, `metric` and `score`, of one metric.
        Series with "shuffled" in their names, except "not shuffled", are baselines: grey and dashed.
      label: Label of the horizontal axis: what `k` counts.
      plateaus: By (series, direction), the count where the curve flattens and its interval, marked on the curve; an
        open interval ends at the last count.
      logarithmic: Whether the horizontal axis is logarithmic.
    """
    directions, series = ordered_directions(curves["direction"].unique()), list(dict.fromkeys(curves["series"]))
    figure = Figure(figsize=(3.6 * len(directions) + 0.8, 3.3), layout="constrained")
    axes = figure.subplots(1, len(directions), sharey=True, squeeze=False)[0]
    for axis, direction in zip(axes, directions, strict=True):
        for index, name in enumerate(series):
            rows = curves.loc[(curves["direction"] == direction) & (curves["series"] == name)]
            if len(rows):
                _curve(axis, rows, name, index, (plateaus or {}).get((name, direction)))
        axis.set_title(DIRECTION_WORDS.get(direction, direction), fontsize=9)
        axis.set_xlabel(label)
        if logarithmic:
            axis.set_xscale("log")
            ks = sorted(curves["k"].unique())
            axis.set_xticks(ks, [f"{k:g}" for k in ks])
            axis.minorticks_off()
        else:
            axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
        quiet_grid(axis)
    axes[0].set_ylim(*_limits(curves["score"].to_numpy(float), *axes[0].get_ylim()))
    axes[0].set_ylabel(metric_words(str(curves["metric"].iloc[0])))
    if len(series) > 1 or SHUFFLED in series[0]:
        axes[0].legend(loc="best")
    return figure


def _limits(scores: np.ndarray, low: float, high: float) -> tuple[float, float]:
    """Limits of the vertical axis: wide intervals of few pairs must not flatten the curves."""
    least, most = np.nanmin(scores), np.nanmax(scores)
    room = 0.6 * max(most - least, 0.1)
    low, high = max(low, least - room), min(high, most + room)
    return min(low, high - 0.1), high


def _curve(axis: Axes, rows: pd.DataFrame, name: str, index: int, plateau: tuple[float, float, float] | None) -> None:
    ks = sorted(rows["k"].unique())
    wide = scores_by_pair(rows, "k", ks)
    baseline = SHUFFLED in name and f"not {SHUFFLED}" not in name
    colour = GREY if baseline else PALETTE[index % len(PALETTE)]
    linestyle: Any = (0, (4, 2)) if baseline else "-"
    mean, low, high = interval(wide)
    for scores in wide.to_numpy(float):
        axis.plot(ks, scores, color=colour, alpha=0.22, linewidth=0.7)
    if np.isfinite(low).all():
        axis.fill_between(ks, low, high, color=colour, alpha=0.18, linewidth=0)
    marker = MARKERS[index % len(MARKERS)]
    axis.plot(ks, mean, color=colour, linestyle=linestyle, marker=marker, markersize=4, label=spoken(name), zorder=3)
    if plateau is not None and np.isfinite(plateau[0]):
        at, *ends = plateau
        first, last = (at if np.isnan(end) else min(end, ks[-1]) for end in ends)
        level = float(np.interp(at, ks, mean))
        axis.plot([first, last], [level, level], color=INK, linewidth=1.1, zorder=4, marker="|", markersize=7)
        axis.plot([at], [level], marker="v", color=INK, markersize=5, zorder=5)
        below: dict[str, Any] = {"xytext": (0, -7), "textcoords": "offset points", "ha": "center", "va": "top"}
        axis.annotate(f"flat from {at:.0f}", (at, level), fontsize=7.5, color=INK, **below)
