"""Layer maps: every vision layer against every language layer (Figures 2, 13 to 15), and profiles along the depth."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vla.alignment.depth import relative_depths
from vla.metrics.registry import best, best_index, sign
from vla.report.figures.style import (
    GREY,
    INK,
    MARKERS,
    PALETTE,
    direction_words,
    metric_words,
    ordered_directions,
    quiet_grid,
    spoken,
)

SIDES = ("vision", "language")
# Up to this many layers all tick labels are shown, above it about eight.
_NAMED = 9


def draw(table: pd.DataFrame) -> Figure:
    """Maps of one vision model: rows are directions, columns language models, each direction on one colour scale.

    Vision layers run upwards, language layers to the right, from the input on. Pairs without a score, such as those
    with a layer that is the same for every item, are hatched. The best pair (of a distance the smallest) has a ring.

    Args:
      table: Tidy rows of one vision model, metric and condition; the mean of `null_mean`, if present, is marked on the
        colour scale.
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
        bar.set_label(f"{direction_words(direction)}\n{metric_words(str(first['metric']))}", fontsize=8)
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


def draw_depth(profiles: pd.DataFrame, peaks: Mapping[tuple[str, str], tuple[float, float, float]]) -> Figure:
    """Rows are directions, columns the side whose depth runs to the right; a line per model, thick the mean.

    Args:
      profiles: As of `profiles_of`.
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
            axis.set_title(direction_words(direction), fontsize=9)
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
