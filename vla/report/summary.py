"""The layer map in one row per model pair, metric, direction and condition."""

import pandas as pd

from vla.alignment.table import OF_TABLE
from vla.metrics import best_index

_OF_BEST = ("ci_low", "ci_high", "p_max")
_GROUP = ["vision_model", "language_model", "metric", "direction", "condition"]


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """Mean and best score over layer pairs of a tidy table, and which pair is best: of a distance the smallest.

    Columns: the group (vision_model, language_model, metric, direction, condition), n_items, layer_pairs (those
    with a score), mean, best, best_vision_layer, best_language_layer; of a table that has them, what stands beside the
    best pair (ci_low, ci_high and p_max, which counts that it is the best of all), and the reliability of the whole.
    Groups stay in the order of the table.
    """
    rows = []
    for _, group in table.groupby(_GROUP, sort=False):
        scored = group.dropna(subset=["score"])
        metric = str(group["metric"].iloc[0])
        best = scored.loc[[best_index(scored["score"], metric)]] if len(scored) else scored
        beside = {f"best_{name}": best[name].max() for name in _OF_BEST if name in table}
        rows.append(
            group[[*_GROUP, "n_items"]]
            .head(1)
            .assign(
                layer_pairs=len(scored),
                mean=scored["score"].mean(),
                best=best["score"].max(),
                best_vision_layer=", ".join(best["vision_layer"]),
                best_language_layer=", ".join(best["language_layer"]),
                **beside,
                **{name: group[name].max() for name in OF_TABLE if name in table},
            )
        )
    return pd.concat(rows, ignore_index=True)
