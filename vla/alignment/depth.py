"""Alignment along a model's depth, comparable between models of different depths, with the depth of its peak.

C profiles (one per model pair), X and Y layers, G relative depths, B draws.

Depth 0 is `embed`, depth 1 the last block: `block_i` of L blocks is at depth i / L. `final_norm`, which is the last
block again after its norm, has no depth.

Intervals over models take vision and language models as two crossed factors (`vla.alignment.paired`). Of 100 simulated
designs of 2 x 4 models whose pairs vary independently (standard deviation .05), the 95 % interval of the depth of the
peak covers it in 97 %, that of the score in 99 %.
"""

import dataclasses
import re
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from vla.alignment.paired import check_confidence, crossed_intervals, crossed_test
from vla.checks import check_choice, check_number

OVER = ("max", "mean")


@dataclasses.dataclass(frozen=True)
class Peak:
    """Where the mean profile is highest; NaN where nothing can be said, for the reason in `note`.

    Attributes:
      depth: Relative depth of the peak, in [0, 1].
      depth_low: Lower end of its interval.
      depth_high: Upper end.
      score: Of the mean profile at its peak.
      score_low: Lower end of the interval of the score at that depth.
      score_high: Upper end.
      rise: Score at the peak less that at depth 0; NaN if depth 0 has no score.
      note: "" or what a reader must know.
    """

    depth: float
    depth_low: float
    depth_high: float
    score: float
    score_low: float
    score_high: float
    rise: float
    note: str = ""


def relative_depths(layers: Sequence[str]) -> Float[np.ndarray, " X"]:
    """The relative depth of every layer; NaN for `final_norm`.

    Layers with other names than `embed`, `block_i` and `final_norm` are spread evenly from 0 to 1 in their order.
    """
    names = [str(name) for name in layers]
    blocks = [re.fullmatch(r"block_(\d+)", name) for name in names]
    if not all(block or name in ("embed", "final_norm") for block, name in zip(blocks, names, strict=True)):
        return np.linspace(0, 1, len(names))
    last = max((int(block[1]) for block in blocks if block), default=1) or 1
    return np.array(
        [int(block[1]) / last if block else 0.0 if name == "embed" else np.nan
         for block, name in zip(blocks, names, strict=True)]
    )  # fmt: skip


def depth_profile(
    scores: Any, layers: Sequence[str], depths: Any, axis: int = 0, over: str = "max"
) -> Float[np.ndarray, " G"]:
    """One model pair's scores at common relative depths of one of the two models.

    Args:
      scores: [X, Y], of one pair.
      layers: Names of the layers along `axis`, all of the model's.
      depths: Relative depths, ascending, at which the profile is read off by linear interpolation between layers.
      axis: 0 for a profile of x, 1 for one of y.
      over: Of the other model's layers: "max" or "mean" of those that have a score.

    Returns:
      The profile; NaN at depths without a score on both sides.

    Raises:
      ValueError: An unknown `over`, or another number of names than layers.
    """
    check_choice("over", over, OVER)
    table = np.moveaxis(np.asarray(scores, np.float64), axis, 0)
    if table.ndim != 2 or len(layers) != len(table):
        raise ValueError(f"{len(layers)} layer names for scores of shape {np.shape(scores)} along axis {axis}.")
    known = np.isfinite(table)
    if over == "max":
        values = np.where(known, table, -np.inf).max(axis=1, initial=-np.inf)
    else:
        values = np.where(known, table, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    values = np.where(known.any(axis=1), values, np.nan)
    places = relative_depths(layers)
    use = np.isfinite(places)
    return _read_off(places[use], values[use], np.asarray(depths, np.float64))


def peak(
    profiles: Any,
    depths: Any,
    vision: Collection[Any] = (),
    language: Collection[Any] = (),
    resampled: Any = None,
    resamples: int = 2000,
    seed: int = 0,
    confidence: Any = 0.95,
) -> Peak:
    """The peak of the mean profile, with its interval over models, or over items.

    Args:
      profiles: [pair, depth], of `depth_profile`.
      depths: The relative depths.
      vision: The vision model of each pair, for intervals over vision and language models as crossed factors.
      language: The language model of each pair.
      resampled: Mean profiles [draw, depth] of draws of items, made from `resampled_score` of `vla.score` in the same
        way as the profiles. The intervals are then over items, and no models are needed.
      resamples: Draws of models.
      seed: Of the draws.
      confidence: Of the intervals.

    Raises:
      ValueError: Other depths or models than the profiles have, or a confidence without meaning.
    """
    check_confidence(confidence)
    profiles, depths = np.atleast_2d(np.asarray(profiles, np.float64)), np.asarray(depths, np.float64)
    if profiles.shape[1:] != depths.shape:
        raise ValueError(f"profiles of shape {profiles.shape} at {len(depths)} depths: expected [pair, depth].")
    if resampled is None and not len(profiles) == len(vision) == len(language):
        raise ValueError(
            f"{len(profiles)} profiles, {len(vision)} vision and {len(language)} language models: expected one model "
            "of each side per profile."
        )
    defined = np.isfinite(profiles).all(axis=0)
    if not len(profiles) or not defined.any():
        return Peak(*[np.nan] * 7, note="no depth at which every pair has a score")
    at, mean = depths[defined], profiles[:, defined].mean(axis=0)
    top = int(np.argmax(mean))
    rise = float(mean[top] - mean[0]) if defined[0] and depths[0] == 0 else np.nan
    if resampled is not None:
        tails = [(1 - confidence) / 2, (1 + confidence) / 2]
        drawn = np.asarray(resampled, np.float64)[:, defined]
        drawn = np.where(np.isfinite(drawn), drawn, -np.inf)
        first, last = np.quantile(at[np.argmax(drawn, axis=1)], tails).tolist()
        low, high = np.quantile(drawn[:, top], tails).tolist()
        note = ""
    else:
        ((first, last),), reason = crossed_intervals(
            profiles[:, defined], vision, language, lambda drawn: (at[np.argmax(drawn, axis=1)],), confidence,
            resamples, seed,
        )  # fmt: skip
        score = crossed_test(profiles[:, defined][:, top], vision, language, confidence)
        low, high, note = score.ci_low, score.ci_high, f"no interval: {reason}" if reason else ""
    return Peak(float(at[top]), first, last, float(mean[top]), low, high, rise, note)


def _read_off(
    places: Float[np.ndarray, " X"], values: Float[np.ndarray, " X"], depths: Float[np.ndarray, " G"]
) -> Float[np.ndarray, " G"]:
    """Linear interpolation that knows gaps: NaN beyond the layers, and between layers of which one has no score."""
    order = np.argsort(places)
    places, values = places[order], values[order]
    # Rounding of i / L must not make a layer's own depth fall between it and its neighbour.
    on_layer = np.abs(depths[:, None] - places[None]) < 1e-9
    read = np.interp(depths, places, values, left=np.nan, right=np.nan)
    return np.where(on_layer.any(axis=1), values[on_layer.argmax(axis=1)], read)


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
    check_number("fraction", fraction, above=0, below=1)
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
