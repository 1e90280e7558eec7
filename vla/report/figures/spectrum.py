"""How well each dimension of the map is predicted on held-out items, with how many dimensions there are in effect."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from vla.report.figures.style import DIRECTION_COLOURS, DIRECTION_WORDS, GREY, INK, PAIR, ordered_directions, quiet_grid


def draw(spectrum: pd.DataFrame) -> Figure:
    """One panel per direction: thin lines are model pairs, the thick one their mean, dashed the effective dimension.

    Args:
      spectrum: Rows by model pair, direction and `rank` of the dimension, with `r` (NaN where it is not defined) and
        `effective_dimension`, the same in all rows of a pair and direction.

    Returns:
      The figure. The mean ends with the shortest line, and the effective dimension is the mean over pairs.
    """
    directions = ordered_directions(spectrum["direction"].unique())
    figure = Figure(figsize=(3.7 * len(directions) + 0.6, 3.0), layout="constrained")
    axes = figure.subplots(1, len(directions), sharey=True, squeeze=False)[0]
    for axis, direction in zip(axes, directions, strict=True):
        _panel(axis, spectrum.loc[spectrum["direction"] == direction], DIRECTION_COLOURS.get(direction, INK))
        axis.set_title(DIRECTION_WORDS.get(direction, direction), fontsize=9)
    axes[0].set_ylabel("held-out correlation (r)")
    return figure


def _panel(axis: Axes, rows: pd.DataFrame, colour: str) -> None:
    wide = rows.pivot_table(index="rank", columns=PAIR, values="r", dropna=False)
    for name in wide:
        axis.plot(wide.index, wide[name], color=colour, alpha=0.35, linewidth=0.9)
    mean = wide.dropna().mean(axis=1)
    axis.plot(mean.index, mean, color=colour, linewidth=2.2)
    axis.axhline(0, color=GREY, linewidth=0.8)
    dimension = float(rows.groupby(PAIR)["effective_dimension"].first().mean())
    if dimension == dimension:
        axis.axvline(dimension, color=INK, linestyle=(0, (4, 3)), linewidth=1)
        axis.annotate(f"{dimension:.1f} in effect", (dimension, 1), xycoords=("data", "axes fraction"), xytext=(4, -2),
                      textcoords="offset points", va="top", fontsize=8)  # fmt: skip
    axis.set_xscale("log")
    plain = FuncFormatter(lambda rank, _: f"{rank:g}")
    axis.xaxis.set_major_formatter(plain)
    axis.xaxis.set_minor_formatter(plain if rows["rank"].max() < 10 else NullFormatter())
    axis.set_xlabel("dimension, the strongest first")
    quiet_grid(axis)
