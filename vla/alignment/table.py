"""The columns of `scores.parquet`, the table of scores that every run writes: one row per layer pair."""

import dataclasses
from typing import Literal

import pandas as pd

DIRECTIONS = ("vision_to_language", "language_to_vision")
SYMMETRIC = "symmetric"

Dtype = Literal["text", "integer", "number"]
_PANDAS = {"text": "str", "integer": "int64", "number": "float64"}


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of `scores.parquet`.

    Attributes:
      name: Name of the column.
      dtype: "text", "integer" (int64) or "number" (float64, NaN without a value).
      meaning: What a value is, in a sentence.
      lowest: Smallest possible value; None without a limit, or if it depends on the metric.
      highest: Largest possible value, or None.
    """

    name: str
    dtype: Dtype
    meaning: str
    lowest: float | None = None
    highest: float | None = None


COLUMNS = (
    Column("experiment", "text", "Id of the experiment."),
    Column("condition", "text", "Name of the condition: which images and which captions the models were shown."),
    Column("vision_model", "text", "Name of the vision model."),
    Column("language_model", "text", "Name of the language model."),
    Column("metric", "text", "Name of the metric."),
    Column(
        "direction", "text",
        "`vision_to_language` (vision predicts language), `language_to_vision`, or `symmetric` for metrics without a "
        "direction.",
    ),
    Column("vision_layer", "text", "Layer of the vision model: `embed`, `block_1` .. `block_L` or `final_norm`."),
    Column("language_layer", "text", "Layer of the language model."),
    Column("n_items", "integer", "Number of items scored.", 2.0),
    Column("score", "number", "The score, in the range of its metric; NaN where a layer is the same for every item."),
    Column("dataset", "text", "Name of the dataset."),
    Column("part", "text", "Part of the experiment: the conditions of a part show the same items."),
    Column("seed", "integer", "Seed of the folds, the shuffled baseline and the draws of items.", 0.0),
    Column("protocol", "text", "Protocol from which the settings of the metric come."),
    Column(
        "chance", "number",
        "Expected score of unrelated activations; for biased metrics the exact mean over all orders of the items; NaN "
        "if unknown.",
    ),
    Column("null_mean", "number", "Mean score over `null` shuffled orders of the items; NaN without a null."),
    Column("p_value", "number", "Share of orders, with the true one, that score at least as well.", 0.0, 1.0),
    Column(
        "p_max", "number",
        "The same against the best score of all layer pairs, which corrects for the choice of the best pair.", 0.0, 1.0,
    ),
    Column("q_value", "number", "`p_value` adjusted for the false discovery rate over layer pairs.", 0.0, 1.0),
    Column("calibrated", "number", "`score` on the scale from `null_mean` (0) to a perfect score (1)."),
    Column("ci_low", "number", "Lower end of the interval over items; NaN without draws of items (`bootstrap`)."),
    Column("ci_high", "number", "Upper end of the interval over items."),
    Column("standard_error", "number", "Standard deviation of the score over draws of items.", 0.0),
    Column(
        "edge_share", "number",
        "Share of ridge fits that chose the smallest or the largest penalty; NaN for metrics without penalties.",
        0.0, 1.0,
    ),
    Column(
        "reliability", "number",
        "Agreement of the layer map with itself on other items: correlation of the maps of two halves of the items, "
        "extrapolated to all items; the same in every row of a map; NaN without `halves`.", 0.0, 1.0,
    ),
    Column("ceiling", "number", "Root of `reliability`: the highest expected correlation with another map.", 0.0, 1.0),
    Column("vision_key", "text", "Key of the vision activations; `activations.json` has their group in the store."),
    Column("language_key", "text", "Key of the language activations, likewise."),
)  # fmt: skip
NAMES = tuple(column.name for column in COLUMNS)
# Columns that the tables of every version have.
REQUIRED = NAMES[:10]
# Variables of a result of `vla.score` that are columns: values per layer pair, and values of the layer map.
OF_PAIRS = ("score", "chance", "null_mean", "p_value", "p_max", "q_value", "calibrated", "ci_low", "ci_high",
            "standard_error", "edge_share")  # fmt: skip
OF_MAP = ("reliability", "ceiling")


def typed(frame: pd.DataFrame) -> pd.DataFrame:
    """The columns `NAMES` of the frame, in this order and with their dtypes.

    Raises:
      KeyError: A missing column.
    """
    return frame[list(NAMES)].astype({column.name: _PANDAS[column.dtype] for column in COLUMNS})


def described() -> str:
    """The columns as a Markdown table for the documentation."""
    rows = ["| column | dtype | range | meaning |", "|---|---|---|---|"]
    for column in COLUMNS:
        limits = [f"from {column.lowest:g}"] if column.lowest is not None else []
        limits += [f"to {column.highest:g}"] if column.highest is not None else []
        rows.append(f"| `{column.name}` | {column.dtype} | {' '.join(limits)} | {column.meaning} |")
    return "\n".join(rows) + "\n"
