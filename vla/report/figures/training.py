"""Models of growing training or size: losses, alignment by layer and step, alignment against size or loss."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from vla.metrics.registry import best
from vla.report.figures.layer_maps import colour_map, limits
from vla.report.figures.style import GREY, INK, MARKERS, PAIR, PALETTE, metric_words, panels, quiet_grid, spoken


def draw(curves: pd.DataFrame) -> Figure:
    """Above, the mean over pairs of each predicted layer (up) at each step (right); below, the best layer of each pair.

    In the curves, series are layers from the input on, and `k` are steps of training.
    """
    layers, steps = list(dict.fromkeys(curves["series"])), sorted(curves["k"].unique())
    figure, columns = panels(curves, 3.7, 5.0, 1.0, 2, sharex=True)
    metric = str(curves["metric"].iloc[0])
    low, high = limits(curves.groupby(["direction", "series", "k"])["score"].mean().to_numpy(float))
    for (upper, lower), _, rows, colour in columns:
        mean = rows.pivot_table(index="series", columns="k", values="score", sort=False).reindex(layers)[steps]
        colours = {"vmin": low, "vmax": high, "cmap": colour_map(metric)}
        upper.imshow(mean.to_numpy(float), origin="lower", aspect="auto", **colours)
        upper.set_yticks(range(len(layers)), [spoken(layer) for layer in layers], fontsize=7)
        best_layers = best(rows.groupby([*PAIR, "k"], sort=False)["score"], metric).reset_index()
        for _, of_pair in best_layers.groupby(PAIR, sort=False):
            lower.plot(np.searchsorted(steps, of_pair["k"]), of_pair["score"], color=colour, alpha=0.4, linewidth=0.9)
        along = best_layers.groupby("k")["score"].mean()
        lower.plot(range(len(steps)), along.loc[steps], color=colour, marker="o", markersize=4)
        lower.set_xticks(range(len(steps)), [f"{step:g}" for step in steps], rotation=45)
        lower.set_xlabel("step of training")
        quiet_grid(lower)
    upper, lower = columns[0].axes
    lower.set_ylabel(f"best layer, {metric_words(metric)}")
    upper.set_ylabel("layer of the predicted model")
    figure.colorbar(upper.images[0], ax=[column.axes[0] for column in columns], label=metric_words(metric))
    return figure


def draw_losses(models: Sequence[Mapping[str, Any]]) -> Figure:
    """The loss of each model along its training, a panel each, beside a trivial baseline.

    Models have `name` and `losses`: `steps`, `loss`, and optionally `baseline` and `unit`.
    """
    across = min(len(models), 4)
    down = -(-len(models) // across)
    figure = Figure(figsize=(2.7 * across + 0.3, 2.3 * down + 0.2), layout="constrained")
    axes = figure.subplots(down, across, squeeze=False).ravel()
    for axis, model in zip(axes, models, strict=False):
        losses = model["losses"]
        axis.plot(losses["steps"], losses["loss"], color=PALETTE[0])
        if losses.get("baseline") is not None:
            axis.axhline(losses["baseline"], color=GREY, linestyle=(0, (4, 3)), linewidth=1)
            axis.annotate("baseline", (1, losses["baseline"]), xycoords=("axes fraction", "data"), xytext=(-1, 2),
                          textcoords="offset points", ha="right", fontsize=7, color=GREY)  # fmt: skip
        axis.set_title(model["name"], fontsize=9)
        axis.set_xlabel("step")
        axis.set_ylabel(losses.get("unit", "loss"))
        quiet_grid(axis)
    for axis in axes[len(models) :]:
        axis.set_visible(False)
    return figure


GROWTH_AXES = {
    "parameters": ("parameters of the language model", "log"),
    "loss": ("loss of the language model on held-out text", "linear"),
}
"""By what the models grow: the words of the axis, and its scale. A loss falls from left to right."""


def draw_growth(rows: pd.DataFrame, against: str) -> Figure:
    """Alignment against size or loss: one panel per direction, one line per vision model, a mark per language model.

    Args:
      rows: One row per direction and pair of models: `direction`, `metric`, `vision_model`, `language_model`, `score`
        (of the best pair of layers), `growth` (parameters, or loss in its own unit).
      against: A key of `GROWTH_AXES`.
    """
    label, scale = GROWTH_AXES[against]
    figure, columns = panels(rows, 4.2, 3.6, 1.6)
    models = list(dict.fromkeys(rows["vision_model"]))
    for (axis,), direction, of_direction, _ in columns:
        for index, model in enumerate(models):
            line = of_direction.loc[of_direction["vision_model"] == model].sort_values("growth")
            colour, marker = PALETTE[index % len(PALETTE)], MARKERS[index % len(MARKERS)]
            axis.plot(line["growth"], line["score"], color=colour, marker=marker, markersize=5, label=model)
        for row in of_direction.groupby("language_model", sort=False)[["growth", "score"]].max().itertuples():
            axis.annotate(str(row.Index), (row.growth, row.score), (0, 5), textcoords="offset points", fontsize=6,
                          color=INK, ha="center")  # fmt: skip
        axis.set_xscale(scale)
        axis.margins(y=0.12)
        if against == "loss":
            axis.invert_xaxis()
        else:
            # The default formatter writes TeX, which the style does not parse.
            count = FuncFormatter(lambda value, _: count_text(value))
            axis.xaxis.set_major_formatter(count)
            few = of_direction["growth"].max() < 10 * of_direction["growth"].min()
            axis.xaxis.set_minor_formatter(count if few else NullFormatter())
            axis.tick_params(axis="x", which="minor", labelrotation=90, labelsize=7)
        axis.set_xlabel(label)
        if direction == "symmetric":
            axis.set_title("")
        quiet_grid(axis)
    first = columns[0].axes[0]
    first.set_ylabel(f"best pair of layers, {metric_words(str(rows['metric'].iloc[0]))}")
    figure.legend(*first.get_legend_handles_labels(), loc="outside right upper", title="vision model")
    return figure


def count_text(value: float) -> str:
    """A number of parameters in short, such as 70M or 1.5B."""
    for unit, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:g}{letter}"
    return f"{value:g}"
