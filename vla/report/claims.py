"""Claims in words that a paper makes beyond its printed tests, checked against a run.

A claim is a function of a run and the tables of one experiment. Papers put theirs together from the functions here.
Differences are taken within model pairs; "more" and "less" hold where the 95 % interval over vision and language models
as crossed factors excludes 0.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from vla.alignment.paired import crossed_test, paired_test
from vla.experiments.compare import AGREE, ALIKE, DIFFERS, FEW, NOT_RUN, SIGN
from vla.experiments.experiment import Outcome
from vla.experiments.penultimate import scalars
from vla.metrics import sign
from vla.report import run_folder
from vla.report.figures.depth import depths_of
from vla.report.figures.style import DIRECTION_WORDS, PAIR, metric_words, scores_by_pair, spoken
from vla.report.illustrations import plateau_marks
from vla.report.run_folder import RunFolder, growth
from vla.report.words import number, p_value

LANGUAGE_TO_VISION, VISION_TO_LANGUAGE = "language_to_vision", "vision_to_language"
_METRIC = "linear_predictivity"
_FLAT, _ROUNDING = 0.05, 0.0005
_FEWEST_MODELS = 4

Claim = Callable[[RunFolder, pd.DataFrame, pd.DataFrame], list[Outcome]]
"""From a run, and the scores and curves of one experiment, to what the run says of a claim; [] without data."""


def outcomes(run: RunFolder, experiment: str, claims: Sequence[Claim]) -> list[Outcome]:
    """What a run says of the claims about one experiment.

    Args:
      run: The run.
      experiment: The id of the experiment.
      claims: Its claims; those without data give nothing.
    """
    # Claims are of measures of which higher is more alike: a distance is held against them as its negative.
    scores, curves = (_oriented(_of_main_metric(run.of(table, experiment))) for table in ("scores", "curves"))
    checked = [outcome for claim in claims for outcome in claim(run, scores, curves)]
    metric = next((str(rows["metric"].iloc[0]) for rows in (scores, curves) if len(rows)), "")
    if sign(metric) < 0:
        return [dataclasses.replace(outcome, claim=f"{outcome.claim} (by minus {metric})") for outcome in checked]
    return checked


def comparison_claims(run: RunFolder) -> list[Outcome]:
    """The comparisons that come with a claim in words, by their paired test over model pairs.

    By linear predictivity, in each direction; comparisons without a test are left out.
    """
    found = []
    for experiment in run.experiments:
        rows = run.of("statistics", str(experiment["id"]))
        for comparison in experiment.get("comparisons", ()):
            if comparison.get("claim") and len(rows):
                tested = rows.loc[(rows["comparison"] == comparison["name"]) & (rows["metric"] == _METRIC)]
                tested = tested.dropna(subset="mean_difference")
                found += [_tested(row, str(comparison["claim"])) for row in tested.to_dict("records")]
    return found


def _tested(row: Mapping[str, Any], claim: str) -> Outcome:
    """A comparison, with its interval over vision and language models as crossed factors."""
    means = (row["mean_lower"], row["mean_higher"])
    interval = (row[name] for name in ("mean_difference", "crossed_ci_low", "crossed_ci_high"))
    reasons = [row[name] for name in ("crossed_note", "note") if isinstance(row.get(name), str) and row[name]]
    words = f"{DIRECTION_WORDS[row['direction']]}: {claim}"
    return raised(words, means, *interval, untested=reasons[0] if reasons else "too few model pairs")


def _of_main_metric(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of linear predictivity; without any, those of the first metric of which higher is more alike, or else those
    of the first distance."""
    metrics = sorted(dict.fromkeys(rows["metric"]), key=sign, reverse=True)
    main = _METRIC if _METRIC in metrics else metrics[0] if metrics else ""
    return rows.loc[rows["metric"] == main]


