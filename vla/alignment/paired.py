"""Tests over model pairs: the paired t-test of two conditions, crossed random effects of models, and q-values.

I vision models, J language models, B draws, K values.
"""

import dataclasses
from collections.abc import Callable, Collection, Hashable, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy import stats

from vla.checks import check_choice, check_number


@dataclasses.dataclass(frozen=True)
class Paired:
    """Result of the paired t-test of `higher` less `lower`; NaN without a test, for the reason in `note`.

    Attributes:
      n_pairs: Model pairs with both scores.
      mean_higher, mean_lower: Mean scores of the two conditions.
      mean_difference: Mean of higher less lower.
      ci_low, ci_high: Confidence interval of the mean difference.
      t: Positive if `higher` is higher.
      df: Degrees of freedom, n_pairs - 1.
      p: Two-sided.
      effect_size: d_z, the mean difference over the standard deviation of the differences.
      note: "", or what a reader must know.
    """

    n_pairs: int
    mean_higher: float
    mean_lower: float
    mean_difference: float
    ci_low: float
    ci_high: float
    t: float
    df: int
    p: float
    effect_size: float
    note: str = ""


def paired_test(higher: ArrayLike, lower: ArrayLike, confidence: float = 0.95) -> Paired:
    """Paired t-test of two conditions over model pairs, equivalent to `scipy.stats.ttest_rel`.

    Pairs without both scores are left out, and the note counts them. With fewer than two pairs, or with equal
    differences, there are means but no test. Sources: Student (1908); Lakens (2013) for the effect size.

    Args:
      higher: Scores of a condition, one per model pair.
      lower: Scores of the other condition, of the same pairs in the same order.
      confidence: Level of the interval, above 0 and below 1.

    Raises:
      ValueError: Different numbers of pairs, or a bad confidence.
    """
    a, b = (np.asarray(side, np.float64).ravel() for side in (higher, lower))
    if a.shape != b.shape:
        raise ValueError(f"{len(a)} scores against {len(b)}: a paired test needs both of every model pair.")
    check_number("confidence", confidence, above=0, below=1)
    known = np.isfinite(a) & np.isfinite(b)
    a, b = a[known], b[known]
    n, differences = len(a), a - b
    notes = [f"{int((~known).sum())} of {len(known)} model pairs left out: no score"] if not known.all() else []
    low = high = t = p = effect = np.nan
    spread = float(np.std(differences, ddof=1)) if n > 1 else 0.0
    size = max(float(np.abs([a, b]).max()), np.finfo(float).tiny) if n else 1.0
    if n < 2:
        notes.append(f"too few model pairs for a test: {n}, at least 2 are needed")
    elif spread <= 1e-12 * size:
        notes.append("no test: the differences of all model pairs are alike")
    else:
        test = stats.ttest_rel(a, b)
        low, high = test.confidence_interval(confidence)
        t, p, effect = test.statistic, test.pvalue, np.mean(differences) / spread
    mean_a, mean_b, mean = (float(np.mean(values)) if n else np.nan for values in (a, b, differences))
    df, note = max(n - 1, 0), "; ".join(notes)
    low, high, t, p, effect = float(low), float(high), float(t), float(p), float(effect)
    return Paired(n, mean_a, mean_b, mean, low, high, t, df, p, effect, note)


@dataclasses.dataclass(frozen=True)
class Crossed:
    """Result of the crossed test, which generalises to other models; NaN without a test, for the reason in `note`.

    Attributes:
      mean_difference: Mean over all model pairs.
      standard_error: Standard error of that mean.
      ci_low, ci_high: Confidence interval of that mean.
      t: The mean over its standard error.
      df: Satterthwaite's degrees of freedom.
      p: Two-sided.
      share_vision, share_language, share_rest: Shares of the variance of a single difference that are due to the
        vision model, to the language model and to the rest; they sum to 1.
      note: "", or what a reader must know.
    """

    mean_difference: float
    standard_error: float
    ci_low: float
    ci_high: float
    t: float
    df: float
    p: float
    share_vision: float
    share_language: float
    share_rest: float
    note: str = ""


