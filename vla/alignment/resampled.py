"""Intervals over items: of a score, and of the difference between two conditions on the same items.

X and Y layers, B draws.

The draws (`vla.alignment.measure`) come in pairs, mirrored at the score. Their mean square about it estimates the
variance of the score over new items and new fits, with as many degrees of freedom as there are pairs, so the interval
is Student's.

Coverage of 95 % intervals in simulations (100 to 300 data sets; standard error 1 to 2 points), with penalties chosen
anew from the paper's. Of a score against its mean over data sets / of the difference of two equal models:

                          60 items                 200 items
    r                     95 to 98 / 94 to 99 %    96 to 98 / 95 to 98 %
    retrieval             96 to 99 / 96 to 100 % for both
    matching accuracy     96 to 98 / 96 to 98 % for both
    R^2                   100 / 98 to 100 %        96 to 100 / 97 to 100 %
    explained variance    98 to 100 / 97 to 100 %  94 to 97 / 97 to 100 %

Of 500 items, r has 96 / 95 to 98 %. Of 60 items in groups of four, r has 93 / 95 %, R^2 100 / 100 % and explained
variance 98 / 100 % (60 data sets). Intervals of the last two are up to three times too wide where little is predicted.
Where nothing is, explained variance is 0 in most data sets and a little below in the others: 11 % of the intervals of
a score then miss the mean of 60 items, by less than .003, and 8 % that of 200; those of differences hold all.

Of metrics that compare items with each other, from 20 splits (110 to 1,000 data sets, without groups and in groups of
four):

                          60 items                 200 items
    CKA                   91 / 93 to 96 %          94 to 96 / 94 to 96 %
    debiased CKA          91 / 94 % (groups)       95 to 97 / 97 %
    RSA                   96 / 95 % (groups)       95 / 93 % (groups)
    mutual k-NN           95 to 99 / 96 to 98 %    -

So intervals of CKA for some 60 items are a little too narrow. Not measured: R^2 and explained variance of 500 items;
Procrustes, of which 20 data sets of 60 items gave 90 / 100 %; the other metrics.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import xarray as xr
from scipy import stats

from vla.checks import check_number

# Attributes in which results must agree for their draws to be of the same items.
_SAME = ("metric", "seed", "n_items", "bootstrap", "settings", "items_hash")

# The relative difference up to which scores are the same.
_ROUNDING = 1e-12


def interval(
    resampled: xr.DataArray, confidence: float = 0.95, lowest: float = -np.inf, highest: float = np.inf
) -> xr.Dataset:
    """Student's interval of the score of every layer pair.

    Args:
      resampled: Draws (resample, x_layer, y_layer), two for each split of the items.
      confidence: Level of the interval.
      lowest: Lower end of the range of the score.
      highest: Upper end of the range.

    Returns:
      `ci_low`, `ci_high` and `standard_error` (x_layer, y_layer); NaN if a draw has no score.
    """
    mean = resampled.mean("resample", skipna=False)
    error = resampled.std("resample", ddof=0, skipna=False)
    reach = error * _quantile(resampled.sizes["resample"], confidence)
    ends = {"ci_low": mean - reach, "ci_high": mean + reach}
    return xr.Dataset({**{name: end.clip(lowest, highest) for name, end in ends.items()}, "standard_error": error})


def _quantile(draws: int, confidence: float) -> float:
    """Student's quantile; every two draws are a split of the items, which gives a degree of freedom."""
    return float(stats.t.ppf((1 + confidence) / 2, draws // 2))


def reliability(half_score: xr.DataArray) -> xr.Dataset:
    """Split-half reliability of the layer map.

    r is the correlation over layer pairs between the scores of two halves of the items, the mean over splits. The
    Spearman-Brown formula 2 r / (1 + r) extrapolates it to all items.

    Args:
      half_score: (split, half, x_layer, y_layer).

    Returns:
      `reliability`, and its root `ceiling`, the highest expected correlation of another layer map with this one. NaN
      with fewer than three layer pairs that have scores, or if scores do not differ; 0 if r is negative.
    """
    halves = half_score.values.reshape(half_score.sizes["split"], 2, -1)
    correlations = []
    for first, second in halves:
        known = np.isfinite(first) & np.isfinite(second)
        varied = known.sum() > 2 and all(
            np.ptp(half[known]) > _ROUNDING * np.abs(half[known]).max() for half in (first, second)
        )
        correlations.append(np.corrcoef(first[known], second[known])[0, 1] if varied else np.nan)
    r = max(float(np.mean(correlations)), 0.0) if np.isfinite(correlations).all() else np.nan
    extrapolated = 2 * r / (1 + r)
    return xr.Dataset({"reliability": extrapolated, "ceiling": np.sqrt(extrapolated)})


@dataclasses.dataclass(frozen=True)
class Difference:
    """Difference of the scores of two conditions on the same items.

    Attributes:
      difference: Mean over model pairs.
      ci_low, ci_high: Its interval.
      standard_error: Standard deviation of the draws.
      share_above_zero: Share of the draws above 0.
    """

    difference: float
    ci_low: float
    ci_high: float
    standard_error: float
    share_above_zero: float


def difference_interval(
    higher: xr.Dataset | Sequence[xr.Dataset], lower: xr.Dataset | Sequence[xr.Dataset], confidence: float = 0.95
) -> Difference:
    """Interval of the difference between two conditions over new items and fits, for these models.

    Both conditions and all model pairs use the same splits of the items, so variation that they share cancels.

    Args:
      higher: Result of `vla.score` with `bootstrap=` of a single layer pair, or a list with one per model pair.
      lower: The same for the other condition, with the same items, seed and settings.
      confidence: Level of the interval.

    Raises:
      ValueError: Different numbers of results, several layer pairs, no draws, or other items.
    """
    check_number("confidence", confidence, above=0, below=1)
    sides = [[side] if isinstance(side, xr.Dataset) else list(side) for side in (higher, lower)]
    if len(sides[0]) != len(sides[1]) or not sides[0]:
        raise ValueError(f"{len(sides[0])} results against {len(sides[1])}: expected one of each per model pair.")
    first = sides[0][0]
    for result in sides[0] + sides[1]:
        if "resampled_score" not in result:
            raise ValueError("A result has no draws: score with bootstrap=, such as 200.")
        if result["score"].size != 1:
            raise ValueError(
                f"A result has {result['score'].size} pairs of layers: choose one first, for example with "
                "`result.isel(x_layer=[-2], y_layer=[-2])`."
            )
        differ = [name for name in _SAME if result.attrs.get(name) != first.attrs.get(name)]
        if differ:
            raise ValueError(
                f"The draws are of the same items only with the same {', '.join(differ)}: score both conditions alike."
            )
    scores, draws = ([np.stack([result[name].values.ravel() for result in side]).mean(axis=0) for side in sides]
                     for name in ("score", "resampled_score"))  # fmt: skip
    differences = draws[0] - draws[1]
    difference, error = float(scores[0][0] - scores[1][0]), float(differences.std())
    reach = error * _quantile(len(differences), confidence)
    return Difference(difference, difference - reach, difference + reach, error, float((differences > 0).mean()))
