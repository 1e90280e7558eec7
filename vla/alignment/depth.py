"""Curves over layers and over exemplars: the score along relative depth with its peak, and where a curve flattens.

C curves (one per model pair), X and Y layers, G relative depths, K exemplar counts, B draws.

Depth 0 is `embed`, depth 1 the last block: `block_i` of L blocks has depth i / L. `final_norm` has no depth, because it
is the last block again, normalised.

Intervals over models treat vision and language models as crossed factors (`vla.alignment.paired`). In simulations, 150
to 550 for each of up to four ways to split the variance between vision models, language models and pairs (standard
error 1 to 2 points), 95 % intervals cover:

                           2 x 4         7 x 4         4 x 8 models
    depth of the peak      97 to 100 %   98 to 100 %   99 to 100 %
    score at the peak      92 to 99 %    95 to 99 %    94 to 98 %
    plateau k              92 to 99 %    96 %          97 %
    level of the plateau   91 to 100 %   95 %          95 to 96 %
    gain                   90 to 99 %    97 %          95 %

The lowest shares are those of two vision models that differ much, because the difference of two may be small by chance.
Plateaus were simulated for one split of the variance at 7 x 4 and for two at 4 x 8.
"""

import dataclasses
import re
from collections.abc import Collection, Hashable, Sequence

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from vla.alignment.paired import crossed_intervals, crossed_test
from vla.checks import check_choice, check_number

OVER = ("max", "mean")


@dataclasses.dataclass(frozen=True)
class Peak:
    """Peak of the mean profile; NaN if there is none, for the reason in `note`.

    Attributes:
      depth: Relative depth of the peak, in [0, 1].
      depth_low, depth_high: Interval of the depth.
      score: Mean score at the peak.
      score_low, score_high: Interval of the score at that depth.
      rise: Score at the peak less that at depth 0; NaN without a score at depth 0.
      note: "", or what a reader must know.
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
    """The relative depth of each layer, NaN for `final_norm`; layers with other names are spaced evenly from 0 to 1."""
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
    scores: ArrayLike, layers: Sequence[str], depths: ArrayLike, axis: int = 0, over: str = "max"
) -> Float[np.ndarray, " G"]:
    """The scores of a model pair at common relative depths of one of its models.

    Args:
      scores: [X, Y].
      layers: Names of all layers of that model.
      depths: Ascending relative depths, at which scores are interpolated linearly between layers.
      axis: 0 if that model is x, 1 if it is y.
      over: "max" or "mean" over the layers of the other model that have a score.

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
    of_layers, depths = relative_depths(layers), np.asarray(depths, np.float64)
    order = np.argsort(of_layers)[: np.isfinite(of_layers).sum()]  # NaN is sorted last
    of_layers, values = of_layers[order], values[order]
    profile = np.interp(depths, of_layers, values, left=np.nan, right=np.nan)
    # At a layer its score is taken as it is: rounding of i / L must not mix it with a neighbour without a score.
    at_layer = np.abs(depths[:, None] - of_layers[None]) < 1e-9
    return np.where(at_layer.any(axis=1), values[at_layer.argmax(axis=1)], profile)


