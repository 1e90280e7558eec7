"""Which layer stands for a model where a single one is asked for."""

import re
from collections.abc import Sequence

import pandas as pd

CELL = ["experiment", "condition", "vision_model", "language_model", "metric", "direction"]


def penultimate(names: Sequence[str]) -> str:
    """The block before the last, by number; of other layers the one before the last; a layer alone is meant."""
    blocks = sorted((int(found[1]), name) for name in names if (found := re.fullmatch(r"block_(\d+)", name)))
    return blocks[-2][1] if len(blocks) > 1 else names[max(0, len(names) - 2)]


def scalars(scores: pd.DataFrame) -> pd.DataFrame:
    """The rows of tidy scores that stand for a condition: where several layers were scored, the penultimate ones."""
    if scores.empty:
        return scores
    kept, cell = pd.Series(True, scores.index), scores.groupby(CELL, sort=False).ngroup()
    for side in ("vision", "language"):
        layers = scores[f"{side}_layer"].astype(str)
        named = pd.DataFrame({"cell": cell, "layer": layers}).drop_duplicates()
        several = named.loc[named["cell"].duplicated(keep=False)]
        wanted = {one: penultimate(list(own)) for one, own in several.groupby("cell", sort=False)["layer"]}
        kept &= ~cell.isin(wanted) | (layers == cell.map(wanted).astype(str))
    return scores.loc[kept]
