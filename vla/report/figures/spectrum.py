"""Content of an alignment: correlation along each dimension of the map, and mean scores by category of items."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from vla.report.figures.style import GREY, INK, PAIR, PALE, panels, quiet_grid


def draw(spectrum: pd.DataFrame) -> Figure:
    """One panel per direction: thin lines are model pairs, the thick line their mean, dashed the effective dimension.

    The mean ends with the shortest line; the effective dimension is the mean over pairs.

    Args:
      spectrum: Rows by model pair, direction and `rank` of the dimension, with `r` (NaN where it is not defined) and
        `effective_dimension`, the same in all rows of a pair and direction.
    """
    figure, columns = panels(spectrum, 3.7, 3.0)
    for (axis,), _, rows, colour in columns:
        _dimensions(axis, rows, colour)
    columns[0].axes[0].set_ylabel("held-out correlation (r)")
    return figure


def _dimensions(axis: Axes, rows: pd.DataFrame, colour: str) -> None:
    wide = rows.pivot_table(index="rank", columns=PAIR, values="r", dropna=False)
    for pair in wide:
        axis.plot(wide.index, wide[pair], color=colour, alpha=0.35, linewidth=0.9)
    mean = wide.dropna().mean(axis=1)
    axis.plot(mean.index, mean, color=colour, linewidth=2.2)
    axis.axhline(0, color=GREY, linewidth=0.8)
    dimension = float(rows.groupby(PAIR)["effective_dimension"].first().mean())
    if np.isfinite(dimension):
        axis.axvline(dimension, color=INK, linestyle=(0, (4, 3)), linewidth=1)
        axis.annotate(f"effective: {dimension:.1f}", (dimension, 1), xycoords=("data", "axes fraction"), xytext=(4, -2),
                      textcoords="offset points", va="top", fontsize=8)  # fmt: skip
    axis.set_xscale("log")
    plain = FuncFormatter(lambda rank, _: f"{rank:g}")
    axis.xaxis.set_major_formatter(plain)
    axis.xaxis.set_minor_formatter(plain if rows["rank"].max() < 10 else NullFormatter())
    axis.set_xlabel("dimension, the strongest first")
    quiet_grid(axis)


def draw_categories(content: pd.DataFrame) -> Figure:
    """One panel per direction, a line per category of items: a dot for the mean score, a bar for its interval.

    Args:
      content: Rows of one model pair by direction, `kind` and `group`, with `mean`, `ci_low`, `ci_high` (NaN with too
        few items), `n_items` and `statistic`. Groups keep the order of their first rows.
    """
    names = list(dict.fromkeys(zip(content["kind"], content["group"], strict=True)))
    order = list(dict.fromkeys(scheme for scheme, _ in names))
    names.sort(key=lambda name: order.index(name[0]))
    figure, columns = panels(content, 3.3, 0.24 * len(names) + 1.0, 1.2)
    for (axis,), _, of_direction, colour in columns:
        rows, heights = of_direction.set_index(["kind", "group"]).reindex(names), np.arange(len(names))
        low, mean, high = (rows[name].to_numpy(float) for name in ("ci_low", "mean", "ci_high"))
        axis.hlines(heights, low, high, color=colour, linewidth=1.6)
        axis.plot(mean, heights, linestyle="none", marker="o", markersize=4.5, color=colour)
        quiet_grid(axis, "x")
        axis.set_xlabel(str(content["statistic"].iloc[0]))
    counts = content.groupby(["kind", "group"])["n_items"].max()
    first = columns[0].axes[0]
    first.set_yticks(range(len(names)), [f"{name[1]} ({counts.loc[name]:g})" for name in names])
    first.invert_yaxis()
    for index in range(1, len(names)):
        if names[index][0] != names[index - 1][0]:
            for panel in columns:
                panel.axes[0].axhline(index - 0.5, color=PALE, linewidth=0.8)
    return figure
