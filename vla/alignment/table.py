"""The columns of `scores.parquet`, the table of scores that every run writes: one row per pair of layers."""

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
      name: Its name.
      dtype: "text", "integer" (int64) or "number" (float64; NaN where there is no value).
      meaning: What a value is, in one sentence.
      lowest: No value is below; None where there is no limit, or where the metric sets it.
      highest: No value is above, likewise.
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
    Column("part", "text", "Part of the experiment: conditions of one part show the same items."),
    Column("seed", "integer", "Seed of the folds, the shuffled baseline and the draws of items.", 0.0),
    Column("protocol", "text", "Protocol from which the settings of the metric come."),
    Column(
        "chance", "number",
        "Expected score of unrelated activations; of biased metrics the exact mean over all orders of the items; NaN "
        "where it is not known.",
    ),
    Column("null_mean", "number", "Mean score of shuffled items, over `null` orders; NaN without a null."),
    Column("p_value", "number", "Share of orders, the true one counted, that score at least as well.", 0.0, 1.0),
    Column(
        "p_max", "number",
        "The same against the best score of all pairs of layers: corrects for the choice of the best pair.", 0.0, 1.0,
    ),
    Column("q_value", "number", "`p_value` with the false discovery rate controlled over pairs of layers.", 0.0, 1.0),
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
        "How far the layer map repeats itself on other items: correlation of the maps of two halves of the items, "
        "stepped up to all items; the same in every row of a map; NaN without `halves`.", 0.0, 1.0,
    ),
    Column("ceiling", "number", "Root of `reliability`: the highest correlation expected with another map.", 0.0, 1.0),
    Column("vision_key", "text", "Key of the vision activations; `activations.json` names their groups in the store."),
    Column("language_key", "text", "Key of the language activations, likewise."),
)  # fmt: skip
NAMES = tuple(column.name for column in COLUMNS)
# Those that tables of every version have.
REQUIRED = NAMES[:10]
# Values of every pair of layers, and of a layer map as a whole, by their names in a result of `vla.score`.
OF_PAIRS = ("score", "chance", "null_mean", "p_value", "p_max", "q_value", "calibrated", "ci_low", "ci_high",
            "standard_error", "edge_share")  # fmt: skip
OF_MAP = ("reliability", "ceiling")


def typed(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with the columns `NAMES`, in their order and with their dtypes.

    Raises:
      KeyError: A column is absent.
    """
    return frame[list(NAMES)].astype({column.name: _PANDAS[column.dtype] for column in COLUMNS})


def described() -> str:
    """The columns as a Markdown table, for the documentation."""
    rows = ["| column | dtype | range | meaning |", "|---|---|---|---|"]
    for column in COLUMNS:
        limits = [f"from {column.lowest:g}"] if column.lowest is not None else []
        limits += [f"to {column.highest:g}"] if column.highest is not None else []
        rows.append(f"| `{column.name}` | {column.dtype} | {' '.join(limits)} | {column.meaning} |")
    return "\n".join(rows) + "\n"
