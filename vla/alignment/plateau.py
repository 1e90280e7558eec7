"""Where an averaging curve flattens: a saturating exponential, with intervals over models.

C curves (one per model pair), K exemplar counts, B draws, R rates.

score(k) = level - gain exp(-(k - k_1) / rate). For a given rate the curve is linear in level and gain, so that the fit
is a search over rates with a least-squares fit of two numbers at each.

Intervals take vision and language models as two crossed factors (`vla.alignment.crossed.crossed_intervals`).
Coverage of the 95 % intervals in 60 simulations each (standard error 3 points) of ten counts and curves whose levels,
gains and log rates vary over models, with 2 x 4, 7 x 4 and 4 x 8 models and the standard deviations that
`vla.alignment.crossed` states: 95 to 100 % for k, 88 to 100 % for the level, 90 to 100 % for the gain. With two vision
models that differ and language models that do not, the interval of k is open above in most runs.
"""

import dataclasses
from collections.abc import Collection
from typing import Any

import numpy as np
from jaxtyping import Float

from vla.alignment.crossed import crossed_intervals, crossed_test
from vla.alignment.paired import check_confidence

# Rates from far below the distance of two counts to far beyond the last, 1.5 % apart.
_RATES = 400


@dataclasses.dataclass(frozen=True)
class Plateau:
    """Where and at which height a curve flattens; NaN where it does not, for the reason in `note`.

    Attributes:
      k: Number of exemplars at which the fitted curve has all but `fraction` of its gain over the first count.
      k_low: Lower end of its interval over vision and language models as crossed factors, as of all intervals here.
      k_high: Upper end; infinite where too many draws of models do not flatten within the counts measured.
      first_flat: First measured count whose step to the next gains less than `fraction` of the total measured gain, per
        exemplar (or loses less where the curve falls). It needs no model of the curve and has no interval. NaN if there
        is none.
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
    curves: Any,
    k: Any,
    vision: Collection[Any],
    language: Collection[Any],
    fraction: Any = 0.05,
    resamples: int = 2000,
    seed: int = 0,
    confidence: Any = 0.95,
) -> Plateau:
    """Fit the mean curve over model pairs, with intervals over vision and language models as crossed factors.

    Args:
      curves: Scores [pair, count]; curves with gaps are left out and counted in the note.
      k: Exemplar counts, ascending.
      vision: The vision model of each pair.
      language: The language model of each pair.
      fraction: Of the gain that may be missing at the plateau.
      resamples: Draws of models for the intervals.
      seed: Of the draws.
      confidence: Of the intervals.

    Raises:
      ValueError: Other counts or models than the curves have, counts that do not ascend, fewer than four of them, or a
        fraction without meaning.
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
    if not len(curves) == len(vision) == len(language):
        raise ValueError(
            f"{len(curves)} curves, {len(vision)} vision and {len(language)} language models: expected one model of "
            "each side per curve."
        )
    complete = np.isfinite(curves).all(axis=1)
    notes = []
    if not complete.all():
        notes.append(f"{int((~complete).sum())} of {len(complete)} curves left out: they have gaps")
    curves = curves[complete]
    vision, language = ([name for name, use in zip(side, complete, strict=True) if use] for side in (vision, language))
    if not len(curves):
        return Plateau(*[np.nan] * 10, n_pairs=0, note="; ".join([*notes, "no curve"]))
    mean = curves.mean(axis=0)
    (log_rate,), (level,), (gain,) = _fit(mean[None], counts)
    ends, reason = crossed_intervals(
        curves, vision, language, lambda drawn: _fit(drawn, counts), confidence, resamples, seed
    )
    if reason:
        notes.append(f"no interval: {reason}")
    at, *k_ends = (_flat_from(value, counts, fraction) for value in (log_rate, *ends[0]))
    later = curves[:, len(counts) // 2 :].mean(axis=1) - curves[:, 0]
    if crossed_test(later, vision, language).p > 1 - confidence:
        # A fit to noise finds some rate at which there seems to be a gain.
        notes.append(
            "no plateau: over vision and language models as crossed factors, the later half of the counts does not "
            "score significantly differently from the first"
        )
        at, k_ends = np.nan, [np.nan] * 2
    elif np.ptp(mean) <= 1e-12 * np.abs(mean).max():
        notes.append("no plateau: the score is the same at all counts")
        at, k_ends = np.nan, [np.nan] * 2
    elif gain <= 0:
        notes.append("the curve falls: the plateau is its lower end")
    if np.isinf(at):
        notes.append(f"not reached within {counts[-1]:g} exemplars")
    return Plateau(
        at,
        *k_ends,
        first_flat=_first_flat(mean, counts, fraction),
        level=float(level),
        level_low=ends[1][0],
        level_high=ends[1][1],
        gain=float(gain),
        gain_low=ends[2][0],
        gain_high=ends[2][1],
        n_pairs=len(curves),
        note="; ".join(notes),
    )


def _fit(
    curves: Float[np.ndarray, "B K"], counts: Float[np.ndarray, " K"]
) -> tuple[Float[np.ndarray, " B"], Float[np.ndarray, " B"], Float[np.ndarray, " B"]]:
    """Logarithm of the rate, level and gain of every curve."""
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
    return np.log(rates[best]), level, gain


def _flat_from(log_rate: float, counts: Float[np.ndarray, " K"], fraction: float) -> float:
    """The count at which all but `fraction` of the gain is there; infinite beyond the last, NaN without a rate."""
    k = float(counts[0] + np.exp(log_rate) * np.log(1 / fraction))
    return np.inf if k > counts[-1] else k


def _first_flat(mean: Float[np.ndarray, " K"], counts: Float[np.ndarray, " K"], fraction: float) -> float:
    total = mean[-1] - mean[0]
    steps = np.sign(total) * np.diff(mean) / np.diff(counts)
    flat = np.flatnonzero(steps < fraction * abs(total))
    return float(counts[flat[0]]) if len(flat) else np.nan
