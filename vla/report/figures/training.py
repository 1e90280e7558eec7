"""Alignment along training: every layer against every saved step, and curves of the best layer."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from vla.metrics import best
from vla.report.figures.layer_maps import colour_map, limits
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
    """Above, the mean over pairs of each predicted layer (up) at each step (right); below, the best layer of each pair.

    Args:
      curves: As of `vla.report.figures.curves.draw`; series are layers from the input on, `k` are steps of training.
    """
    directions = ordered_directions(curves["direction"].unique())
    layers, steps = list(dict.fromkeys(curves["series"])), sorted(curves["k"].unique())
    figure = Figure(figsize=(3.7 * len(directions) + 1.0, 5.0), layout="constrained")
    axes = figure.subplots(2, len(directions), squeeze=False, sharey="row", sharex=True)
    metric = str(curves["metric"].iloc[0])
    low, high = limits(curves.groupby(["direction", "series", "k"])["score"].mean().to_numpy(float))
    for upper, lower, direction in zip(*axes, directions, strict=True):
        rows = curves.loc[curves["direction"] == direction]
        mean = rows.pivot_table(index="series", columns="k", values="score", sort=False).reindex(layers)[steps]
        colours = {"vmin": low, "vmax": high, "cmap": colour_map(metric)}
        upper.imshow(mean.to_numpy(float), origin="lower", aspect="auto", **colours)
        upper.set_yticks(range(len(layers)), [spoken(layer) for layer in layers], fontsize=7)
        upper.set_title(DIRECTION_WORDS.get(direction, direction), fontsize=9)
        of_pairs = rows.groupby(["vision_model", "language_model", "k"], sort=False)["score"]
        best_layers = best(of_pairs, metric).reset_index()
        colour = DIRECTION_COLOURS.get(direction, INK)
        for _, own in best_layers.groupby(["vision_model", "language_model"], sort=False):
            lower.plot(np.searchsorted(steps, own["k"]), own["score"], color=colour, alpha=0.4, linewidth=0.9)
        along = best_layers.groupby("k")["score"].mean()
        lower.plot(range(len(steps)), along.loc[steps], color=colour, marker="o", markersize=4)
        lower.set_xticks(range(len(steps)), [f"{step:g}" for step in steps], rotation=45)
        lower.set_xlabel("step of training")
        quiet_grid(lower)
    axes[1][0].set_ylabel(f"best layer, {metric_words(metric)}")
    axes[0][0].set_ylabel("layer of the predicted model")
    figure.colorbar(axes[0][0].images[0], ax=list(axes[0]), label=metric_words(metric))
    return figure
