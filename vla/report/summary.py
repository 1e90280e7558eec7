"""The layer map in one row per model pair, metric, direction and condition."""

import pandas as pd

_GROUP = ["vision_model", "language_model", "metric", "direction", "condition"]


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """Mean and best score over layer pairs of a tidy table, and which pair is best.

    Columns: the group (vision_model, language_model, metric, direction, condition), n_items, layer_pairs (those
    with a score), mean, best, best_vision_layer, best_language_layer. Groups stay in the order of the table.
    """
    rows = []
    for key, group in table.groupby(_GROUP, sort=False):
        scored = group.dropna(subset="score")
        best = scored.loc[scored["score"].idxmax()] if len(scored) else None
        rows.append(
            {
                **dict(zip(_GROUP, key, strict=True)),
                "n_items": group["n_items"].iloc[0],
                "layer_pairs": len(scored),
                "mean": scored["score"].mean(),
                "best": None if best is None else best["score"],
                "best_vision_layer": None if best is None else best["vision_layer"],
                "best_language_layer": None if best is None else best["language_layer"],
            }
        )
    return pd.DataFrame(rows)
