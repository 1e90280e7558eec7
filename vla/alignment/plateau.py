"""Where an averaging curve flattens: a saturating exponential, with an interval over model pairs.

C curves (one per model pair), K exemplar counts, B draws, R rates.

score(k) = level - gain exp(-(k - k_1) / rate). For a given rate the curve is linear in level and gain, so that the fit
is a search over rates with a least-squares fit of two numbers at each.
"""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Float

from vla.alignment.expanded import expanded_tails
from vla.alignment.paired import check_confidence, paired_test

# Rates from far below the distance of two counts to far beyond the last, 1.5 % apart.
_RATES = 400


@dataclasses.dataclass(frozen=True)
class Plateau:
    """Where and at which height a curve flattens; NaN where it does not, for the reason in `note`.

    Attributes:
      k: Number of exemplars at which all but `fraction` of the gain over the first count is had, by the fitted curve.
      k_low: Lower end of its interval over model pairs.
      k_high: Upper end; infinite where some draws of pairs do not flatten within the counts measured.
      first_flat: First measured count whose step to the next gains less than `fraction` of the whole measured gain, per
        exemplar, or loses less where the curve falls; without a model of the curve, and without an interval. NaN if
        there is none.
      level: Height of the plateau.
      level_low: Lower end of its interval.
      level_high: Upper end.
      gain: Level less the score at the first count.
      gain_low: Lower end of its interval.
      gain_high: Upper end.
      n_pairs: Curves without gaps.
      note: "" or what a reader must know.
    """

    k: float
    k_low: float
    k_high: float
    first_flat: float
    level: float
    level_low: float
    level_high: float
    gain: float
    gain_low: float
    gain_high: float
    n_pairs: int
    note: str = ""


def plateau(
    curves: Any, k: Any, fraction: Any = 0.05, resamples: int = 2000, seed: int = 0, confidence: Any = 0.95
) -> Plateau:
    """Fit the mean curve over model pairs; the interval draws pairs with replacement and fits again.

    Args:
      curves: Scores [pair, count]; curves with gaps are left out and counted in the note.
      k: Exemplar counts, ascending.
      fraction: Of the gain that may be missing at the plateau.
      resamples: Draws of model pairs for the intervals.
      seed: Of the draws.
      confidence: Of the intervals.

    Raises:
      ValueError: Other counts than the curves have, counts that do not ascend, fewer than four of them, or a fraction
        without meaning.
    """
    check_confidence(confidence)
    curves, counts = np.atleast_2d(np.asarray(curves, np.float64)), np.asarray(k, np.float64)
    if counts.ndim != 1 or curves.shape[1:] != counts.shape or len(counts) < 4 or np.any(np.diff(counts) <= 0):
        raise ValueError(
            f"curves of shape {curves.shape} at k={counts.tolist()}: expected [pair, count] at four or more ascending "
            "counts."
        )
    if isinstance(fraction, bool) or not isinstance(fraction, int | float) or not 0 < fraction < 1:
        raise ValueError(f"fraction={fraction!r}: expected a share above 0 and below 1, such as 0.05.")
    whole = np.isfinite(curves).all(axis=1)
    notes = [f"{int((~whole).sum())} of {len(whole)} curves left out: they have gaps"] if not whole.all() else []
    curves = curves[whole]
    if not len(curves):
        return Plateau(*[np.nan] * 10, n_pairs=0, note="; ".join([*notes, "no curve"]))
    mean = curves.mean(axis=0)
    (where,), (level,), (gain,) = _fit(mean[None], counts, fraction)
    if len(curves) > 1:
        draws = np.random.default_rng(seed).integers(len(curves), size=(resamples, len(curves)))
        found = _fit(curves[draws].mean(axis=1), counts, fraction)
        tails = expanded_tails(len(curves), confidence)
        # By rank, so that draws without a plateau, at infinity, take part.
        ends = [np.quantile(values, tails, method="inverted_cdf") for values in found]
    else:
        ends = [np.full(2, np.nan)] * 3
        notes.append("no interval: one curve")
    if paired_test(curves[:, len(counts) // 2 :].mean(axis=1), curves[:, 0]).p > 1 - confidence:
        # A fit to noise finds some rate at which there seems to be a gain.
        notes.append("no plateau: the later half of the counts scores no other than the first, by the paired t-test")
        where, ends[0] = np.nan, np.full(2, np.nan)
    elif np.ptp(mean) <= 1e-12 * np.abs(mean).max():
        notes.append("no plateau: the score is the same at all counts")
        where, ends[0] = np.nan, np.full(2, np.nan)
    elif gain <= 0:
        notes.append("the curve falls: the plateau is its lower end")
    if where > counts[-1]:
        notes.append(f"not reached within {counts[-1]:g} exemplars")
        where = np.inf
    (first, last), (lowest, highest), (least, most) = (end.tolist() for end in ends)
    return Plateau(
        *(float(where), first, last, _first_flat(mean, counts, fraction)),
        *(float(level), lowest, highest, float(gain), least, most, len(curves), "; ".join(notes)),
    )


def _fit(
    curves: Float[np.ndarray, "B K"], counts: Float[np.ndarray, " K"], fraction: float
) -> tuple[Float[np.ndarray, " B"], Float[np.ndarray, " B"], Float[np.ndarray, " B"]]:
    """Plateau, level and gain of every curve; the plateau is infinite beyond the last count."""
    span = counts - counts[0]
    rates = np.geomspace(0.1 * np.diff(counts).min(), 10 * span[-1], _RATES)
    falls = np.exp(-span / rates[:, None])
    centred = falls - falls.mean(axis=1, keepdims=True)
    around = curves - curves.mean(axis=1, keepdims=True)
    slope = around @ centred.T / np.sum(centred**2, axis=1)
    # What the best line in the falling exponential explains; the rate that explains most.
    best = np.argmax(slope**2 * np.sum(centred**2, axis=1), axis=1)
    gain = -slope[np.arange(len(curves)), best]
    level = curves.mean(axis=1) + gain * falls.mean(axis=1)[best]
    where = counts[0] + rates[best] * np.log(1 / fraction)
    return np.where(where > counts[-1], np.inf, where), level, gain


def _first_flat(mean: Float[np.ndarray, " K"], counts: Float[np.ndarray, " K"], fraction: float) -> float:
    whole = mean[-1] - mean[0]
    steps = np.sign(whole) * np.diff(mean) / np.diff(counts)
    flat = np.flatnonzero(steps < fraction * abs(whole))
    return float(counts[flat[0]]) if len(flat) else np.nan
