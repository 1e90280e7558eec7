"""The paired t-test over model pairs: two conditions scored by the same pairs of models.

Source: Student (1908); the effect size is d_z of Lakens (2013). Equivalent to `scipy.stats.ttest_rel`.
"""

import dataclasses
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import stats

from vla.checks import check_choice, check_number


@dataclasses.dataclass(frozen=True)
class Paired:
    """What the test says of `higher` less `lower`; NaN where nothing can be said, for the reason in `note`.

    Attributes:
      n_pairs: Pairs that have both scores.
      mean_higher: Mean of the condition that is expected to be higher.
      mean_lower: Mean of the other.
      mean_difference: Of the first less the second.
      ci_low: Lower end of the confidence interval of the mean difference.
      ci_high: Its upper end.
      t: Positive where `higher` is higher.
      df: Degrees of freedom, pairs less one.
      p: Two-sided.
      effect_size: d_z, the mean difference over the standard deviation of differences.
      note: "" or what a reader must know.
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


def paired_test(higher: Any, lower: Any, confidence: Any = 0.95) -> Paired:
    """Test whether two conditions have the same mean score over model pairs.

    Pairs without one of the two scores are left out and counted in the note. Fewer than two pairs, or differences
    that are all alike, give means but no test.

    Args:
      higher: Scores of one condition, one per model pair.
      lower: Scores of the other condition, of the same pairs in the same order.
      confidence: Of the interval, above 0 and below 1.

    Raises:
      ValueError: Different numbers of pairs, or a confidence without meaning.
    """
    a, b = (np.asarray(side, np.float64).ravel() for side in (higher, lower))
    if a.shape != b.shape:
        raise ValueError(f"{len(a)} scores against {len(b)}: a paired test needs both of every model pair.")
    check_confidence(confidence)
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
    of_a, of_b, between = (float(np.mean(side)) if n else np.nan for side in (a, b, differences))
    df, p, effect = max(n - 1, 0), float(p), float(effect)
    return Paired(n, of_a, of_b, between, float(low), float(high), float(t), df, p, effect, "; ".join(notes))


def check_confidence(confidence: Any) -> None:
    """Refuse a confidence that is no share.

    Raises:
      ValueError: It is not above 0 and below 1.
    """
    check_number("confidence", confidence, above=0, below=1)


@dataclasses.dataclass(frozen=True)
class Crossed:
    """The reading that holds for other models of both kinds; NaN where nothing can be said, for the reason in `note`.

    Attributes:
      mean_difference: Over all pairs.
      standard_error: Of the mean difference.
      ci_low: Lower end of its confidence interval.
      ci_high: Its upper end.
      t: The mean over its standard error.
      df: Satterthwaite's degrees of freedom.
      p: Two-sided.
      share_vision: Of the variance of one difference, the share that goes with the vision model, in [0, 1].
      share_language: That which goes with the language model.
      share_rest: What is left.
      note: "" or what a reader must know.
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


def crossed_test(differences: Any, vision: Any, language: Any, confidence: Any = 0.95) -> Crossed:
    """Test the mean difference with vision and language models as two crossed random factors.

    Args:
      differences: Score of one condition less that of the other, one per model pair.
      vision: The vision model of each pair.
      language: The language model of each pair.
      confidence: Of the interval.

    Raises:
      ValueError: Different lengths, a pair given twice, or a confidence without meaning.
    """
    check_confidence(confidence)
    d = np.asarray(differences, np.float64).ravel()
    table, reason = _as_table(d, vision, language)
    if reason:
        return _nothing(float(np.nanmean(d)) if np.isfinite(d).any() else np.nan, reason)
    return _test(table, confidence)