def crossed_test(
    differences: ArrayLike, vision: Collection[Hashable], language: Collection[Hashable], confidence: float = 0.95
) -> Crossed:
    """Test the mean difference with vision and language models as two crossed random factors.

    Args:
      differences: Score of a condition less that of another, one per model pair.
      vision: The vision model of each pair.
      language: The language model of each pair.
      confidence: Level of the interval.

    Raises:
      ValueError: Different lengths, a repeated pair, or a bad confidence.
    """
    check_number("confidence", confidence, above=0, below=1)
    values = np.asarray(differences, np.float64).ravel()
    table, reason = _as_table(values, vision, language)
    if reason:
        return _no_test(float(np.nanmean(values)) if np.isfinite(values).any() else np.nan, reason)
    I, J = table.shape  # noqa: E741
    squares = mean_squares(table)
    mean = float(table.mean())
    components = np.array([max(0.0, squares[0] - squares[2]) / J, max(0.0, squares[1] - squares[2]) / I, squares[2]])
    if components.sum() <= (1e-12 * np.abs(table).max()) ** 2:
        return _no_test(mean, "no crossed test: the differences of all model pairs are alike")
    _, variance, df = _variance_of_mean(np.array(squares) / (I * J), I, J)
    error = float(np.sqrt(variance))
    t, reach = mean / error, stats.t.ppf((1 + confidence) / 2, df) * error
    p, shares = 2 * float(stats.t.sf(abs(t), df)), (components / components.sum()).tolist()
    note = "" if min(I, J) > 2 else "only two models on one side: its variance has one degree of freedom"
    return Crossed(mean, error, mean - reach, mean + reach, t, df, p, *shares, note=note)


def crossed_intervals(
    values: ArrayLike,
    vision: Collection[Hashable],
    language: Collection[Hashable],
    statistics: Callable[[Float[np.ndarray, "B K"]], Sequence[Float[np.ndarray, " B"]]],
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[list[tuple[float, float]], str]:
    """Intervals of statistics of the mean over model pairs, such as the position at which a mean curve flattens.

    Each draw adds to the mean over pairs a random combination of the deviations of vision models and another of those
    of language models. They are scaled so that a statistic that is linear in the mean has the interval of
    `crossed_test`; the intervals of other statistics are quantiles of the draws.

    Args:
      values: [pair, value], one row per model pair.
      vision: The vision model of each pair.
      language: The language model of each pair.
      statistics: Returns the statistics of each row of an array [draw, value]; they may not be NaN.
      confidence: Level of the intervals.
      resamples: Number of draws.
      seed: Seed of the draws.

    Returns:
      The interval of each statistic, and "". If there is none, NaN, and the reason: fewer than two vision or language
      models, or a pair without values.

    Raises:
      ValueError: Different lengths, a repeated pair, or a bad confidence.
    """
    check_number("confidence", confidence, above=0, below=1)
    values = np.asarray(values, np.float64)
    table, reason = _as_table(values, vision, language)
    if reason:
        count = len(statistics(values[:1])) if len(values) else 0
        return [(np.nan, np.nan)] * count, reason
    I, J, mean = *table.shape[:2], table.mean(axis=(0, 1))  # noqa: E741
    by_vision, by_language = (table.mean(axis=axis) - mean for axis in (1, 0))
    rest = (table - mean - by_vision[:, None] - by_language[None]).reshape(I * J, -1)
    rng = np.random.default_rng(seed)
    # Normal draws whose variances are the mean squares of `mean_squares`, divided by I J.
    draws = np.stack(
        [
            rng.standard_normal((resamples, len(deviations))) @ deviations / np.sqrt(len(deviations) * df)
            for deviations, df in ((by_vision, I - 1), (by_language, J - 1), (rest, (I - 1) * (J - 1)))
        ]
    )
    squares = np.array([np.var(statistics(mean + part), axis=1) for part in draws])
    intervals = []
    for number in range(squares.shape[1]):
        coefficients, variance, df = _variance_of_mean(squares[:, number], I, J)
        used = (coefficients > 0)[:, None, None]
        total = float(squares[coefficients > 0, number].sum())
        scale = np.sqrt(variance / total) if total > 0 else 0.0
        # Student's t instead of the normal distribution, because the variance is an estimate.
        scale = scale * np.sqrt(df / np.random.default_rng([seed, 1]).chisquare(df, resamples))[:, None]
        drawn = statistics(mean + scale * np.where(used, draws, 0.0).sum(axis=0))[number]
        # Without interpolation, because a statistic may be infinite.
        low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2], method="inverted_cdf")
        intervals.append((float(low), float(high)))
    return intervals, ""


def mean_squares(table: Float[np.ndarray, "I J"]) -> tuple[float, float, float]:
    """Mean squares of vision models, language models and the rest: two-way analysis of variance of single values."""
    I, J = table.shape  # noqa: E741
    rows, columns = table.mean(axis=1, keepdims=True), table.mean(axis=0, keepdims=True)
    rest = np.sum((table - rows - columns + table.mean()) ** 2) / ((I - 1) * (J - 1))
    return float(J * np.var(rows, ddof=1)), float(I * np.var(columns, ddof=1)), float(rest)


