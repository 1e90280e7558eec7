"""Scores arranged by model pair, with intervals over pairs."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

PAIR = ["vision_model", "language_model"]


def scores_by_pair(rows: pd.DataFrame, column: str, order: Sequence) -> pd.DataFrame:
    """Score of each model pair (down) at each value of a column (across), in a given order; NaN where there is none."""
    return rows.pivot_table(index=PAIR, columns=column, values="score", sort=False).reindex(columns=list(order))


def interval(scores: np.ndarray, confidence: float = 0.95) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean over pairs, with its t interval, of scores [pair, ...]; the interval of one pair is NaN."""
    count, mean = scores.shape[0], scores.mean(axis=0)
    if count < 2:
        return mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan)
    half = stats.t.ppf(0.5 + confidence / 2, count - 1) * scores.std(axis=0, ddof=1) / np.sqrt(count)
    return mean, mean - half, mean + half
