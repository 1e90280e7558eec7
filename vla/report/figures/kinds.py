"""Mean score of the items of each kind of content, with its interval over items."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vla.report.figures.style import DIRECTION_COLOURS, DIRECTION_WORDS, INK, ordered_directions


def draw(kinds: pd.DataFrame) -> Figure:
    """One panel per direction, a line per kind of content: a dot for the mean, a bar for its interval.

    Args:
      kinds: Rows of one model pair by direction, `kind` and `group`, with `mean`, `ci_low`, `ci_high` (NaN where there
        are too few items), `n_items` and `statistic`. Groups stay in the order of their first rows.
    """
    directions = ordered_directions(kinds["direction"].unique())
    names = list(dict.fromkeys(zip(kinds["kind"], kinds["group"], strict=True)))
    order = list(dict.fromkeys(kind for kind, _ in names))
    names.sort(key=lambda name: order.index(name[0]))
    figure = Figure(figsize=(3.3 * len(directions) + 1.2, 0.24 * len(names) + 1.0), layout="constrained")
    axes = figure.subplots(1, len(directions), sharey=True, squeeze=False)[0]
    for axis, direction in zip(axes, directions, strict=True):
        own = kinds.loc[kinds["direction"] == direction].set_index(["kind", "group"]).reindex(names)
        _panel(axis, own, DIRECTION_COLOURS.get(direction, INK))
        axis.set_title(DIRECTION_WORDS.get(direction, direction), fontsize=9)
        axis.set_xlabel(str(kinds["statistic"].iloc[0]))
    counts = kinds.groupby(["kind", "group"])["n_items"].max()
    axes[0].set_yticks(range(len(names)), [f"{name[1]} ({counts.loc[name]:g})" for name in names])
    axes[0].invert_yaxis()
    for place in range(1, len(names)):
        if names[place][0] != names[place - 1][0]:
            for axis in axes:
                axis.axhline(place - 0.5, color="#c9c9c9", linewidth=0.8)
    return figure


def _panel(axis: Axes, rows: pd.DataFrame, colour: str) -> None:
    places = np.arange(len(rows))
    axis.hlines(places, rows["ci_low"].to_numpy(float), rows["ci_high"].to_numpy(float), color=colour, linewidth=1.6)
    axis.plot(rows["mean"].to_numpy(float), places, linestyle="none", marker="o", markersize=4.5, color=colour)
    axis.grid(axis="x", color="#e6e6e6", linewidth=0.8)
    axis.set_axisbelow(True)