def _oriented(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of one metric, of a distance with its negative."""
    if rows.empty or sign(str(rows["metric"].iloc[0])) > 0:
        return rows
    return rows.assign(**{name: -rows[name] for name in ("score", "null_mean") if name in rows})


def rises_with_depth(run: RunFolder, scores: pd.DataFrame, curves: pd.DataFrame) -> list[Outcome]:
    """In each direction, late vision layers align better than early ones."""
    maps, found = _directed_maps(scores), []
    for direction in (LANGUAGE_TO_VISION, VISION_TO_LANGUAGE) if len(maps) else ():
        rows = maps.loc[maps["direction"] == direction]
        early, late = (_best(rows.loc[part]) for part in _thirds(rows, "vision"))
        claim = f"{DIRECTION_WORDS[direction]}: low in early vision layers, higher in late ones"
        found.append(difference(claim, early, late))
    return found


def early_language_predicts(run: RunFolder, scores: pd.DataFrame, curves: pd.DataFrame) -> list[Outcome]:
    """Early language layers already predict vision, and early vision layers do not yet predict language."""
    maps, ratios = _directed_maps(scores), {}
    if maps.empty or sign(str(maps["metric"].iloc[0])) < 0:
        return []  # a share of the best score is that of a measure which grows from 0
    for direction, side in ((LANGUAGE_TO_VISION, "language"), (VISION_TO_LANGUAGE, "vision")):
        rows = maps.loc[maps["direction"] == direction]
        ratios[direction] = _best(rows.loc[_thirds(rows, side)[0]]) / _best(rows)
    early_language, early_vision = ratios[LANGUAGE_TO_VISION], ratios[VISION_TO_LANGUAGE]
    share = f"early language layers reach {early_language.mean():.0%} of the best score"
    share += f", early vision layers {early_vision.mean():.0%} in the other direction"
    gap = early_language - early_vision
    claim = "Early language layers already predict vision; vision predicts language only with depth"
    return [Outcome(claim, share, _above(gap))]


def _directed_maps(scores: pd.DataFrame) -> pd.DataFrame:
    """Layer maps with depths; no rows where they are not there in both directions."""
    maps = run_folder.layer_maps(scores)
    both = {LANGUAGE_TO_VISION, VISION_TO_LANGUAGE} <= set(maps["direction"])
    return with_depth(maps) if both else maps.iloc[:0]


def with_depth(maps: pd.DataFrame) -> pd.DataFrame:
    """Rows of layer maps with the relative depths of their layers; the final norms are left out."""
    found = maps.assign(**{f"{side}_depth": depths_of(maps, side) for side in ("vision", "language")})
    return found.dropna(subset=["vision_depth", "language_depth"])


def _thirds(rows: pd.DataFrame, side: str) -> tuple[pd.Series, pd.Series]:
    return rows[f"{side}_depth"] <= 1 / 3, rows[f"{side}_depth"] >= 2 / 3


def _best(rows: pd.DataFrame) -> pd.Series:
    return rows.groupby(PAIR, sort=False)["score"].max()


def lies_below(low: str, high: str, directions: tuple[str, ...], claim: str) -> Claim:
    """One condition scores less than another.

    Args:
      low: Name of the condition that scores less.
      high: Name of the condition that scores more.
      directions: Directions for which the claim is made.
      claim: The claim in words.
    """

    def claims(run: RunFolder, scores: pd.DataFrame, curves: pd.DataFrame) -> list[Outcome]:
        rows, found = scalars(scores), []
        for direction in directions if {low, high} <= set(rows["condition"]) else ():
            own = rows.loc[rows["direction"] == direction]
            wide = scores_by_pair(own, "condition", [low, high])
            if len(wide):
                words = f"{DIRECTION_WORDS[direction]}: {claim}"
                found.append(difference(words, wide[low], wide[high]))
        return found

    return claims


def never_falls(word: str) -> Claim:
    """The mean over pairs never falls by more than rounding from one count to the next.

    Args:
      word: The series, and what it averages: "captions" or "images".
    """

    def claims(run: RunFolder, scores: pd.DataFrame, curves: pd.DataFrame) -> list[Outcome]:
        found = []
        for direction, rows in _series(curves, word).groupby("direction", sort=False):
            steps = np.diff(rows.groupby("k")["score"].mean().sort_index().to_numpy(float))
            claim = f"{DIRECTION_WORDS[str(direction)]}: every further one of the {word} raises alignment"
            if len(steps):
                words = (
                    f"{(steps > 0).sum()} of {len(steps)} steps rise, the largest fall is {max(-steps.min(), 0):.3f}"
                )
                found.append(Outcome(claim, words, bool((steps > -_ROUNDING).all())))
        return found

    return claims


def flattens(word: str, direction: str, near: int, within: int) -> Claim:
    """A curve reaches its plateau near a count; a run with shorter curves cannot say.

    Args:
      word: The series, and what it averages.
      direction: The direction for which the claim is made.
      near: The count.
      within: How far from it the plateau may begin.
    """

    def claims(run: RunFolder, scores: pd.DataFrame, curves: pd.DataFrame) -> list[Outcome]:
        own = _series(curves, word)
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


def gains_more(word: str, more: str, less: str) -> Claim:
    """Averaging raises one direction more than the other.

    Args:
      word: The series, and what it averages.
      more: The direction that gains more.
      less: The other direction.
    """

    def claims(run: RunFolder, scores: pd.DataFrame, curves: pd.DataFrame) -> list[Outcome]:
        own = _series(curves, word)
        gains = {direction: gain(own.loc[own["direction"] == direction]) for direction in (less, more)}
        if any(each.empty for each in gains.values()):
            return []
        claim = f"averaging {word}: {DIRECTION_WORDS[more]} gains more than the other direction"
        return [difference(claim, *gains.values())]

    return claims


def _series(curves: pd.DataFrame, name: str) -> pd.DataFrame:
    """The rows of one series."""
    return curves.loc[curves["series"] == name] if len(curves) else curves


def gain(rows: pd.DataFrame) -> pd.Series:
    """By model pair, the score at the largest count less that at the smallest, of the rows of one series."""
    if rows.empty:
        return pd.Series(dtype=float)
    wide = scores_by_pair(rows, "k", sorted(rows["k"].unique()))
    return wide.iloc[:, -1] - wide.iloc[:, 0]


def stays_flat(run: RunFolder, scores: pd.DataFrame, curves: pd.DataFrame) -> list[Outcome]:
    """Every series stays at about 0."""
    found = []
    for (direction, name), rows in curves.groupby(["direction", "series"], sort=False):
        means = rows.groupby("k")["score"].mean()
        claim = f"{DIRECTION_WORDS[str(direction)]}: {spoken(str(name))} stay flat at about 0"
        words = f"means over pairs from {number(means.min())} to {number(means.max())}"
        found.append(Outcome(claim, words, bool(means.abs().max() < _FLAT)))
    return found


def models_ordered(orderings: Sequence[tuple[str, str]]) -> Claim:
    """One vision model scores more than another at the end of its curves.

    Every language model counts once: what is averaged and the two directions are no further pairs.

    Args:
      orderings: Pairs of the names of vision models, the higher one first.
    """

    def claims(run: RunFolder, scores: pd.DataFrame, curves: pd.DataFrame) -> list[Outcome]:
        most, found = _largest_counts(curves), []
        means = most.groupby(["vision_model", "language_model"])["score"].mean()
        models = set(most["vision_model"])
        for high, low in orderings if len(most) else ():
            claim = f"{high} above {low}"
            if {high, low} <= models:
                found.append(difference(claim, means[low], means[high]))
            else:
                found.append(Outcome(claim, "these vision models are not in this run", None))
        return found

    return claims


def models_differ_more(more: str, less: str, claim: str) -> Claim:
    """Vision models differ more in one direction than in the other, by the standard deviation of their means.

    Args:
      more: The direction in which they differ more.
      less: The other direction.
      claim: The claim in words.
    """

    def claims(run: RunFolder, scores: pd.DataFrame, curves: pd.DataFrame) -> list[Outcome]:
        most, found = _largest_counts(curves), []
        spread = most.groupby(["series", "direction", "vision_model"])["score"].mean()
        spread = spread.groupby(["series", "direction"]).std().unstack("direction")
        if {more, less} <= set(spread):
            for name, row in spread.iterrows():
                words = f"standard deviation {row[more]:.3f} against {row[less]:.3f}"
                found.append(Outcome(f"{spoken(str(name))}: {claim}", words, bool(row[more] > row[less])))
        return found

    return claims


def _largest_counts(curves: pd.DataFrame) -> pd.DataFrame:
    return curves.loc[curves["k"] == curves.groupby("series")["k"].transform("max")]


def gains_less(first: str, second: str) -> Claim:
    """Averaging one thing raises alignment less than averaging another.

    Args:
      first: The series that gains less, such as "images".
      second: The series that gains more.
    """

    def claims(run: RunFolder, scores: pd.DataFrame, curves: pd.DataFrame) -> list[Outcome]:
        gains = [gain(_series(curves, word)) for word in (first, second)]
        if any(each.empty for each in gains):
            return []
        return [difference(f"averaging {first} gains less than averaging {second}", *gains)]

    return claims


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
    return bool(low > 0) if np.isfinite(low) else None


def grows(experiment: Mapping[str, Any], words: str) -> Claim:
    """Alignment with the vision models rises with the size, or with a falling loss, of the language models.

    By Spearman's rank correlation over language models, of the mean over vision models; its one-sided p-value is
    exact, over all orders of the language models (Spearman, 1904). Fewer than four of them cannot say: the smallest
    p-value would be above .05.

    Args:
      experiment: As of `growth`.
      words: What grows, in words.
    """

    def claims(run: RunFolder, scores: pd.DataFrame, curves: pd.DataFrame) -> list[Outcome]:
        rows, found = growth(run, experiment), []
        for (metric, direction), of_metric in rows.groupby(["metric", "direction"], sort=False):
            table = of_metric.pivot_table(index="language_model", columns="vision_model", values="score", sort=False)
            table = table.dropna(axis="columns")
            sizes = of_metric.groupby("language_model", sort=False)["growth"].first().loc[table.index]
            growing = (-1.0 if experiment["against"] == "loss" else 1.0) * sign(str(metric))
            side = "" if direction == "symmetric" else f"{DIRECTION_WORDS[str(direction)]}, "
            claim = f"{side}{metric_words(str(metric))}: alignment rises with {words}"
            if len(table) < _FEWEST_MODELS or table.shape[1] == 0:
                found.append(Outcome(claim, f"{len(table)} language models, fewer than {_FEWEST_MODELS}", None))
                continue
            rho, p = _rank_correlation(growing * sizes.to_numpy(float), table.mean(axis="columns").to_numpy(float))
            said = f"rank correlation {number(rho, 2)} over {len(table)} language models, p {p_value(p)}"
            found.append(Outcome(claim, said, bool(rho > 0 and p < 0.05)))
        return found

    return claims


def _rank_correlation(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Spearman's correlation, and its one-sided p-value over all orders, or over 9,999 random ones of more than 7."""
    tested = stats.permutation_test(
        (x,),
        lambda x: stats.spearmanr(x, y).statistic,
        permutation_type="pairings",
        alternative="greater",
        n_resamples=9999,
        rng=np.random.default_rng(0),
    )
    return float(tested.statistic), float(tested.pvalue)


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What a run says of an experiment of the paper.

    Attributes:
      words: "agrees", "agrees in part", "differs", "not run", "too few pairs", "no test" or "no claim to
        compare".
      tally: What that rests on, in words.
    """

    words: str
    tally: str


def verdict(experiment: Mapping[str, Any], statistics: pd.DataFrame, outcomes: Sequence[Outcome]) -> Verdict:
    """The verdict of an experiment.

    A printed test agrees if its sign and its side of .05 are the paper's; a claim in words if it holds. "agrees": all
    of them; "differs": fewer than half; "agrees in part" else. What was not run, not tested or could not be decided is
    not counted; "not run" also where all tests are rows that were not run and there is no other claim.
    """
    if experiment["status"] == NOT_RUN:
        return Verdict(NOT_RUN, str(experiment.get("why", "")))
    found = Counter(statistics["verdict"])
    held, failed, open_ = (sum(each.holds is truth for each in outcomes) for truth in (True, False, None))
    alike = sum(found[one] for one in AGREE)
    compared, agree = alike + found[SIGN] + found[DIFFERS], alike + held
    total = compared + held + failed
    parts = [
        f"{alike} of {compared} comparisons as in the paper" if compared else "",
        f"{found[SIGN]} with its sign alone" if found[SIGN] else "",
        f"{held} of {held + failed} {'further ' * bool(compared)}claims hold" if held + failed else "",
        f"{open_} that this run cannot decide" if open_ else "",
        f"{found[FEW]} with too few model pairs" if found[FEW] else "",
        f"{found[ALIKE]} without a test: all model pairs differ alike" if found[ALIKE] else "",
        f"{found[NOT_RUN]} not run" if found[NOT_RUN] else "",
    ]
    tally = ", ".join(part for part in parts if part)
    if not total:
        unrun = found[NOT_RUN] and found[NOT_RUN] == len(statistics) and not outcomes
        untested = next((one for one in (FEW, ALIKE) if found[one]), "")
        return Verdict(untested or (NOT_RUN if unrun else "no claim to compare"), tally)
    words = "agrees" if agree == total else "differs" if agree < total / 2 else "agrees in part"
    return Verdict(words, tally)
