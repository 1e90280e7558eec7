"""Alignment against how large or how well trained the models of one side are."""

import pandas as pd
from matplotlib.figure import Figure

from vla.report.figures.style import (
    DIRECTION_WORDS,
    INK,
    MARKERS,
    PALETTE,
    metric_words,
    ordered_directions,
    quiet_grid,
)

AXES = {
    "parameters": ("parameters of the language model", "log"),
    "loss": ("loss of the language model on held-out text", "linear"),
}
"""By what the models grow: the words of the axis, and its scale. A loss falls from left to right."""


def draw(rows: pd.DataFrame, against: str) -> Figure:
    """One panel per direction, one line per vision model, one mark per language model.

    Args:
      rows: One row per direction and pair of models: `direction`, `metric`, `vision_model`, `language_model`, `score`
        (of the best pair of layers), `growth` (parameters, or loss in its own unit).
      against: A key of `AXES`.
    """
    directions = ordered_directions(rows["direction"].unique())
    label, scale = AXES[against]
    figure = Figure(figsize=(4.2 * len(directions) + 1.6, 3.6), layout="constrained")
    axes = figure.subplots(1, len(directions), squeeze=False, sharey=True)[0]
    models = list(dict.fromkeys(rows["vision_model"]))
    for axis, direction in zip(axes, directions, strict=True):
        of_direction = rows.loc[rows["direction"] == direction]
        for index, model in enumerate(models):
            line = of_direction.loc[of_direction["vision_model"] == model].sort_values("growth")
            colour, marker = PALETTE[index % len(PALETTE)], MARKERS[index % len(MARKERS)]
            axis.plot(line["growth"], line["score"], color=colour, marker=marker, markersize=5, label=model)
        for row in of_direction.groupby("language_model", sort=False)[["growth", "score"]].max().itertuples():
            axis.annotate(str(row.Index), (row.growth, row.score), (0, 5), textcoords="offset points", fontsize=6,
                          color=INK, ha="center")  # fmt: skip
        axis.set_xscale(scale)
        if against == "loss":
            axis.invert_xaxis()
        axis.set_xlabel(label)
        if direction != "symmetric":
            axis.set_title(DIRECTION_WORDS.get(direction, direction), fontsize=9)
        quiet_grid(axis)
    axes[0].set_ylabel(f"best pair of layers, {metric_words(str(rows['metric'].iloc[0]))}")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper", title="vision model")
    return figure
