"""Model pairs as the crossed design they are: a difference tested against vision models, language models and rest.

I vision models, J language models.

Eight pairs of two vision and four language models are not eight independent units: pairs that share a model share its
peculiarities. With d_ij = mean + vision_i + language_j + rest_ij, all three random, the mean difference has the
variance s_v^2 / I + s_l^2 / J + s_e^2 / (I J). Its estimate is a sum of mean squares of the two-way analysis of
variance, and the t of the mean over its root has Satterthwaite's degrees of freedom. A component that is estimated as
negative counts as zero. With two vision models one degree of freedom stands behind their variance: the test then
claims little, which is what two models can show about others.

Sources: Clark (1973) for the quasi-F of two random factors, of which this is the t; Satterthwaite (1946). In balanced
designs with positive components the estimates are those of restricted maximum likelihood in a mixed-effects model.
"""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import stats

from vla.alignment.paired import check_confidence


@dataclasses.dataclass(frozen=True)
class Crossed:
    """The reading that holds for other models of both kinds; NaN where nothing can be said, for the reason in `note`.

    Attributes:
      mean_difference: Over all pairs.
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
    if not len(d) == len(vision) == len(language):
        raise ValueError(f"{len(d)} differences, {len(vision)} vision and {len(language)} language models: expected "
                         "one of each per model pair.")  # fmt: skip
    (row, visions), (column, languages) = (
        pd.factorize(np.array(list(side), object), use_na_sentinel=False) for side in (vision, language)
    )
    table, given = np.full((len(visions), len(languages)), np.nan), np.zeros((len(visions), len(languages)), int)
    table[row, column] = d
    np.add.at(given, (row, column), 1)
    if (given > 1).any():
        i, j = np.argwhere(given > 1)[0]
        raise ValueError(f"The pair {visions[i]} and {languages[j]} is given twice: give each pair once.")
    mean = float(np.nanmean(d)) if np.isfinite(d).any() else np.nan
    if min(table.shape) < 2:
        return _nothing(mean, f"no crossed reading: {table.shape[0]} vision and {table.shape[1]} language models, at "
                        "least 2 of each are needed")  # fmt: skip
    if not np.isfinite(table).all():
        missing = int((~np.isfinite(table)).sum())
        return _nothing(mean, f"no crossed reading: {missing} of the {table.size} model pairs have no score")
    return _test(table, confidence)


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


def _test(table: Float[np.ndarray, "I J"], confidence: Any) -> Crossed:
    I, J = table.shape  # noqa: E741
    of_vision, of_language, of_rest = mean_squares(table)
    mean = float(table.mean())
    # Components in units of one difference; the parts of the variance of the mean are the same mean squares.
    components = np.array([max(0.0, of_vision - of_rest) / J, max(0.0, of_language - of_rest) / I, of_rest])
    coefficients = np.array([of_vision > of_rest, of_language > of_rest, 1.0])
    coefficients[2] -= coefficients[0] + coefficients[1]
    parts = coefficients * np.array([of_vision, of_language, of_rest]) / (I * J)
    # With both components positive the rest is subtracted once; with one it cancels; with none it stands alone.
    variance = float(parts.sum())
    if components.sum() <= (1e-12 * np.abs(table).max()) ** 2:
        return _nothing(mean, "no crossed reading: the differences of all model pairs are alike")
    df = variance**2 / float(np.sum(parts**2 / np.array([I - 1, J - 1, (I - 1) * (J - 1)])))
    error = np.sqrt(variance)
    t = mean / error
    reach = stats.t.ppf((1 + confidence) / 2, df) * error
    shares = components / components.sum()
    note = (
        "" if min(I, J) > 2 else "one kind of model has two members: one degree of freedom stands behind its variance"
    )
    return Crossed(
        mean, mean - reach, mean + reach, t, df, 2 * float(stats.t.sf(abs(t), df)), *shares.tolist(), note=note
    )


def _nothing(mean: float, note: str) -> Crossed:
    return Crossed(mean, *[np.nan] * 8, note=note)