def crossed_intervals(
    values: Any,
    vision: Collection[Any],
    language: Collection[Any],
    statistics: Callable[[Float[np.ndarray, "B K"]], Sequence[Float[np.ndarray, " B"]]],
    confidence: Any = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[list[tuple[float, float]], str]:
    """Intervals of statistics of the mean over model pairs, such as where a mean curve flattens.

    Each draw adds to the mean over pairs a random combination of the deviations of vision models and one of those of
    language models. Their size is such that a statistic that is linear in the mean gets the interval of
    `crossed_test`; of other statistics the interval has the quantiles of the draws as its ends.

    Args:
      values: [pair, value], one row per model pair.
      vision: The vision model of each pair.
      language: The language model of each pair.
      statistics: Gives the statistics of each row of an array [draw, value]. They may not be NaN.
      confidence: Of the intervals.
      resamples: Number of draws.
      seed: Of the draws.

    Returns:
      The ends of each statistic's interval, and "". Where there can be no interval, the ends are NaN and the second
      value says why: fewer than two vision or language models, or a pair without values.

    Raises:
      ValueError: Different lengths, a pair given twice, or a confidence without meaning.
    """
    check_confidence(confidence)
    values = np.asarray(values, np.float64)
    table, reason = _as_table(values, vision, language)
    if reason:
        count = len(statistics(values[:1])) if len(values) else 0
        return [(np.nan, np.nan)] * count, reason
    I, J, mean = *table.shape[:2], table.mean(axis=(0, 1))  # noqa: E741
    of_vision, of_language = (table.mean(axis=axis) - mean for axis in (1, 0))
    of_rest = table - mean - of_vision[:, None] - of_language[None]
    rng = np.random.default_rng(seed)
    # Normal draws whose variances are the mean squares of `mean_squares`, divided by I J.
    draws = np.stack(
        [
            rng.standard_normal((resamples, I)) @ of_vision / np.sqrt(I * (I - 1)),
            rng.standard_normal((resamples, J)) @ of_language / np.sqrt(J * (J - 1)),
            rng.standard_normal((resamples, I * J)) @ of_rest.reshape(I * J, -1) / np.sqrt(I * J * (I - 1) * (J - 1)),
        ]
    )
    squares = np.array([np.var(statistics(mean + part), axis=1) for part in draws])
    ends = []
    for number in range(squares.shape[1]):
        coefficients, variance, df = _variance_of_mean(squares[:, number], I, J)
        used = (coefficients > 0)[:, None, None]
        total = float(squares[coefficients > 0, number].sum())
        size = np.sqrt(variance / total) if total > 0 else 0.0
        # Student's t instead of the normal distribution, because the variance is an estimate.
        size = size * np.sqrt(df / np.random.default_rng([seed, 1]).chisquare(df, resamples))[:, None]
        drawn = statistics(mean + size * np.where(used, draws, 0.0).sum(axis=0))[number]
        # Observed values as ends, so that an infinite statistic does no harm.
        low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2], method="inverted_cdf")
        ends.append((float(low), float(high)))
    return ends, ""


def mean_squares(table: Float[np.ndarray, "I J"]) -> tuple[float, float, float]:
    """Of vision models, of language models and of the rest, as in a two-way analysis of variance of single values."""
    I, J = table.shape  # noqa: E741
    rows, columns = table.mean(axis=1, keepdims=True), table.mean(axis=0, keepdims=True)
    rest = table - rows - columns + table.mean()
    return (
        float(J * np.var(rows, ddof=1)),
        float(I * np.var(columns, ddof=1)),
        float(np.sum(rest**2) / ((I - 1) * (J - 1))),
    )


