"""Ends of bootstrap intervals over few units, such as eight model pairs.

Percentiles of draws of n units are too narrow by sqrt((n - 1) / n), and take the normal distribution where that of t
with n - 1 degrees of freedom is due. The expanded percentile interval takes percentiles further out instead.

Source: Hesterberg (2015), What Teachers Should Know About the Bootstrap, section 5.
"""

from typing import Any

import numpy as np
from scipy import stats


def expanded_tails(n: int, confidence: Any) -> tuple[float, float]:
    """Which quantiles of the draws of `n` units, at least two, are the ends of an interval of that confidence."""
    reach = np.sqrt(n / (n - 1)) * stats.t.ppf((1 + confidence) / 2, n - 1)
    low = float(stats.norm.cdf(-reach))
    return low, 1 - low
