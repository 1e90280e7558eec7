"""The layer map in one row per model pair, metric, direction and condition."""

import pandas as pd

_GROUP = ["vision_model", "language_model", "metric", "direction", "condition"]


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """Mean and best score over layer pairs of a tidy table, and which pair is best.

    Columns: the group (vision_model, language_model, metric, direction, condition), n_items, layer_pairs (those
    with a score), mean, best, best_vision_layer, best_language_layer. Groups stay in the order of the table.
    """
    rows = []
    for _, group in table.groupby(_GROUP, sort=False):
        scored = group.dropna(subset=["score"])
        best = scored.sort_values("score", kind="stable").tail(1)
        rows.append(
            group[[*_GROUP, "n_items"]]
            .head(1)
            .assign(
                layer_pairs=len(scored),
                mean=scored["score"].mean(),
                best=best["score"].max(),
                best_vision_layer=", ".join(best["vision_layer"]),
                best_language_layer=", ".join(best["language_layer"]),
            )
        )
    return pd.concat(rows, ignore_index=True)
