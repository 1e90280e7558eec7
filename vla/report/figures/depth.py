"""Alignment by depth: the best score of each layer of one model over the layers of the other, with its peak."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from vla.alignment.depth import relative_depths
from vla.metrics.registry import best
from vla.report.figures.style import (
    DIRECTION_WORDS,
    GREY,
    MARKERS,
    PALETTE,
    metric_words,
    ordered_directions,
    quiet_grid,
)

SIDES = ("vision", "language")


def draw(profiles: pd.DataFrame, peaks: Mapping[tuple[str, str], tuple[float, float, float]]) -> Figure:
    """Rows are directions, columns the side whose depth runs to the right; a line per model, thick the mean.

    Args:
      profiles: Rows of `direction`, `side` ("vision" or "language"), `model`, `depth` (0 at the input, 1 at the last
        layer), `score` and `metric`, such as `profiles_of` makes.
      peaks: By (direction, side): the depth of the mean peak and its interval, drawn as a band; none where NaN.
    """
    directions = ordered_directions(profiles["direction"].unique())
    figure = Figure(figsize=(7.8, 0.4 + 2.5 * len(directions)), layout="constrained")
    axes = figure.subplots(len(directions), 2, squeeze=False, sharey="row")
    for line, direction in zip(axes, directions, strict=True):
        for axis, side in zip(line, SIDES, strict=True):
            rows = profiles.loc[(profiles["direction"] == direction) & (profiles["side"] == side)]
            at, low, high = peaks.get((direction, side), (np.nan,) * 3)
            if np.isfinite(low) and np.isfinite(high):
                axis.axvspan(low, high, color="#ececec", zorder=0)
            if np.isfinite(at):
                axis.axvline(at, color=GREY, linewidth=1, linestyle=(0, (4, 3)))
            for index, (model, of_model) in enumerate(rows.groupby("model", sort=False)):
                style = {"color": PALETTE[index % len(PALETTE)], "marker": MARKERS[index % len(MARKERS)]}
                axis.plot(of_model["depth"], of_model["score"], markersize=3.5, label=model, **style)
            axis.set_title(f"{DIRECTION_WORDS.get(direction, direction)}", fontsize=9)
            axis.set_xlabel(f"depth of the {side} model" if direction == directions[-1] else "")
            axis.set_xlim(-0.02, 1.02)
            quiet_grid(axis, "both")
            if direction == directions[0]:
                axis.legend(loc="best", fontsize=7)
        line[0].set_ylabel(metric_words(str(profiles["metric"].iloc[0])))
    return figure


def profiles_of(table: pd.DataFrame) -> pd.DataFrame:
    """Depth profiles of tidy rows of layer maps of one condition and metric.

    The score of a layer is its best over the layers of the other model, averaged over the models of the other side.
    Layers without a score and the final norm, which lies beyond the last block, are left out.
    """
    profiles = []
    for direction, rows in table.groupby("direction", sort=False):
        for side, other in (SIDES, SIDES[::-1]):
            names = [f"{side}_model", f"{other}_model", f"{side}_layer"]
            layers = best(rows.groupby(names, sort=False)["score"], str(rows["metric"].iloc[0])).reset_index()
            layers["depth"] = depths_of(layers, side)
            mean = layers.groupby([f"{side}_model", "depth"], sort=False)["score"].mean().dropna().reset_index()
            mean = mean.rename(columns={f"{side}_model": "model"})
            profiles.append(mean.assign(direction=direction, side=side, metric=rows["metric"].iloc[0]))
    return pd.concat(profiles, ignore_index=True)


def depths_of(rows: pd.DataFrame, side: str) -> pd.Series:
    """The relative depth of the layer of each row on one side; NaN for the final norm."""
    depths = {
        (model, layer): depth
        for model, of_model in rows.groupby(f"{side}_model", sort=False)
        for layers in [list(dict.fromkeys(of_model[f"{side}_layer"]))]
        for layer, depth in zip(layers, relative_depths(layers), strict=True)
    }
    return pd.Series(
        [depths[key] for key in zip(rows[f"{side}_model"], rows[f"{side}_layer"], strict=True)], rows.index
    )
