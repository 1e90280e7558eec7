"""Scores as a tidy table: one row per layer pair."""

import numpy as np
import pandas as pd
import xarray as xr

COLUMNS = (
    "experiment",
    "condition",
    "vision_model",
    "language_model",
    "metric",
    "direction",
    "vision_layer",
    "language_layer",
    "n_items",
    "score",
)

# Beyond these columns, what a result may have of every pair of layers, and of the table as a whole.
OF_PAIRS = ("chance", "null_mean", "p_value", "p_max", "q_value", "calibrated", "ci_low", "ci_high", "standard_error",
            "edge_share")  # fmt: skip
OF_TABLE = ("reliability", "ceiling")

DIRECTIONS = ("vision_to_language", "language_to_vision")
SYMMETRIC = "symmetric"
SHUFFLED = "shuffled"


def tidy(
    result: xr.Dataset, *, experiment: str, condition: str, vision_model: str, language_model: str, direction: str
) -> pd.DataFrame:
    """Rows of one result of `vla.score`, in the order of its layers.

    Args:
      result: Scores with the predictor on x: vision layers on x for "vision_to_language" and "symmetric", on y
        for "language_to_vision".
      experiment: Name of the experiment.
      condition: Name of the condition; the mean over a null's permutations adds rows named "shuffled".
      vision_model: Name of the vision model.
      language_model: Name of the language model.
      direction: One of `DIRECTIONS`, or "symmetric".

    Returns:
      A frame with the columns `COLUMNS`, then those of `OF_PAIRS` and `OF_TABLE` that the result has, which are NaN in
      rows of the null.

    Raises:
      ValueError: An unknown direction.
    """
    if direction not in (*DIRECTIONS, SYMMETRIC):
        raise ValueError(f"direction={direction!r}; expected one of {sorted((*DIRECTIONS, SYMMETRIC))}.")
    vision, language = ("y_layer", "x_layer") if direction == "language_to_vision" else ("x_layer", "y_layer")
    more = [name for name in (*OF_PAIRS, *OF_TABLE) if name in result]
    scores = {condition: result["score"]}
    if "null_score" in result:
        # Which leaves out permutations without a score, and pairs with too few others.
        scores[SHUFFLED] = result["null_mean"] if "null_mean" in result else result["null_score"].mean("permutation")
    frames = []
    for name, score in scores.items():
        grid = score.transpose(vision, language)
        known = name == condition
        beside = {key: (result[key].broadcast_like(score).transpose(vision, language).values.ravel() if known
                        else np.full(grid.size, np.nan)) for key in more}  # fmt: skip
        vision_layers, language_layers = grid[vision].values.astype(str), grid[language].values.astype(str)
        frames.append(
            pd.DataFrame(
                {
                    "experiment": experiment,
                    "condition": name,
                    "vision_model": vision_model,
                    "language_model": language_model,
                    "metric": result.attrs["metric"],
                    "direction": direction,
                    "vision_layer": np.repeat(vision_layers, len(language_layers)),
                    "language_layer": np.tile(language_layers, len(vision_layers)),
                    "n_items": result.attrs["n_items"],
                    "score": grid.values.ravel(),
                    **beside,
                },
                columns=[*COLUMNS, *more],
            )
        )
    return pd.concat(frames, ignore_index=True)
