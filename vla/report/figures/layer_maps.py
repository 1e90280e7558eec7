"""Heat maps of every vision layer against every language layer, one column per language model (Figures 2, 13 to 15)."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vla.metrics.registry import best_index, sign
from vla.report.figures.style import DIRECTION_WORDS, INK, metric_words, ordered_directions, spoken

# Up to this many layers all tick labels are shown, above it about eight.
_NAMED = 9


def draw(table: pd.DataFrame) -> Figure:
    """Maps of one vision model: rows are directions, columns language models, each direction on one colour scale.

    Args:
      table: Tidy rows of one vision model, metric and condition; the mean of `null_mean`, if present, is marked on the
        colour scale.

    Returns:
      The figure. Vision layers run upwards, language layers to the right, from the input on; pairs without a score,
      such as those with a layer that is the same for every item, are hatched; the best pair has a ring and its score
      (for a distance the smallest).
    """
    directions, models = ordered_directions(table["direction"].unique()), list(dict.fromkeys(table["language_model"]))
    first = table.iloc[0]
    width = min(11.5, 1.6 + 2.35 * len(models))
    figure = Figure(figsize=(width, 0.7 + 2.35 * len(directions)), layout="constrained")
    axes = figure.subplots(len(directions), len(models), squeeze=False)
    for line, direction in zip(axes, directions, strict=True):
        rows = table.loc[table["direction"] == direction]
        low, high = limits(rows["score"].to_numpy(float))
        for axis, model in zip(line, models, strict=True):
            _map(axis, matrix(rows.loc[rows["language_model"] == model]), low, high, str(first["metric"]))
            if direction == directions[0]:
                axis.set_title(model, fontsize=9)
            if direction == directions[-1]:
                axis.set_xlabel("language layer")
            else:
                axis.tick_params(labelbottom=False)
            if model != models[0]:
                axis.tick_params(labelleft=False)
        line[0].set_ylabel("vision layer")
        bar = figure.colorbar(line[0].images[0], ax=list(line), aspect=14, pad=0.02)
        bar.set_label(f"{DIRECTION_WORDS.get(direction, direction)}\n{metric_words(str(first['metric']))}", fontsize=8)
        _baseline(bar.ax, rows, low, high)
    figure.suptitle(f"{first['vision_model']}, {int(first['n_items'])} items", fontsize=10, x=0.01, ha="left")
    return figure


def colour_map(metric: str) -> str:
    """The colour map on which better scores are brighter."""
    return "viridis" if sign(metric) > 0 else "viridis_r"


def limits(scores: np.ndarray) -> tuple[float, float]:
    """The range of a colour scale: from 0, or the lowest score if that is negative, to the highest."""
    finite = scores[np.isfinite(scores)]
    return (min(0.0, float(finite.min())), max(float(finite.max()), 1e-6)) if finite.size else (0.0, 1.0)


def matrix(rows: pd.DataFrame) -> pd.DataFrame:
    """Scores of one map, vision layers down, language layers across, in the order of the rows."""
    wide = rows.pivot(index="vision_layer", columns="language_layer", values="score")
    return wide.loc[list(dict.fromkeys(rows["vision_layer"])), list(dict.fromkeys(rows["language_layer"]))]


def _map(axis: Axes, shown: pd.DataFrame, low: float, high: float, metric: str) -> None:
    values = shown.to_numpy(float)
    axis.set_facecolor("0.93")
    axis.patch.set_hatch("////")
    axis.patch.set_edgecolor("0.75")
    colours = {"vmin": low, "vmax": high, "cmap": colour_map(metric)}
    axis.imshow(values, origin="lower", aspect="auto", interpolation="nearest", **colours)
    if np.isfinite(values).any():
        y, x = np.unravel_index(best_index(values, metric), values.shape)
        bright = sign(metric) * (values[y, x] - (low + high) / 2) > 0
        ink = "black" if bright else "white"
        axis.plot(x, y, marker="o", markersize=6, markerfacecolor="none", markeredgecolor=ink, markeredgewidth=1.4)
        over = y < values.shape[0] / 2
        position = {"xytext": (0, 6 if over else -6), "textcoords": "offset points", "va": "bottom" if over else "top"}
        side = "left" if x == 0 else "right" if x == values.shape[1] - 1 else "center"
        axis.annotate(
            f"{values[y, x]:.{2 if abs(values[y, x]) >= 0.1 else 3}f}",
            (x, y),
            color=ink,
            fontsize=7.5,
            fontweight="bold",
            ha=side,
            **position,
        )
    for named, ticks in ((list(shown.columns), axis.set_xticks), (list(shown.index), axis.set_yticks)):
        at = _ticks(len(named))
        words = [spoken(str(named[i])).replace("block ", "") for i in at]
        ticks(at, words, rotation=90 if ticks == axis.set_xticks else 0, fontsize=7)
    axis.spines[:].set_visible(False)
    axis.tick_params(length=2)


def _ticks(count: int) -> list[int]:
    """Layers with tick labels: all, or about eight with the first and the last."""
    if count <= _NAMED:
        return list(range(count))
    return sorted({round(index) for index in np.linspace(0, count - 1, _NAMED - 1)})


def _baseline(axis: Axes, rows: pd.DataFrame, low: float, high: float) -> None:
    """Mark the mean of the shuffled baseline on a colour scale."""
    if "null_mean" not in rows or not rows["null_mean"].notna().any():
        return
    # The mean can lie slightly below 0, where the scale begins.
    mean = max(float(rows["null_mean"].mean()), low)
    if mean <= high:
        axis.axhline(mean, color="white", linewidth=2.4)
        axis.axhline(mean, color=INK, linewidth=1.0)
        axis.annotate("shuffled", (0, mean), xytext=(-2, 0), textcoords="offset points", ha="right", fontsize=6.5,
                      va="center", xycoords=("axes fraction", "data"))  # fmt: skip
