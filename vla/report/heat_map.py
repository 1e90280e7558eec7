"""Heat maps of layer by layer alignment, with the shuffled baseline beside."""

from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vla.metrics import best_index, sign
from vla.report.figures.layer_maps import colour_map

LABELS = {
    "vision_to_language": "vision predicts language",
    "language_to_vision": "language predicts vision",
    "symmetric": "both directions",
}


def draw(table: pd.DataFrame) -> Figure:
    """One map per condition of a tidy table of one model pair, metric and direction, on one colour scale.

    Language layers run to the right, vision layers upwards; pairs without a score, such as those with a layer that
    is the same for every item, are hatched. The best pair is marked, of a distance the smallest; brighter is better.
    """
    conditions = list(dict.fromkeys(table["condition"]))
    first = table.iloc[0]
    maps = {name: _matrix(table.loc[table["condition"] == name]) for name in conditions}
    finite = np.concatenate([m.values[np.isfinite(m.values)] for m in maps.values()])
    low, high = (min(0.0, finite.min()), finite.max()) if finite.size else (0.0, 1.0)
    rows, columns = maps[conditions[0]].shape
    # As many inches as keep the names of 40 layers readable, within a page.
    size = (1.9 + 0.26 * columns, 1.6 + 0.26 * rows)
    figure = Figure(figsize=(max(4.0, size[0]) * len(conditions), max(3.4, size[1])), layout="constrained")
    axes = figure.subplots(1, len(conditions), squeeze=False)[0]
    for axis, name in zip(axes, conditions, strict=True):
        _map(axis, maps[name], low, high, str(first["metric"]))
        axis.set_title(name)
        axis.set_xlabel(f"{first['language_model']} (language)")
    axes[0].set_ylabel(f"{first['vision_model']} (vision)")
    figure.colorbar(axes[0].images[0], ax=list(axes), label=str(first["metric"]))
    figure.suptitle(f"{LABELS[str(first['direction'])]}, {first['n_items']} items")
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a figure in the format of the path's suffix, the same bytes every time."""
    vector = path.suffix == ".svg"
    with matplotlib.rc_context({"svg.hashsalt": "vla", "svg.fonttype": "none"}):
        figure.savefig(path, dpi=160, metadata={"Date": None} if vector else {"Software": None})


def _matrix(rows: pd.DataFrame) -> pd.DataFrame:
    matrix = rows.pivot(index="vision_layer", columns="language_layer", values="score")
    return matrix.loc[list(dict.fromkeys(rows["vision_layer"])), list(dict.fromkeys(rows["language_layer"]))]


def _map(axis: Axes, matrix: pd.DataFrame, low: float, high: float, metric: str) -> None:
    values = matrix.to_numpy(float)
    axis.set_facecolor("0.92")
    axis.patch.set_hatch("///")
    axis.patch.set_edgecolor("0.6")
    axis.imshow(values, origin="lower", vmin=low, vmax=high, cmap=colour_map(metric), aspect="equal")
    if np.isfinite(values).any():
        y, x = np.unravel_index(best_index(values, metric), values.shape)
        # Dark on the bright end of the scale, white on the dark end.
        bright = sign(metric) * (values[y, x] - (low + high) / 2) > 0
        ink = "black" if bright else "white"
        axis.plot(x, y, marker="o", markersize=7, markerfacecolor="none", markeredgecolor=ink, markeredgewidth=1.5)
        place = {"xytext": (0, 6), "textcoords": "offset points", "ha": "center"}
        axis.annotate(f"{values[y, x]:.3f}", (x, y), color=ink, fontsize=7, fontweight="bold", **place)
    axis.set_xticks(range(values.shape[1]), list(matrix.columns), rotation=90, fontsize=7)
    axis.set_yticks(range(values.shape[0]), list(matrix.index), fontsize=7)
