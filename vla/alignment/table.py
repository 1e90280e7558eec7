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

DIRECTIONS = ("vision_to_language", "language_to_vision")
SYMMETRIC = "symmetric"


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
      A frame with the columns `COLUMNS`.
    """
    scores = {condition: result["score"]}
    if "null_score" in result:
        scores["shuffled"] = result["null_score"].mean("permutation")
    return pd.concat(
        [
            _rows(score, result, experiment, name, vision_model, language_model, direction)
            for name, score in scores.items()
        ],
        ignore_index=True,
    )


def _rows(
    score: xr.DataArray,
    result: xr.Dataset,
    experiment: str,
    condition: str,
    vision_model: str,
    language_model: str,
    direction: str,
) -> pd.DataFrame:
    vision, language = ("y_layer", "x_layer") if direction == "language_to_vision" else ("x_layer", "y_layer")
    score = score.transpose(vision, language)
    vision_layers, language_layers = score[vision].values.astype(str), score[language].values.astype(str)
    frame = pd.DataFrame(
        {
            "vision_layer": np.repeat(vision_layers, len(language_layers)),
            "language_layer": np.tile(language_layers, len(vision_layers)),
            "score": score.values.ravel(),
        }
    )
    return frame.assign(
        experiment=experiment,
        condition=condition,
        vision_model=vision_model,
        language_model=language_model,
        metric=result.attrs["metric"],
        direction=direction,
        n_items=result.attrs["n_items"],
    )[list(COLUMNS)]
