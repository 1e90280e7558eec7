"""Scores arranged by model pair, with intervals over vision and language models as crossed factors."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from vla.alignment.crossed import Crossed, crossed_test

PAIR = ["vision_model", "language_model"]


def scores_by_pair(rows: pd.DataFrame, column: str, order: Sequence) -> pd.DataFrame:
    """Score of each model pair (down) at each value of a column (across), in a given order; NaN where there is none."""
    return rows.pivot_table(index=PAIR, columns=column, values="score", sort=False).reindex(columns=list(order))


def interval(scores: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean over model pairs of each column, and the ends of its 95 % interval.

    Args:
      scores: One row per model pair, with `PAIR` as index.

    Returns:
      Mean, lower and upper end [column]. The interval takes vision and language models as crossed factors
      (`vla.alignment.crossed.crossed_test`); it is NaN with fewer than two models on a side.
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
