"""What the paper says came out of each experiment beyond its printed tests, held against a run.

Differences are taken within model pairs; "more" and "less" hold where the 95 % interval over vision and language models
as crossed factors excludes 0.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from vla.alignment.crossed import crossed_test
from vla.alignment.paired import paired_test
from vla.experiments.penultimate import scalars
from vla.metrics import sign
from vla.report import selecting
from vla.report.figures.depth import depths_of
from vla.report.figures.pairs import PAIR, scores_by_pair
from vla.report.figures.style import DIRECTION_WORDS, spoken
from vla.report.run_folder import RunFolder
from vla.report.shapes import plateau_marks
from vla.report.words import number

_LV, _VL = "language_to_vision", "vision_to_language"
_METRIC = "linear_predictivity"
_FLAT, _ROUNDING = 0.05, 0.0005


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A claim of the paper and what was found.

    Attributes:
      claim: In words.
      found: In words, with numbers.
      holds: None where the run cannot say.
    """

    claim: str
    found: str
    holds: bool | None


def outcomes(run: RunFolder, experiment: Mapping[str, Any]) -> list[Outcome]:
    """The claims about an experiment for which the run has data; none for experiments that are not the paper's."""
    id = str(experiment["id"])
    scores, curves = run.of("scores", id), run.of("curves", id)
    # Claims are of measures of which higher is more alike: a distance is held against them as its negative.
    scores, curves = _oriented(_of_main_metric(scores)), _oriented(_of_main_metric(curves))
    found: list[Outcome] = []
    for claims in _CLAIMS.get(id, ()):
        found += claims(run, scores, curves)
    metric = next((str(rows["metric"].iloc[0]) for rows in (scores, curves) if len(rows)), "")
    if sign(metric) < 0:
        return [dataclasses.replace(outcome, claim=f"{outcome.claim} (by minus {metric})") for outcome in found]
    return found


