"""The paired t-test over model pairs: two conditions scored by the same pairs of models.

Source: Student (1908); the effect size is d_z of Lakens (2013). Equivalent to `scipy.stats.ttest_rel`.
"""

import dataclasses
from typing import Any

import numpy as np
from scipy import stats


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
    if isinstance(confidence, bool) or not isinstance(confidence, int | float) or not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence!r}: expected a share above 0 and below 1, such as 0.95.")
