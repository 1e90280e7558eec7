"""What the study is about, in a handful of claims over all its experiments, each held against the run."""

from collections.abc import Iterator

import pandas as pd

from vla.experiments.penultimate import scalars
from vla.report.figures.pairs import PAIR, scores_by_pair
from vla.report.figures.style import DIRECTION_WORDS
from vla.report.outcomes import Outcome, difference, outcomes, raised
from vla.report.run_folder import RunFolder

_IMAGES = "E2"
_SEMANTIC, _APPEARANCE = ("things only", "stuff only"), ("grayscale", "rotation")
_TESTED = (
    ("Untrained", "training", "trained networks are more aligned than the same networks before training"),
    ("E6", "captions averaged", "averaging captions raises alignment"),
    ("E7", "images averaged", "averaging images raises alignment"),
)


def main_claims(run: RunFolder) -> list[Outcome]:
    """Whether alignment is learned, above chance, rises with depth, is about meaning, and rises with averaging.

    By linear predictivity, in each direction; of claims for which the run has no data there is nothing.
    """
    learned, *averaged = (list(_tested(run, *one)) for one in _TESTED)
    deep = [one for one in outcomes(run, {"id": "E1"}) if ": low in early" in one.claim]
    return [*learned, *_above_chance(run), *deep, *_about_meaning(run), *(one for each in averaged for one in each)]


def _tested(run: RunFolder, experiment: str, comparison: str, claim: str) -> Iterator[Outcome]:
    """A comparison, with its interval over vision and language models as crossed factors."""
    rows = run.of("statistics", experiment)
    if rows.empty:
        return
    rows = rows.loc[(rows["comparison"] == comparison) & (rows["metric"] == "linear_predictivity")]
    for row in rows.dropna(subset="mean_difference").to_dict("records"):
        means, values = (
            (row["mean_lower"], row["mean_higher"]),
            ("mean_difference", "crossed_ci_low", "crossed_ci_high"),
        )
        reasons = [row[name] for name in ("crossed_note", "note") if isinstance(row.get(name), str) and row[name]]
        why = reasons[0] if reasons else "too few model pairs"
        yield raised(
            f"{DIRECTION_WORDS[row['direction']]}: {claim}", means, *(row[name] for name in values), untested=why
        )


def _above_chance(run: RunFolder) -> Iterator[Outcome]:
    for direction, rows in _originals(run).groupby("direction", sort=False):
        rows = rows.dropna(subset=["score", "null_mean"]).set_index(PAIR)
        if len(rows):
            claim = f"{DIRECTION_WORDS[str(direction)]}: above the same with items shuffled"
            yield difference(claim, rows["null_mean"], rows["score"])


def _about_meaning(run: RunFolder) -> Iterator[Outcome]:
    """What is left after manipulations of either kind; the less, the more they took."""
    rows = _scalars(run, _IMAGES)
    if not {*_SEMANTIC, *_APPEARANCE} <= set(rows["condition"]):
        return
    for direction, own in rows.groupby("direction", sort=False):
        wide = scores_by_pair(own, "condition", [*_SEMANTIC, *_APPEARANCE])
        claim = (
            f"{DIRECTION_WORDS[str(direction)]}: images without their things or stuff score less than images whose "
            "look alone was changed (grayscale, rotation)"
        )
        yield difference(claim, wide[list(_SEMANTIC)].mean(axis=1), wide[list(_APPEARANCE)].mean(axis=1))


def _originals(run: RunFolder) -> pd.DataFrame:
    """Scores of images and captions as they are."""
    rows = _scalars(run, _IMAGES)
    rows = rows.loc[rows["condition"] == "original"]
    if rows.empty:
        rows = _scalars(run, "E1")
    return rows


def _scalars(run: RunFolder, experiment: str) -> pd.DataFrame:
    rows = scalars(run.of("scores", experiment))
    return rows.loc[rows["metric"] == "linear_predictivity"]
