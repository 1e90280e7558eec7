"""Claims that a paper makes in words beyond its printed tests, checked against a run.

A claim is a function of a run and the tables of one experiment. Papers compose their claims from the functions here.
Differences are taken within model pairs; "more" and "less" hold if the 95 % interval over vision and language models as
crossed factors excludes 0.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from vla.alignment.paired import crossed_test, paired_test
from vla.experiments.experiment import Outcome
from vla.experiments.results import AGREE, ALIKE, DIFFERS, FEW, NOT_RUN, SIGN, scalars
from vla.metrics.registry import sign
from vla.report import run_folder
from vla.report.figures.layer_maps import depths_of
from vla.report.figures.style import PAIR, direction_words, metric_words, scores_by_pair, spoken
from vla.report.illustrations import plateau_marks
from vla.report.run_folder import RunFolder, growth
from vla.report.words import number, p_value

LANGUAGE_TO_VISION, VISION_TO_LANGUAGE = "language_to_vision", "vision_to_language"
_METRIC = "linear_predictivity"
_FLAT, _ROUNDING = 0.05, 0.0005
_FEWEST_MODELS = 4

Claim = Callable[[RunFolder, pd.DataFrame, pd.DataFrame], Iterable[Outcome]]
"""A function of a run and of the scores and curves of one experiment to the outcomes of a claim, none without data."""


def outcomes(run: RunFolder, experiment: str, claims: Sequence[Claim]) -> list[Outcome]:
    """The outcomes of the claims about the experiment with that id; a claim without data has none."""
    # Claims assume that higher scores mean better alignment, so distances are negated.
    scores, curves = (_oriented(_of_main_metric(run.of(table, experiment))) for table in ("scores", "curves"))
    checked = [outcome for claim in claims for outcome in claim(run, scores, curves)]
    metric = next((str(rows["metric"].iloc[0]) for rows in (scores, curves) if len(rows)), "")
    if sign(metric) < 0:
        return [dataclasses.replace(outcome, claim=f"{outcome.claim} (by minus {metric})") for outcome in checked]
    return checked


def comparison_claims(run: RunFolder) -> list[Outcome]:
    """The outcomes of comparisons that state a claim, by linear predictivity in each direction.

    Comparisons without a test are left out.
    """
    results = []
    for experiment in run.experiments:
        rows = run.of("statistics", str(experiment["id"]))
        for comparison in experiment.get("comparisons", ()):
            if comparison.get("claim") and len(rows):
                tested = rows.loc[(rows["comparison"] == comparison["name"]) & (rows["metric"] == _METRIC)]
                tested = tested.dropna(subset="mean_difference")
                results += [_tested(row, str(comparison["claim"])) for row in tested.to_dict("records")]
    return results


def _tested(row: Mapping[str, Any], claim: str) -> Outcome:
    """The outcome of a comparison, with its interval over vision and language models as crossed factors."""
    means = (row["mean_lower"], row["mean_higher"])
    interval = (row[name] for name in ("mean_difference", "crossed_ci_low", "crossed_ci_high"))
    reasons = [row[name] for name in ("crossed_note", "note") if isinstance(row.get(name), str) and row[name]]
    words = f"{direction_words(row['direction'])}: {claim}"
    return raised(words, means, *interval, untested=reasons[0] if reasons else "too few model pairs")


def _of_main_metric(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of linear predictivity; without them, rows of the first similarity, or else of the first distance."""
    metrics = sorted(dict.fromkeys(rows["metric"]), key=sign, reverse=True)
    main = _METRIC if _METRIC in metrics else metrics[0] if metrics else ""
    return rows.loc[rows["metric"] == main]


