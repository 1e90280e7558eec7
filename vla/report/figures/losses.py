"""Loss of a model along its training beside a trivial baseline."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from vla.report.figures.style import GREY, PALETTE, quiet_grid


def draw(models: Sequence[Mapping[str, Any]]) -> Figure:
    """One panel per model.

    Args:
      models: Each with `name` and `losses`: `steps`, `loss`, and where there are any `baseline` and `unit`.
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