def _as_table(
    values: Float[np.ndarray, "pair *K"], vision: Collection[Hashable], language: Collection[Hashable]
) -> tuple[Float[np.ndarray, "I J *K"], str]:
    """Values by vision and language model, and the reason why there is no crossed design, or ""."""
    if not len(values) == len(vision) == len(language):
        raise ValueError(f"{len(values)} differences, {len(vision)} vision and {len(language)} language models: "
                         "expected one of each per model pair.")  # fmt: skip
    (row, visions), (column, languages) = (
        pd.factorize(np.array(list(side), object), use_na_sentinel=False) for side in (vision, language)
    )
    shape = (len(visions), len(languages))
    table, count = np.full((*shape, *values.shape[1:]), np.nan), np.zeros(shape, int)
    table[row, column] = values
    np.add.at(count, (row, column), 1)
    if (count > 1).any():
        i, j = np.argwhere(count > 1)[0]
        raise ValueError(f"The pair {visions[i]} and {languages[j]} is given twice: give each pair once.")
    if min(shape) < 2:
        return table, (
            f"too few models for an interval over models: {shape[0]} vision and {shape[1]} language, at least 2 of "
            "each are needed"
        )
    missing = int((~np.isfinite(table.reshape(*shape, -1)).all(axis=2)).sum())
    if missing:
        return table, (
            f"no interval over models: {missing} of the {shape[0] * shape[1]} model pairs have no score; score all "
            "pairs, or leave out a model"
        )
    return table, ""


def _variance_of_mean(
    squares: Float[np.ndarray, " 3"],
    I: int,  # noqa: E741
    J: int,
) -> tuple[Float[np.ndarray, " 3"], float, float]:
    """Variance of the mean over all pairs, from the mean squares of vision, language and the rest divided by I J.

    Returns:
      The coefficient of each mean square, the variance, and Satterthwaite's degrees of freedom. The rest has the
      coefficient -1 if both variance components are positive, 0 if one is, and 1 if none is.
    """
    coefficients = np.array([squares[0] > squares[2], squares[1] > squares[2], 1.0])
    coefficients[2] -= coefficients[0] + coefficients[1]
    terms = coefficients * squares
    variance = float(terms.sum())
    spread = float(np.sum(terms**2 / np.array([I - 1, J - 1, (I - 1) * (J - 1)])))
    return coefficients, variance, variance**2 / spread if spread > 0 else 1.0


def _no_test(mean: float, note: str) -> Crossed:
    return Crossed(mean, *[np.nan] * 9, note=note)


FAMILIES = ("direction", "pooled")


def with_q_values(
    frame: pd.DataFrame, family: str = "pooled", by: Sequence[str] = ("experiment", "metric")
) -> pd.DataFrame:
    """Add `q`, the Benjamini-Hochberg adjusted p-value, and `family`, the name of the family of its tests.

    The printed q-values of the paper follow from families that pool both directions of related comparisons, such as
    the eight tests of image manipulations.

    Args:
      frame: One row per comparison and direction, with the columns `by`, `direction` and `p`. A comparison without a
        test has p NaN; it is in no family and gets q NaN.
      family: "pooled" (both directions together) or "direction" (each direction separately).
      by: Columns that separate families.

    Raises:
      ValueError: An unknown family, missing columns, or p outside 0..1.
    """
    check_choice("family", family, FAMILIES)
    groups = [*by, "direction"] if family == "direction" else [*by]
    missing = sorted({*groups, "direction", "p"} - set(frame.columns))
    if missing:
        raise ValueError(f"The comparisons have no column {', '.join(missing)}; they have {', '.join(frame.columns)}.")
    p = frame["p"].to_numpy(np.float64)
    if np.any((p < 0) | (p > 1)):
        raise ValueError(f"p={p[(p < 0) | (p > 1)][0]}: expected values from 0 to 1.")
    q, families = np.full(len(frame), np.nan), np.full(len(frame), "", object)
    for rows in frame.groupby(groups, sort=False).indices.values():
        tested = rows[np.isfinite(p[rows])]
        if not len(tested):
            continue
        q[tested] = stats.false_discovery_control(p[tested])
        first = frame.iloc[tested[0]]
        # A family of a single direction, as of a symmetric metric, is named by it too.
        directions = " and ".join(map(str, frame["direction"].iloc[tested].unique()))
        label = ", ".join([*(str(first[column]) for column in by), directions])
        families[tested] = f"{label} ({len(tested)} test{'s' * (len(tested) > 1)})"
    return frame.assign(family=families.astype(str) if len(families) else families, q=q)