def _oriented(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of one metric; a distance is negated."""
    if rows.empty or sign(str(rows["metric"].iloc[0])) > 0:
        return rows
    return rows.assign(**{name: -rows[name] for name in ("score", "null_mean") if name in rows})


def rises_with_depth(run: RunFolder, scores: pd.DataFrame, curves: pd.DataFrame) -> Iterator[Outcome]:
    """In each direction, late vision layers align better than early ones."""
    for direction, rows in _directed_maps(scores).items():
        early, late = (_best(rows.loc[part]) for part in _thirds(rows, "vision"))
        claim = f"{direction_words(direction)}: low in early vision layers, higher in late ones"
        yield difference(claim, early, late)


def early_language_predicts(run: RunFolder, scores: pd.DataFrame, curves: pd.DataFrame) -> Iterator[Outcome]:
    """Early language layers already predict vision, and early vision layers do not yet predict language."""
    maps, ratios = _directed_maps(scores), []
    if not maps or sign(str(scores["metric"].iloc[0])) < 0:
        return  # a share of the best score needs a similarity
    for direction, side in ((LANGUAGE_TO_VISION, "language"), (VISION_TO_LANGUAGE, "vision")):
        rows = maps[direction]
        ratios.append(_best(rows.loc[_thirds(rows, side)[0]]) / _best(rows))
    early_language, early_vision = ratios
    share = f"early language layers reach {early_language.mean():.0%} of the best score"
    share += f", early vision layers {early_vision.mean():.0%} in the other direction"
    low = _interval((early_language - early_vision).dropna())[1]
    claim = "Early language layers already predict vision; vision predicts language only with depth"
    yield Outcome(claim, share, bool(low > 0) if np.isfinite(low) else None)


def _directed_maps(scores: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Layer maps with depths by direction; {} unless they exist in both."""
    maps, directions = run_folder.layer_maps(scores), (LANGUAGE_TO_VISION, VISION_TO_LANGUAGE)
    rows = with_depth(maps) if set(directions) <= set(maps["direction"]) else maps.iloc[:0]
    return {direction: rows.loc[rows["direction"] == direction] for direction in directions} if len(rows) else {}


def with_depth(maps: pd.DataFrame) -> pd.DataFrame:
    """Rows of layer maps with the relative depths of their layers, without final norms."""
    placed = maps.assign(**{f"{side}_depth": depths_of(maps, side) for side in ("vision", "language")})
    return placed.dropna(subset=["vision_depth", "language_depth"])


def _thirds(rows: pd.DataFrame, side: str) -> tuple[pd.Series, pd.Series]:
    return rows[f"{side}_depth"] <= 1 / 3, rows[f"{side}_depth"] >= 2 / 3


def _best(rows: pd.DataFrame) -> pd.Series:
    return rows.groupby(PAIR, sort=False)["score"].max()


def lies_below(low: str, high: str, directions: tuple[str, ...], claim: str) -> Claim:
    """The condition `low` scores less than the condition `high` in these directions; `claim` says it in words."""

    def claims(run: RunFolder, scores: pd.DataFrame, curves: pd.DataFrame) -> Iterator[Outcome]:
        rows = scalars(scores)
        for direction in directions if {low, high} <= set(rows["condition"]) else ():
            wide = scores_by_pair(rows.loc[rows["direction"] == direction], "condition", [low, high])
            if len(wide):
                yield difference(f"{direction_words(direction)}: {claim}", wide[low], wide[high])

    return claims


def never_falls(word: str) -> Claim:
    """The mean over pairs never falls by more than rounding as more `word` ("captions" or "images") are averaged."""

    def claims(run: RunFolder, scores: pd.DataFrame, curves: pd.DataFrame) -> Iterator[Outcome]:
        for direction, rows in _series(curves, word).groupby("direction", sort=False):
            steps = np.diff(rows.groupby("k")["score"].mean().sort_index().to_numpy(float))
            if len(steps):
                claim = f"{direction_words(direction)}: alignment rises with every further number of {word}"
                largest = max(-steps.min(), 0)
                words = f"{(steps > 0).sum()} of {len(steps)} steps rise; the largest fall is {largest:.3f}"
                yield Outcome(claim, words, bool((steps > -_ROUNDING).all()))

    return claims


def flattens(word: str, direction: str, near: int, within: int) -> Claim:
    """The plateau of a curve over numbers of `word` begins at `near`, give or take `within`; undecided if shorter."""

    def claims(run: RunFolder, scores: pd.DataFrame, curves: pd.DataFrame) -> Iterator[Outcome]:
        points = _series(curves, word)
        points = points.loc[points["direction"] == direction]
        claim = f"{direction_words(direction)}: flattens near {near} {word}"
        if points.empty:
            return
        if points["k"].max() < near:
            yield Outcome(claim, f"the run averages {points['k'].max():g} {word} at most", None)
            return
        rows = run.of("plateaus", str(points["experiment"].iloc[0]))
        rows = rows.loc[(rows["metric"] == points["metric"].iloc[0]) & (rows["direction"] == direction)]
        marks = plateau_marks(rows.loc[rows["series"].isin(points["series"])])
        if not marks:
            yield Outcome(claim, "the curve does not flatten within its counts", False)
            return
        at, low, high = next(iter(marks.values()))
        words = f"95 % of the gain at {at:.1f}"
        if np.isfinite(low):
            words += f" (95 % interval {low:.1f} to {high:.1f})".replace("inf", "beyond")
        holds = np.nanmin([low, at]) <= near + within and np.nanmax([high, at]) >= near - within
        yield Outcome(claim, words, bool(holds))

    return claims


def gains_more(word: str, more: str, less: str) -> Claim:
    """Averaging `word` raises the direction `more` more than the direction `less`."""

    def claims(run: RunFolder, scores: pd.DataFrame, curves: pd.DataFrame) -> Iterator[Outcome]:
        points = _series(curves, word)
        gains = [gain(points.loc[points["direction"] == direction]) for direction in (less, more)]
        if not any(each.empty for each in gains):
            claim = f"averaging {word}: {direction_words(more)} gains more than the other direction"
            yield difference(claim, *gains)

    return claims


def _series(curves: pd.DataFrame, name: str) -> pd.DataFrame:
    """The rows of one series."""
    return curves.loc[curves["series"] == name] if len(curves) else curves


def gain(rows: pd.DataFrame) -> pd.Series:
    """The score at the largest count minus that at the smallest, by model pair, of the rows of one series."""
    if rows.empty:
        return pd.Series(dtype=float)
    wide = scores_by_pair(rows, "k", sorted(rows["k"].unique()))
    return wide.iloc[:, -1] - wide.iloc[:, 0]


def stays_flat(run: RunFolder, scores: pd.DataFrame, curves: pd.DataFrame) -> Iterator[Outcome]:
    """Every series stays at about 0."""
    for (direction, name), rows in curves.groupby(["direction", "series"], sort=False):
        means = rows.groupby("k")["score"].mean()
        claim = f"{direction_words(direction)}: {spoken(str(name))} stay flat at about 0"
        words = f"means over pairs from {number(means.min())} to {number(means.max())}"
        yield Outcome(claim, words, bool(means.abs().max() < _FLAT))


def models_ordered(orderings: Sequence[tuple[str, str]]) -> Claim:
    """The first vision model of each pair of names scores more than the second at the end of its curves.

    Series and directions are averaged first, so every language model counts once.
    """

    def claims(run: RunFolder, scores: pd.DataFrame, curves: pd.DataFrame) -> Iterator[Outcome]:
        most = _largest_counts(curves)
        means = most.groupby(["vision_model", "language_model"])["score"].mean()
        for high, low in orderings if len(most) else ():
            if {high, low} <= set(most["vision_model"]):
                yield difference(f"{high} above {low}", means[low], means[high])
            else:
                yield Outcome(f"{high} above {low}", "the run lacks one of these vision models", None)

    return claims


def models_differ_more(more: str, less: str, claim: str) -> Claim:
    """The means of vision models have a larger standard deviation in the direction `more` than in `less`."""

    def claims(run: RunFolder, scores: pd.DataFrame, curves: pd.DataFrame) -> Iterator[Outcome]:
        spread = _largest_counts(curves).groupby(["series", "direction", "vision_model"])["score"].mean()
        spread = spread.groupby(["series", "direction"]).std().unstack("direction")
        if {more, less} <= set(spread):
            for name, row in spread.iterrows():
                words = f"standard deviation {row[more]:.3f} against {row[less]:.3f}"
                yield Outcome(f"{spoken(str(name))}: {claim}", words, bool(row[more] > row[less]))

    return claims


def _largest_counts(curves: pd.DataFrame) -> pd.DataFrame:
    return curves.loc[curves["k"] == curves.groupby("series")["k"].transform("max")]


def gains_less(first: str, second: str) -> Claim:
    """Averaging the series `first`, such as "images", raises alignment less than averaging the series `second`."""

    def claims(run: RunFolder, scores: pd.DataFrame, curves: pd.DataFrame) -> Iterator[Outcome]:
        gains = [gain(_series(curves, word)) for word in (first, second)]
        if not any(each.empty for each in gains):
            yield difference(f"averaging {first} gains less than averaging {second}", *gains)

    return claims


def difference(claim: str, lower: pd.Series, higher: pd.Series) -> Outcome:
    """The outcome of the claim that the second scores are higher than the first within pairs.

    Scores are by model pair; or by the models of one side, if single models of the other side are compared.
    """
    both = pd.DataFrame({"lower": lower, "higher": higher}).dropna()
    if both.empty:
        return Outcome(claim, "no model pair has both", None)
    return raised(claim, (both["lower"].mean(), both["higher"].mean()), *_interval(both["higher"] - both["lower"]))


def raised(
    claim: str, means: tuple[float, float], gap: float, low: float, high: float, untested: str = "one pair"
) -> Outcome:
    """The outcome of the claim that a mean difference is above 0.

    Args:
      claim: The claim in words.
      means: Means over pairs of the scores that should be lower and of those that should be higher.
      gap: Their mean difference within pairs.
      low: Lower end of its interval; not finite without one.
      high: Upper end of its interval.
      untested: Why there is no interval.
    """
    words = f"{number(means[0])} against {number(means[1])}, difference {number(gap, sign=True)}"
    if not np.isfinite(low):
        return Outcome(claim, f"{words} (no interval: {untested})", None)
    return Outcome(claim, f"{words} [{number(low, sign=True)}, {number(high, sign=True)}]", bool(low > 0))


def _interval(differences: pd.Series) -> tuple[float, float, float, str]:
    """Mean, ends of its 95 % interval, and why there is none: crossed over pairs, or Student's over one side."""
    if differences.index.nlevels == len(PAIR):
        by_pair = differences.groupby(level=PAIR, sort=False).mean()  # over seeds of the folds
        test = crossed_test(by_pair, *(by_pair.index.get_level_values(name) for name in PAIR))
    else:
        test = paired_test(differences, np.zeros(len(differences)))
    return test.mean_difference, test.ci_low, test.ci_high, test.note


def grows(experiment: Mapping[str, Any], words: str) -> Claim:
    """Alignment with the vision models rises with the size, or with a falling loss, of the language models.

    The test is Spearman's rank correlation over language models, of the mean over vision models, with an exact
    one-sided p-value over all orders of the language models (Spearman, 1904). With fewer than four models the claim
    is undecided, because p cannot fall below .05. `experiment` is as of `growth`; `words` say what grows.
    """

    def claims(run: RunFolder, scores: pd.DataFrame, curves: pd.DataFrame) -> Iterator[Outcome]:
        for (metric, direction), rows in growth(run, experiment).groupby(["metric", "direction"], sort=False):
            table = rows.pivot_table(index="language_model", columns="vision_model", values="score", sort=False)
            table = table.dropna(axis="columns")
            sizes = rows.groupby("language_model", sort=False)["growth"].first().loc[table.index]
            growing = (-1.0 if experiment["against"] == "loss" else 1.0) * sign(str(metric))
            side = "" if direction == "symmetric" else f"{direction_words(direction)}, "
            claim = f"{side}{metric_words(str(metric))}: alignment rises with {words}"
            if len(table) < _FEWEST_MODELS or table.shape[1] == 0:
                yield Outcome(claim, f"{len(table)} language models, fewer than {_FEWEST_MODELS}", None)
                continue
            rho, p = _rank_correlation(growing * sizes.to_numpy(float), table.mean(axis="columns").to_numpy(float))
            result = f"rank correlation {number(rho, 2)} over {len(table)} language models, p {p_value(p)}"
            yield Outcome(claim, result, bool(rho > 0 and p < 0.05))

    return claims


def _rank_correlation(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Spearman's correlation and its one-sided p-value, over all orders, or over 9,999 random ones for more than 7."""
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
    """Whether an experiment agrees with the paper.

    Attributes:
      words: "agrees", "agrees in part", "differs", "not run", "too few pairs", "no test" or "no claim to compare".
      tally: The basis of the verdict, in words.
    """

    words: str
    tally: str


def verdict(experiment: Mapping[str, Any], statistics: pd.DataFrame, outcomes: Sequence[Outcome]) -> Verdict:
    """The verdict of an experiment.

    A printed test agrees if its sign and its significance (at .05) are those of the paper, a claim if it holds.
    "agrees": all of them; "differs": fewer than half; "agrees in part" otherwise. Tests that were not run and
    undecided claims do not count; the verdict is "not run" if no test was run and there is no claim.
    """
    if experiment["status"] == NOT_RUN:
        return Verdict(NOT_RUN, str(experiment.get("why", "")))
    counts = Counter(statistics["verdict"])
    held, failed, open_ = (sum(each.holds is truth for each in outcomes) for truth in (True, False, None))
    alike = sum(counts[name] for name in AGREE)
    compared, agree = alike + counts[SIGN] + counts[DIFFERS], alike + held
    total = compared + held + failed
    parts = [
        f"{alike} of {compared} comparisons as in the paper" if compared else "",
        f"{counts[SIGN]} with the same sign alone" if counts[SIGN] else "",
        f"{held} of {held + failed} {'further ' * bool(compared)}claims hold" if held + failed else "",
        f"{open_} undecided" if open_ else "",
        f"{counts[FEW]} with too few model pairs" if counts[FEW] else "",
        f"{counts[ALIKE]} without a test: all model pairs differ by the same amount" if counts[ALIKE] else "",
        f"{counts[NOT_RUN]} not run" if counts[NOT_RUN] else "",
    ]
    tally = ", ".join(part for part in parts if part)
    if not total:
        unrun = counts[NOT_RUN] and counts[NOT_RUN] == len(statistics) and not outcomes
        untested = next((name for name in (FEW, ALIKE) if counts[name]), "")
        return Verdict(untested or (NOT_RUN if unrun else "no claim to compare"), tally)
    words = "agrees" if agree == total else "differs" if agree < total / 2 else "agrees in part"
    return Verdict(words, tally)
