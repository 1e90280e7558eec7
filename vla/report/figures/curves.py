"""Curves of score against a count, such as averaged exemplars or items (Figures 5 to 9, 11, 12D)."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vla.report.figures.style import (
    GREY,
    INK,
    MARKERS,
    PALETTE,
    direction_words,
    interval,
    metric_words,
    panels,
    quiet_grid,
    scores_by_pair,
    spoken,
)

SHUFFLED = "shuffled"
Mark = tuple[float, float, float]
"""A position on the horizontal axis and the ends of its interval."""


def draw(
    curves: pd.DataFrame, label: str, plateaus: Mapping[tuple[str, str], Mark] | None = None, logarithmic: bool = False
) -> Figure:
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
    series = list(dict.fromkeys(curves["series"]))
    figure, columns = panels(curves, 3.6, 3.3, 0.8)
    for (axis,), direction, of_direction, _ in columns:
        for index, name in enumerate(series):
            rows = of_direction.loc[of_direction["series"] == name]
            if len(rows):
                _curve(axis, rows, name, index, (plateaus or {}).get((name, direction)))
        axis.set_xlabel(label)
        if logarithmic:
            axis.set_xscale("log")
            ks = sorted(curves["k"].unique())
            axis.set_xticks(ks, [f"{k:g}" for k in ks])
            axis.minorticks_off()
        else:
            axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
        quiet_grid(axis)
    first = columns[0].axes[0]
    first.set_ylim(*_limits(curves["score"].to_numpy(float), *first.get_ylim()))
    first.set_ylabel(metric_words(str(curves["metric"].iloc[0])))
    if len(series) > 1 or SHUFFLED in series[0]:
        first.legend(loc="best")
    return figure


def draw_gains(curves: pd.DataFrame) -> Figure:
    """Gain of averaging by vision model: rows are series, columns directions.

    Hollow marks are means of one exemplar, filled marks means of the most, small dots the language models at the most.
    Vision models are in the order of the table.

    Args:
      curves: As of `draw`, of one metric and several vision models.
    """
    series, models = list(dict.fromkeys(curves["series"])), list(dict.fromkeys(curves["vision_model"]))
    width, height = 0.62 * len(models) + 1.4, 2.9 * len(series) + 0.5
    figure, columns = panels(curves, width, height, 0.0, len(series), sharex=True)
    for axes, direction, of_direction, colour in columns:
        for axis, name in zip(axes, series, strict=True):
            rows = of_direction.loc[of_direction["series"] == name]
            few, many = (rows.loc[rows["k"] == k] for k in (rows["k"].min(), rows["k"].max()))
            for index, model in enumerate(models):
                start, ends = (part.loc[part["vision_model"] == model, "score"] for part in (few, many))
                if ends.empty:
                    continue
                axis.plot([index + 0.2] * len(ends), ends, "o", color=colour, alpha=0.5, markersize=3.5, mew=0)
                first, last = start.mean(), ends.mean()
                axis.plot([index, index], [first, last], color=colour, linewidth=2)
                axis.plot(index, first, "o", color=colour, markerfacecolor="white", markersize=7)
                axis.plot(index, last, "o", color=colour, markersize=7)
            counts = f"{int(rows['k'].min())} → {int(rows['k'].max())}"
            axis.set_title(f"{spoken(name)} {counts}: {direction_words(direction)}", fontsize=9)
            axis.set_xticks(range(len(models)), models, rotation=40, ha="right")
            quiet_grid(axis)
    for axis in columns[0].axes:
        axis.set_ylabel(metric_words(str(curves["metric"].iloc[0])))
    return figure


def _limits(scores: np.ndarray, low: float, high: float) -> tuple[float, float]:
    """Limits of the vertical axis: wide intervals of few pairs must not flatten the curves."""
    least, most = np.nanmin(scores), np.nanmax(scores)
    room = 0.6 * max(most - least, 0.1)
    low, high = max(low, least - room), min(high, most + room)
    return min(low, high - 0.1), high


def _curve(axis: Axes, rows: pd.DataFrame, name: str, index: int, plateau: Mark | None) -> None:
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