def _as_table(
    values: Float[np.ndarray, "pair *K"], vision: Collection[Any], language: Collection[Any]
) -> tuple[Float[np.ndarray, "I J *K"], str]:
    """Values by vision and language model, and why they allow no crossed design; "" where they do."""
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
    parts: Float[np.ndarray, " 3"],
    I: int,  # noqa: E741
    J: int,
) -> tuple[Float[np.ndarray, " 3"], float, float]:
    """Variance of the mean over all pairs, from the mean squares of vision, language and rest divided by I J.

    Returns:
      How often each part counts, the variance, and Satterthwaite's degrees of freedom. With both components positive
      the rest is subtracted once; with one it cancels; with none it stands alone.
    """
    coefficients = np.array([parts[0] > parts[2], parts[1] > parts[2], 1.0])
    coefficients[2] -= coefficients[0] + coefficients[1]
    terms = coefficients * parts
    variance = float(terms.sum())
    spread = float(np.sum(terms**2 / np.array([I - 1, J - 1, (I - 1) * (J - 1)])))
    return coefficients, variance, variance**2 / spread if spread > 0 else 1.0


def _test(table: Float[np.ndarray, "I J"], confidence: Any) -> Crossed:
    I, J = table.shape  # noqa: E741
    of_vision, of_language, of_rest = mean_squares(table)
    mean = float(table.mean())
    components = np.array([max(0.0, of_vision - of_rest) / J, max(0.0, of_language - of_rest) / I, of_rest])
    if components.sum() <= (1e-12 * np.abs(table).max()) ** 2:
        return _nothing(mean, "no crossed reading: the differences of all model pairs are alike")
    _, variance, df = _variance_of_mean(np.array([of_vision, of_language, of_rest]) / (I * J), I, J)
    error = float(np.sqrt(variance))
    t = mean / error
    reach = stats.t.ppf((1 + confidence) / 2, df) * error
    shares = components / components.sum()
    note = (
        "" if min(I, J) > 2 else "one kind of model has two members: one degree of freedom stands behind its variance"
    )
    return Crossed(
        mean, error, mean - reach, mean + reach, t, df, 2 * float(stats.t.sf(abs(t), df)), *shares.tolist(), note=note
    )


def _nothing(mean: float, note: str) -> Crossed:
    return Crossed(mean, *[np.nan] * 9, note=note)


FAMILIES = ("direction", "pooled")


def with_q_values(
    frame: pd.DataFrame, family: str = "pooled", by: Sequence[str] = ("experiment", "metric")
) -> pd.DataFrame:
    """Add the columns `family`, in words, and `q`, the smallest rate of false findings at which a row is one.

    The paper's printed values come out with families that pool both directions of all comparisons of one kind, such
    as the eight tests of image manipulations.

    Args:
      frame: One row per comparison and direction, with the columns `by`, `direction` and `p`; comparisons without a
        test have p NaN, belong to no family and have q NaN.
      family: "pooled" (both directions together) or "direction" (each by itself).
      by: What else tells families apart.

    Raises:
      ValueError: An unknown family, columns that are not there, or p outside 0..1.
    """
    check_choice("family", family, FAMILIES)
    groups = [*by, "direction"] if family == "direction" else [*by]
    missing = sorted({*groups, "direction", "p"} - set(frame.columns))
    if missing:
        raise ValueError(f"The comparisons have no column {', '.join(missing)}; they have {', '.join(frame.columns)}.")
    p = frame["p"].to_numpy(np.float64)
    if np.any((p < 0) | (p > 1)):
        raise ValueError(f"p={p[(p < 0) | (p > 1)][0]}: expected values from 0 to 1.")
    q, words = np.full(len(frame), np.nan), np.full(len(frame), "", object)
    for rows in frame.groupby(groups, sort=False).indices.values():
        tested = rows[np.isfinite(p[rows])]
        if not len(tested):
            continue
        q[tested] = stats.false_discovery_control(p[tested])
        first = frame.iloc[tested[0]]
        # A family of one direction, as of a symmetric metric, is named by it all the same.
        directions = frame["direction"].iloc[tested].unique()
        named = [*(str(first[column]) for column in by), " and ".join(map(str, directions))]
        words[tested] = f"{', '.join(named)} ({len(tested)} test{'s' * (len(tested) > 1)})"
    return frame.assign(family=words.astype(str) if len(words) else words, q=q)
