"""Gain of averaging by vision model: one exemplar against the most (Figure 6)."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from vla.report.figures.style import (
    DIRECTION_COLOURS,
    DIRECTION_WORDS,
    INK,
    metric_words,
    ordered_directions,
    quiet_grid,
    spoken,
)


def draw(curves: pd.DataFrame) -> Figure:
    """Rows are series, columns directions; per vision model, from the mean of one exemplar to the mean of the most.

    Args:
      curves: As of `vla.report.figures.curves.draw`, of one metric and several vision models.

    Returns:
      The figure: hollow marks are single exemplars, filled marks the average of the most, small dots the language
      models. Vision models are in the order of the table.
    """
    directions, series = ordered_directions(curves["direction"].unique()), list(dict.fromkeys(curves["series"]))
    models = list(dict.fromkeys(curves["vision_model"]))
    size = (min(11.5, (0.62 * len(models) + 1.4) * len(directions)), 2.9 * len(series) + 0.5)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(series), len(directions), squeeze=False, sharex=True, sharey="row")
    for line, name in zip(axes, series, strict=True):
        for axis, direction in zip(line, directions, strict=True):
            rows = curves.loc[(curves["series"] == name) & (curves["direction"] == direction)]
            single, most = ends(rows)
            colour = DIRECTION_COLOURS.get(direction, INK)
            for index, model in enumerate(models):
                if model not in most.index:
                    continue
                few, many = single.loc[model].to_numpy(float), most.loc[model].to_numpy(float)
                axis.plot(
                    [index + 0.2] * len(many), many, "o", color=colour, alpha=0.5, markersize=3.5, markeredgewidth=0
                )
                start, end = np.nanmean(few), np.nanmean(many)
                axis.plot([index, index], [start, end], color=colour, linewidth=2)
                axis.plot(index, start, "o", color=colour, markerfacecolor="white", markersize=7)
                axis.plot(index, end, "o", color=colour, markersize=7)
            counts = f"{int(rows['k'].min())} → {int(rows['k'].max())}"
            axis.set_title(f"{spoken(name)} {counts}: {DIRECTION_WORDS.get(direction, direction)}", fontsize=9)
            axis.set_xticks(range(len(models)), models, rotation=40, ha="right")
            quiet_grid(axis)
        line[0].set_ylabel(metric_words(str(curves["metric"].iloc[0])))
    return figure


def ends(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scores of one exemplar and of the most, each vision model (down) by language model (across)."""
    few, many = (rows.loc[rows["k"] == k] for k in (rows["k"].min(), rows["k"].max()))
    shape = {"index": "vision_model", "columns": "language_model", "values": "score", "sort": False}
    return few.pivot_table(**shape), many.pivot_table(**shape)