def peak(
    profiles: ArrayLike,
    depths: ArrayLike,
    vision: Collection[Hashable] = (),
    language: Collection[Hashable] = (),
    resampled: ArrayLike | None = None,
    resamples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Peak:
    """The peak of the mean profile, with intervals over models, or over items.

    Args:
      profiles: [C, G], from `depth_profile`.
      depths: The relative depths.
      vision: The vision model of each profile; with `language` for intervals over models.
      language: The language model of each profile.
      resampled: Mean profiles [B, G] of draws of items, made from `resampled_score` of `vla.score` in the same way as
        the profiles, for intervals over items; then no models are needed.
      resamples: Number of draws of models.
      seed: Seed of the draws.
      confidence: Level of the intervals.

    Raises:
      ValueError: Numbers of depths or models that do not fit the profiles, or a bad confidence.
    """
    check_number("confidence", confidence, above=0, below=1)
    profiles, depths = np.atleast_2d(np.asarray(profiles, np.float64)), np.asarray(depths, np.float64)
    if profiles.shape[1:] != depths.shape:
        raise ValueError(f"profiles of shape {profiles.shape} at {len(depths)} depths: expected [pair, depth].")
    if resampled is None:
        _check_models("profile", profiles, vision, language)
    defined = np.all(np.isfinite(profiles), axis=0)
    if not len(profiles) or not defined.any():
        return Peak(*[np.nan] * 7, note="no depth at which every pair has a score")
    at, mean = depths[defined], profiles[:, defined].mean(axis=0)
    top = int(np.argmax(mean))
    rise = float(mean[top] - mean[0]) if defined[0] and depths[0] == 0 else np.nan
    if resampled is not None:
        tails, note = [(1 - confidence) / 2, (1 + confidence) / 2], ""
        draws = np.asarray(resampled, np.float64)[:, defined]
        draws = np.where(np.isfinite(draws), draws, -np.inf)
        depth_low, depth_high = np.quantile(at[np.argmax(draws, axis=1)], tails).tolist()
        low, high = np.quantile(draws[:, top], tails).tolist()
    else:
        ((depth_low, depth_high),), reason = crossed_intervals(
            profiles[:, defined], vision, language, lambda draws: (at[np.argmax(draws, axis=1)],), confidence,
            resamples, seed,
        )  # fmt: skip
        score = crossed_test(profiles[:, defined][:, top], vision, language, confidence)
        low, high, note = score.ci_low, score.ci_high, f"no interval: {reason}" if reason else ""
    return Peak(float(at[top]), depth_low, depth_high, float(mean[top]), low, high, rise, note)


def _check_models(
    what: str, curves: Float[np.ndarray, "C _"], vision: Collection[Hashable], language: Collection[Hashable]
) -> None:
    if not len(curves) == len(vision) == len(language):
        raise ValueError(
            f"{len(curves)} {what}s, {len(vision)} vision and {len(language)} language models: expected one model of "
            f"each side per {what}."
        )


# Candidate rates, geometrically spaced: from a tenth of the smallest step to ten times the range, under 2 % apart.
_RATES = 400


@dataclasses.dataclass(frozen=True)
class Plateau:
    """The count and the score at which a curve flattens; NaN if it does not, for the reason in `note`.

    Intervals are over vision and language models as crossed factors.

    Attributes:
      k: Number of exemplars at which the fitted curve has all but `fraction` of its gain over the first count.
      k_low, k_high: Interval of k; infinite ends if too many draws of models do not flatten within the measured counts.
      first_flat: First measured count from which the next step gains less than `fraction` of the total measured gain
        per exemplar (loses less, if the curve falls); NaN if there is none. It does not depend on the fit.
      level: Score at the plateau.
      level_low, level_high: Interval of the level.
      gain: Level less the score at the first count.
      gain_low, gain_high: Interval of the gain.
      n_pairs: Curves without gaps.
      note: "", or what a reader must know.
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
    curves: ArrayLike,
    k: ArrayLike,
    vision: Collection[Hashable],
    language: Collection[Hashable],
    fraction: float = 0.05,
    resamples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Plateau:
    """Fit level - gain exp(-(k - k_0) / rate) to the mean curve over model pairs, with intervals over models.

    Args:
      curves: Scores [C, K]; curves with gaps are left out, and the note counts them.
      k: Ascending exemplar counts, at least four.
      vision: The vision model of each curve.
      language: The language model of each curve.
      fraction: Share of the gain that may be missing at the plateau.
      resamples: Number of draws of models.
      seed: Seed of the draws.
      confidence: Level of the intervals.

    Raises:
      ValueError: Numbers of counts or models that do not fit the curves, fewer than four counts, counts that do not
        ascend, or a bad fraction or confidence.
    """
    check_number("confidence", confidence, above=0, below=1)
    curves, counts = np.atleast_2d(np.asarray(curves, np.float64)), np.asarray(k, np.float64)
    if counts.ndim != 1 or curves.shape[1:] != counts.shape or len(counts) < 4 or np.any(np.diff(counts) <= 0):
        raise ValueError(
            f"curves of shape {curves.shape} at k={counts.tolist()}: expected [pair, count] at four or more ascending "
            "counts."
        )
    check_number("fraction", fraction, above=0, below=1)
    _check_models("curve", curves, vision, language)
    complete, notes = np.all(np.isfinite(curves), axis=1), []
    if not complete.all():
        notes.append(f"{int((~complete).sum())} of {len(complete)} curves left out: they have gaps")
    curves = curves[complete]
    vision, language = ([name for name, use in zip(side, complete, strict=True) if use] for side in (vision, language))
    if not len(curves):
        return Plateau(*[np.nan] * 10, n_pairs=0, note="; ".join([*notes, "no curve"]))
    mean = curves.mean(axis=0)
    (log_rate,), (level,), (gain,) = _fit(mean[None], counts)
    intervals, reason = crossed_intervals(
        curves, vision, language, lambda draws: _fit(draws, counts), confidence, resamples, seed
    )
    if reason:
        notes.append(f"no interval: {reason}")
    flat, flat_low, flat_high = (_flat_from(value, counts, fraction) for value in (log_rate, *intervals[0]))
    later = curves[:, len(counts) // 2 :].mean(axis=1) - curves[:, 0]
    reason = ""
    if crossed_test(later, vision, language).p > 1 - confidence:
        # A fit to noise finds a rate with an apparent gain.
        reason = (
            "over vision and language models as crossed factors, the later half of the counts does not score "
            "significantly differently from the first"
        )
    elif np.ptp(mean) <= 1e-12 * np.abs(mean).max():
        reason = "the score is the same at all counts"
    elif gain <= 0:
        notes.append("the curve falls: the plateau is its lower end")
    if reason:
        notes.append(f"no plateau: {reason}")
        flat = flat_low = flat_high = np.nan
    if np.isinf(flat):
        notes.append(f"not reached within {counts[-1]:g} exemplars")
    return Plateau(
        flat, flat_low, flat_high, _first_flat(mean, counts, fraction), float(level), *intervals[1], float(gain),
        *intervals[2], n_pairs=len(curves), note="; ".join(notes),
    )  # fmt: skip


def _fit(
    curves: Float[np.ndarray, "B K"], counts: Float[np.ndarray, " K"]
) -> tuple[Float[np.ndarray, " B"], Float[np.ndarray, " B"], Float[np.ndarray, " B"]]:
    """log(rate), level and gain of each curve, by least squares over a grid of rates."""
    span = counts - counts[0]
    rates = np.geomspace(0.1 * np.diff(counts).min(), 10 * span[-1], _RATES)
    decay = np.exp(-span / rates[:, None])
    centred = decay - decay.mean(axis=1, keepdims=True)
    power = np.sum(centred**2, axis=1)
    slope = (curves - curves.mean(axis=1, keepdims=True)) @ centred.T / power
    best = np.argmax(slope**2 * power, axis=1)  # the rate that explains most variance
    gain = -slope[np.arange(len(curves)), best]
    level = curves.mean(axis=1) + gain * decay.mean(axis=1)[best]
    return np.log(rates[best]), level, gain


def _flat_from(log_rate: float, counts: Float[np.ndarray, " K"], fraction: float) -> float:
    """The count at which only `fraction` of the gain is missing; infinite beyond the last count, NaN without a rate."""
    k = float(counts[0] + np.exp(log_rate) * np.log(1 / fraction))
    return np.inf if k > counts[-1] else k


def _first_flat(mean: Float[np.ndarray, " K"], counts: Float[np.ndarray, " K"], fraction: float) -> float:
    total = mean[-1] - mean[0]
    steps = np.sign(total) * np.diff(mean) / np.diff(counts)
    flat = np.flatnonzero(steps < fraction * abs(total))
    return float(counts[flat[0]]) if len(flat) else np.nan
