"""Scores against the number of items: alignment falls as more items must be told apart."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from vla.alignment.paired import crossed_test
from vla.checks import check_number


def item_sweep(frame: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Mean score at each number of items.

    Args:
      frame: One row per score, with the columns `by`, `n_items` and `score`. Rows that agree in `by` and `n_items` are
        repeats, such as other samples of items or other model pairs.
      by: Columns that identify a curve, such as experiment, condition, metric and direction.

    Returns:
      One row per curve and number of items, ascending: `by`, n_items, samples, mean, sd (NaN for a single sample).

    Raises:
      ValueError: Missing columns.
    """
    _check_columns(frame, by)
    scores = frame.dropna(subset="score").astype({"score": np.float64})
    return scores.groupby([*by, "n_items"])["score"].agg(samples="size", mean="mean", sd="std").reset_index()


def change_per_doubling(
    frame: pd.DataFrame, by: Sequence[str], pairs: tuple[str, str] = ("vision_model", "language_model"),
    confidence: float = 0.95,
) -> pd.DataFrame:  # fmt: skip
    """Change of the score when the number of items doubles: the slope on log2(n_items).

    The slope of each model pair is fitted by least squares. The mean slope is tested over vision and language models
    as crossed factors, because the scores of a pair share models and items, and pairs share models.

    Args:
      frame: As for `item_sweep`, with the columns `pairs`.
      by: As for `item_sweep`, without the models.
      pairs: Columns of the vision model and of the language model.
      confidence: Level of the interval.

    Returns:
      One row per curve: `by`, n_pairs, from_items, to_items, slope (mean over pairs), ci_low, ci_high, t, p, note. NaN
      with too few numbers of items or too few models; `note` gives the reason.

    Raises:
      ValueError: Missing columns, or a confidence outside (0, 1).
    """
    check_number("confidence", confidence, above=0, below=1)
    _check_columns(frame, [*by, *pairs])
    rows = []
    for names, curve in frame.dropna(subset="score").groupby(list(by)):
        slopes = pd.Series({models: _slope(scores) for models, scores in curve.groupby(list(pairs))}).dropna()
        rows.append([*names, len(slopes), curve["n_items"].min(), curve["n_items"].max(), *_test(slopes, confidence)])
    columns = [*by, "n_pairs", "from_items", "to_items", "slope", "ci_low", "ci_high", "t", "p", "note"]
    return pd.DataFrame(rows, columns=columns)


def _slope(scores: pd.DataFrame) -> float:
    if scores["n_items"].nunique() < 2:
        return np.nan
    return float(stats.linregress(np.log2(scores["n_items"].to_numpy(np.float64)), scores["score"]).slope)


def _test(slopes: pd.Series, confidence: float) -> list[float | str]:
    if not len(slopes):
        return [*[np.nan] * 5, "a single number of items: no slope"]
    vision, language = (slopes.index.get_level_values(level) for level in (0, 1))
    test = crossed_test(slopes, vision, language, confidence)
    return [test.mean_difference, test.ci_low, test.ci_high, test.t, test.p, test.note]


def _check_columns(frame: pd.DataFrame, columns: Sequence[str]) -> None:
    missing = sorted({*columns, "n_items", "score"} - set(frame.columns))
    if missing:
        raise ValueError(f"The scores have no column {', '.join(missing)}; they have {', '.join(frame.columns)}.")
