"""The claims of the paper beyond its printed tests, as functions of a run."""

from collections.abc import Iterator

import pandas as pd

from vla.experiments.experiment import Outcome
from vla.experiments.results import scalars
from vla.report.claims import (
    LANGUAGE_TO_VISION,
    VISION_TO_LANGUAGE,
    Claim,
    difference,
    early_language_predicts,
    flattens,
    gains_less,
    gains_more,
    lies_below,
    models_differ_more,
    models_ordered,
    never_falls,
    outcomes,
    rises_with_depth,
    stays_flat,
)
from vla.report.figures.style import PAIR, direction_words, scores_by_pair
from vla.report.run_folder import RunFolder

_LAYERS = (rises_with_depth, early_language_predicts)
_BOTH = (LANGUAGE_TO_VISION, VISION_TO_LANGUAGE)
_AUGREG_IN1K, _AUGREG_IN21K = "vit_base_patch16_224.augreg_in1k", "vit_base_patch16_224.augreg_in21k"

CLAIMS: dict[str, tuple[Claim, ...]] = {
    "E1": _LAYERS,
    "E2": (lies_below("stuff only", "things only", _BOTH, "stuff only falls more than things only"),),
    "E3": (
        lies_below("scrambled", "nouns+verbs", _BOTH[1:], "scrambled falls more than nouns and verbs"),
        lies_below("scrambled", "nouns", _BOTH[1:], "scrambled falls more than nouns"),
    ),
    "E6": (never_falls("captions"), flattens("captions", VISION_TO_LANGUAGE, near=10, within=2)),
    "E7": (
        gains_more("images", LANGUAGE_TO_VISION, VISION_TO_LANGUAGE),
        flattens("images", LANGUAGE_TO_VISION, near=7, within=2),
    ),
    "E8": (stays_flat,),
    "E10": (
        models_ordered(
            (
                (_AUGREG_IN1K, "dino-vitb16"),
                (_AUGREG_IN1K, "deit-base-distilled-patch16-224"),
                ("dinov2-base", "dino-vitb16"),
                (_AUGREG_IN1K, _AUGREG_IN21K),
            )
        ),
        models_differ_more(*_BOTH, "vision models differ more when language predicts vision"),
    ),
    "E11": (gains_less("images", "captions"),),
    "E12": _LAYERS,
    "E13": _LAYERS,
}
"""Claims by the id of the experiment."""

_SEMANTIC, _APPEARANCE = ("things only", "stuff only"), ("grayscale", "rotation")


def main_claims(run: RunFolder) -> list[Outcome]:
    """The outcomes of the main claims by linear predictivity: above chance, rising with depth, about meaning.

    Claims without data are left out.
    """
    return [*_above_chance(run), *outcomes(run, "E1", (rises_with_depth,)), *_about_meaning(run)]


def _above_chance(run: RunFolder) -> Iterator[Outcome]:
    for direction, rows in _originals(run).groupby("direction", sort=False):
        rows = rows.dropna(subset=["score", "null_mean"]).set_index(PAIR)
        if len(rows):
            claim = f"{direction_words(direction)}: above scores with items shuffled"
            yield difference(claim, rows["null_mean"], rows["score"])


def _about_meaning(run: RunFolder) -> Iterator[Outcome]:
    """Scores without things or stuff against scores with a changed appearance."""
    rows = _scalars(run, "E2")
    if not {*_SEMANTIC, *_APPEARANCE} <= set(rows["condition"]):
        return
    for direction, rows_of_direction in rows.groupby("direction", sort=False):
        wide = scores_by_pair(rows_of_direction, "condition", [*_SEMANTIC, *_APPEARANCE])
        claim = (
            f"{direction_words(direction)}: images without their things or stuff score lower than images of "
            "changed appearance (grayscale, rotation)"
        )
        yield difference(claim, wide[list(_SEMANTIC)].mean(axis=1), wide[list(_APPEARANCE)].mean(axis=1))


def _originals(run: RunFolder) -> pd.DataFrame:
    """Scores of original images and captions."""
    rows = _scalars(run, "E2")
    rows = rows.loc[rows["condition"] == "original"]
    return _scalars(run, "E1") if rows.empty else rows


def _scalars(run: RunFolder, experiment: str) -> pd.DataFrame:
    rows = scalars(run.of("scores", experiment))
    return rows.loc[rows["metric"] == "linear_predictivity"]
