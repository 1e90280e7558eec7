"""How figures look: colours that colour-blind readers can tell apart, fonts, names in words, file formats.

Source of the colours: Okabe & Ito (2008), Color Universal Design.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from vla.alignment.paired import Crossed, crossed_test
from vla.files import replacing

INK, GREY, PALE = "#1b1b1b", "#6b6b6b", "#c9c9c9"
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#1b1b1b")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DIRECTION_WORDS = {
    "language_to_vision": "language predicts vision",
    "vision_to_language": "vision predicts language",
    "symmetric": "both directions",
}
DIRECTION_COLOURS = {"language_to_vision": "#D55E00", "vision_to_language": "#0072B2", "symmetric": "#009E73"}
METRIC_WORDS = {
    "linear_predictivity": "linear predictivity (r)",
    "cka": "linear CKA",
    "cka_debiased": "debiased CKA",
    "cka_rbf": "RBF CKA",
    "mutual_knn": "mutual k-NN",
    "cknna": "CKNNA",
    "rsa": "RSA",
    "cca": "CCA",
    "svcca": "SVCCA",
    "pwcca": "PWCCA",
}
_DPI = 150
# Inches.
_WIDEST = 11.5
_RC = {
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.labelsize": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "pdf.fonttype": 42,
    "savefig.facecolor": "white",
    "svg.fonttype": "path",
    "svg.hashsalt": "vla",
    "text.color": INK,
    # Names of models and conditions may contain dollar signs.
    "text.parse_math": False,
    "xtick.color": GREY,
    "xtick.labelcolor": INK,
    "xtick.labelsize": 8,
    "ytick.color": GREY,
    "ytick.labelcolor": INK,
    "ytick.labelsize": 8,
}


@contextmanager
def styled() -> Iterator[None]:
    """Draw and save with the settings of the report."""
    with matplotlib.rc_context(_RC):  # pyright: ignore[reportArgumentType]
        yield


def settle(figure: Figure) -> Figure:
    """Compute the layout once, so that saving in several formats does not repeat it."""
    with styled():
        figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a figure in the format of the path's suffix (.svg, .pdf, .png), the same bytes every time."""
    # `savefig` would draw everything once more before it saves.
    with styled(), replacing(path) as temporary, temporary.open("wb") as file:
        if path.suffix == ".svg":
            FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None})
        elif path.suffix == ".pdf":
            undated = {"CreationDate": None, "ModDate": None, "Producer": None, "Creator": None}
            FigureCanvasPdf(figure).print_pdf(file, metadata=undated)
        elif path.suffix == ".png":
            figure.set_dpi(_DPI)
            FigureCanvasAgg(figure).print_png(file, metadata={"Software": None})
        else:
            raise ValueError(f"a figure cannot be written as {path.suffix!r}; expected one of .pdf, .png, .svg")


def metric_words(metric: str) -> str:
    """The name of a metric for an axis."""
    return METRIC_WORDS.get(metric, metric.replace("_", " "))


def direction_words(direction: object) -> str:
    """A direction in words."""
    return DIRECTION_WORDS.get(str(direction), str(direction))


def spoken(name: str) -> str:
    """The name of a condition or layer in words."""
    return name.replace("_", " ")


def ordered_directions(directions: Iterable[str]) -> list[str]:
    """Directions in the order of the panels: language to vision first."""
    present = set(directions)
    known = [direction for direction in DIRECTION_WORDS if direction in present]
    return known + sorted(present - set(known))


class Panel(NamedTuple):
    """The part of a figure about one direction: its axes from above, the rows of the table, and its colour."""

    axes: Sequence[Axes]
    direction: str
    rows: pd.DataFrame
    colour: str


def panels(
    table: pd.DataFrame, width: float, height: float, margin: float = 0.6, down: int = 1, **options: Any
) -> tuple[Figure, list[Panel]]:
    """A figure with a column of `down` panels per direction, headed by its name, with equal vertical axes in a row.

    `width` is that of a column, `height` that of the figure, in inches; `options` are those of `Figure.subplots`.
    """
    directions = ordered_directions(table["direction"].unique())
    figure = Figure(figsize=(min(_WIDEST, width * len(directions) + margin), height), layout="constrained")
    axes = figure.subplots(down, len(directions), squeeze=False, sharey="row", **options)
    columns = []
    for column, direction in zip(axes.T, directions, strict=True):
        column[0].set_title(direction_words(direction), fontsize=9)
        rows = table.loc[table["direction"] == direction]
        columns.append(Panel(column, direction, rows, DIRECTION_COLOURS.get(direction, INK)))
    return figure, columns


def quiet_grid(axis: Axes, across: Literal["x", "y", "both"] = "y") -> None:
    """Pale lines behind the data, across the "y" axis (horizontal), the "x" axis or "both"."""
    axis.grid(axis=across, color="#e6e6e6", linewidth=0.8)
    axis.set_axisbelow(True)


PAIR = ["vision_model", "language_model"]


def scores_by_pair(rows: pd.DataFrame, column: str, order: Sequence) -> pd.DataFrame:
    """Scores of model pairs (down) by the values of a column (across), in the order of `order`; NaN if missing."""
    return rows.pivot_table(index=PAIR, columns=column, values="score", sort=False).reindex(columns=list(order))


def interval(scores: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean over model pairs of each column, and both ends of its 95 % interval, of scores with `PAIR` as index.

    The interval takes vision and language models as crossed factors (`vla.alignment.paired.crossed_test`); it is NaN
    with fewer than two models on a side.
    """
    tests = _tests(scores)
    low, high = (np.array([getattr(test, name) for test in tests], float) for name in ("ci_low", "ci_high"))
    return scores.to_numpy(float).mean(axis=0), low, high


def standard_error(scores: pd.DataFrame) -> np.ndarray:
    """Standard error of the mean of each column, under the same model as `interval`; NaN where that is."""
    return np.array([test.standard_error for test in _tests(scores)], float)


def _tests(scores: pd.DataFrame) -> list[Crossed]:
    models = [scores.index.get_level_values(name) for name in PAIR]
    return [crossed_test(scores.iloc[:, column], *models) for column in range(scores.shape[1])]