def _of_main_metric(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of linear predictivity, of which the paper speaks; where there are none, of the first metric of which higher
    is more alike, or else of the first distance."""
    metrics = sorted(dict.fromkeys(rows["metric"]), key=sign, reverse=True)
    main = _METRIC if _METRIC in metrics else metrics[0] if metrics else ""
    return rows.loc[rows["metric"] == main]


def _oriented(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of one metric, of a distance with its negative."""
    if rows.empty or sign(str(rows["metric"].iloc[0])) > 0:
        return rows
    return rows.assign(**{name: -rows[name] for name in ("score", "null_mean") if name in rows})


def _depth(run: RunFolder, scores: pd.DataFrame, curves: pd.DataFrame) -> list[Outcome]:
    """Early layers against late ones, of layer maps by a metric that has directions."""
    maps = selecting.layer_maps(scores)
    if not {_LV, _VL} <= set(maps["direction"]):
        return []
    maps = with_depth(maps)
    found, ratios = [], {}
    for direction, side in ((_LV, "vision"), (_VL, "vision")):
        rows = maps.loc[maps["direction"] == direction]
        early, late = (_best(rows.loc[part]) for part in _thirds(rows, side))
        found.append(
            difference(f"{DIRECTION_WORDS[direction]}: low in early {side} layers, higher in late ones", early, late)
        )
    if sign(str(maps["metric"].iloc[0])) < 0:
        return found  # a share of the best score is that of a measure which grows from 0
    for direction, side in ((_LV, "language"), (_VL, "vision")):
        rows = maps.loc[maps["direction"] == direction]
        ratios[direction] = _best(rows.loc[_thirds(rows, side)[0]]) / _best(rows)
    early_language, early_vision = ratios[_LV], ratios[_VL]
    share = f"early language layers reach {early_language.mean():.0%} of the best score"
    share += f", early vision layers {early_vision.mean():.0%} in the other direction"
    gap = early_language - early_vision
    claim = "Early language layers already predict vision; vision predicts language only with depth"
    return [*found, Outcome(claim, share, _above(gap))]


def with_depth(maps: pd.DataFrame) -> pd.DataFrame:
    """Rows of layer maps with the relative depths of their layers; the final norms are left out."""
    found = maps.assign(**{f"{side}_depth": depths_of(maps, side) for side in ("vision", "language")})
    return found.dropna(subset=["vision_depth", "language_depth"])


def _thirds(rows: pd.DataFrame, side: str) -> tuple[pd.Series, pd.Series]:
    return rows[f"{side}_depth"] <= 1 / 3, rows[f"{side}_depth"] >= 2 / 3


def _best(rows: pd.DataFrame) -> pd.Series:
    return rows.groupby(PAIR, sort=False)["score"].max()


def _order(first: str, second: str, directions: tuple[str, ...], claim: str) -> Callable[..., list[Outcome]]:
    """That one condition, found by a part of its name, lies lower than another."""

    def claims(run: RunFolder, scores: pd.DataFrame, curves: pd.DataFrame) -> list[Outcome]:
        rows = scalars(scores)
        names = list(dict.fromkeys(rows["condition"]))
        low, high = (next((name for name in names if part in name), "") for part in (first, second))
        found = []
        for direction in directions if low and high else ():
            own = rows.loc[rows["direction"] == direction]
            wide = scores_by_pair(own, "condition", [low, high])
            if len(wide):
                words = f"{DIRECTION_WORDS[direction]}: {claim}"
                found.append(difference(words, wide[low], wide[high]))
        return found

    return claims


def _monotone(word: str) -> Callable[..., list[Outcome]]:
    """That the mean over pairs never falls by more than rounding from one count to the next."""

    def claims(run: RunFolder, scores: pd.DataFrame, curves: pd.DataFrame) -> list[Outcome]:
        found = []
        for direction, rows in selecting.matched(curves, word).groupby("direction", sort=False):
            steps = np.diff(rows.groupby("k")["score"].mean().sort_index().to_numpy(float))
            claim = f"{DIRECTION_WORDS[str(direction)]}: every further one of the {word} raises alignment"
            if len(steps):
                words = (
                    f"{(steps > 0).sum()} of {len(steps)} steps rise, the largest fall is {max(-steps.min(), 0):.3f}"
                )
                found.append(Outcome(claim, words, bool((steps > -_ROUNDING).all())))
        return found

    return claims


def _flattens(word: str, direction: str, near: int, within: int) -> Callable[..., list[Outcome]]:
    """That a curve reaches its plateau near a count; the run cannot say where it has no longer curves."""

    def claims(run: RunFolder, scores: pd.DataFrame, curves: pd.DataFrame) -> list[Outcome]:
        own = selecting.matched(curves, word)
        own = own.loc[own["direction"] == direction]
        claim = f"{DIRECTION_WORDS[direction]}: flattens near {near} {word}"
        if own.empty:
            return []
        if own["k"].max() < near:
            return [Outcome(claim, f"the run averages {own['k'].max():g} {word} at most", None)]
        rows = run.of("plateaus", str(own["experiment"].iloc[0]))
        rows = rows.loc[(rows["metric"] == own["metric"].iloc[0]) & (rows["direction"] == direction)]
        for at, low, high in plateau_marks(rows.loc[rows["series"].isin(own["series"])]).values():
            found = f"95 % of the gain at {at:.1f}"
            if np.isfinite(low):
                found += f" (95 % interval {low:.1f} to {high:.1f})".replace("inf", "beyond")
            return [
                Outcome(
                    claim, found, bool(np.nanmin([low, at]) <= near + within and np.nanmax([high, at]) >= near - within)
                )
            ]
        return [Outcome(claim, "the curve does not flatten within its counts", False)]

    return claims


def _gains_more(word: str, more: str, less: str) -> Callable[..., list[Outcome]]:
    """That one direction gains more than the other."""

    def claims(run: RunFolder, scores: pd.DataFrame, curves: pd.DataFrame) -> list[Outcome]:
        own = selecting.matched(curves, word)
        gains = {direction: _gain(own.loc[own["direction"] == direction]) for direction in (less, more)}
        if any(gain.empty for gain in gains.values()):
            return []
        claim = f"averaging {word}: {DIRECTION_WORDS[more]} gains more than the other direction"
        return [difference(claim, *gains.values())]

    return claims


def _gain(rows: pd.DataFrame) -> pd.Series:
    if rows.empty:
        return pd.Series(dtype=float)
    wide = scores_by_pair(rows, "k", sorted(rows["k"].unique()))
    return wide.iloc[:, -1] - wide.iloc[:, 0]


def _stays_flat(run: RunFolder, scores: pd.DataFrame, curves: pd.DataFrame) -> list[Outcome]:
    found = []
    for (direction, name), rows in curves.groupby(["direction", "series"], sort=False):
        means = rows.groupby("k")["score"].mean()
        claim = f"{DIRECTION_WORDS[str(direction)]}: {spoken(str(name))} stay flat at about 0"
        words = f"means over pairs from {number(means.min())} to {number(means.max())}"
        found.append(Outcome(claim, words, bool(means.abs().max() < _FLAT)))
    return found


def _backbones(run: RunFolder, scores: pd.DataFrame, curves: pd.DataFrame) -> list[Outcome]:
    """Orderings of vision models, by parts of their names."""
    found = []
    most = curves.loc[curves["k"] == curves.groupby("series")["k"].transform("max")]
    wanted = (
        ("augreg_in1k", "dino-vitb16"), ("augreg_in1k", "deit"), ("dinov2-base", "dino-vitb16"),
        ("augreg_in1k", "patch16_224.augreg_in21k"),
    )  # fmt: skip
    for high, low in wanted:
        scored = {}
        for part in (low, high):
            own = most.loc[most["vision_model"].str.contains(part, regex=False)]
            own = own.loc[~own["vision_model"].str.contains("large")]
            # What is averaged and both directions are no further units: each language model counts once.
            scored[part] = own.groupby("language_model")["score"].mean()
        claim = f"{high} above {low}"
        if any(each.empty for each in scored.values()):
            found.append(Outcome(claim, "these vision models are not in this run", None))
        else:
            found.append(difference(claim, *scored.values()))
    spread = most.groupby(["series", "direction", "vision_model"])["score"].mean()
    spread = spread.groupby(["series", "direction"]).std().unstack("direction")
    if {_LV, _VL} <= set(spread):
        for name, row in spread.iterrows():
            words = f"standard deviation {row[_LV]:.3f} against {row[_VL]:.3f}"
            claim = f"{spoken(str(name))}: vision models differ more when language predicts vision"
            found.append(Outcome(claim, words, bool(row[_LV] > row[_VL])))
    return found


def _weaker_images(run: RunFolder, scores: pd.DataFrame, curves: pd.DataFrame) -> list[Outcome]:
    gains = [_gain(selecting.matched(curves, word)) for word in ("images", "captions")]
    if any(gain.empty for gain in gains):
        return []
    return [difference("averaging images gains less than averaging captions", *gains)]


def difference(claim: str, lower: pd.Series, higher: pd.Series) -> Outcome:
    """That the second is higher than the first within pairs.

    Args:
      claim: In words.
      lower: Scores by model pair; or by the models of one side, where single models of the other side are compared.
      higher: Scores of the same pairs or models.
    """
    both = pd.DataFrame({"lower": lower, "higher": higher}).dropna()
    if both.empty:
        return Outcome(claim, "no model pair has both", None)
    return raised(claim, (both["lower"].mean(), both["higher"].mean()), *_interval(both["higher"] - both["lower"]))


def raised(
    claim: str, means: tuple[float, float], gap: float, low: float, high: float, untested: str = "one pair"
) -> Outcome:
    """That a mean difference is above 0.

    Args:
      claim: In words.
      means: Over pairs, of the side that the claim expects to be lower, then of the other.
      gap: Their mean difference within pairs.
      low: Lower end of its interval; not finite where there is none.
      high: Upper end.
      untested: Why there is no interval, where there is none.
    """
    words = f"{number(means[0])} against {number(means[1])}, difference {number(gap, sign=True)}"
    ends = f" [{number(low, sign=True)}, {number(high, sign=True)}]"
    tested = bool(np.isfinite(low))
    return Outcome(
        claim, words + (ends if tested else f" (no interval: {untested})"), bool(low > 0) if tested else None
    )


def _interval(differences: pd.Series) -> tuple[float, float, float, str]:
    """Mean, ends of its 95 % interval, and why there is none: crossed over pairs, else Student's over one side."""
    if differences.index.nlevels == len(PAIR):
        by_pair = differences.groupby(level=PAIR, sort=False).mean()  # over seeds of the folds
        test = crossed_test(by_pair, *(by_pair.index.get_level_values(name) for name in PAIR))
    else:
        test = paired_test(differences, np.zeros(len(differences)))
    return test.mean_difference, test.ci_low, test.ci_high, test.note


def _above(differences: pd.Series) -> bool | None:
    low = _interval(differences.dropna())[1]
    return low > 0 if np.isfinite(low) else None


_CLAIMS: dict[str, tuple[Callable[..., list[Outcome]], ...]] = {
    "E1": (_depth,),
    "E2": (_order("stuff", "things", (_LV, _VL), "stuff only falls more than things only"),),
    "E3": (
        _order("scrambled", "nouns+verbs", (_VL,), "scrambled falls more than nouns and verbs"),
        _order("scrambled", "nouns", (_VL,), "scrambled falls more than nouns"),
    ),
    "E6": (_monotone("captions"), _flattens("captions", _VL, near=10, within=2)),
    "E7": (_gains_more("images", _LV, _VL), _flattens("images", _LV, near=7, within=2)),
    "E8": (_stays_flat,),
    "E10": (_backbones,),
    "E11": (_weaker_images,),
    "E12": (_depth,),
    "E13": (_depth,),
}
