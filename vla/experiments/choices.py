"""The choices that the text of the paper leaves open, as named settings."""

import dataclasses
from typing import Any

from vla.checks import check_choice, check_whole_number
from vla.metrics.ridge_settings import find_protocol


@dataclasses.dataclass(frozen=True)
class Choices:
    """Choices that the text of the paper leaves open; the defaults are its most likely reading.

    Attributes:
      protocol: "paper", or "khosla_lab": raw targets and statistics of the test fold, as in the metric code of the lab.
      inner_cv: How the penalty is chosen within the training fold: "loo" (exact leave-one-out) or a number of folds.
      alpha_per_target: One penalty for each target unit.
      standardize_targets: "protocol", or whether targets are z-scored by training statistics.
      test_statistics: "protocol", "train" or "test": the statistics that scale the test fold.
      constant_targets: "left_out" of the mean, or "zero": counted as r = 0.
      language_pool: "mean" over all tokens, "mean_no_bos" or "last".
      vision_pool: "cls" or "mean" over patches.
      caption: The caption of conditions with one caption: its index from 0, or "seeded" for a random one per item.
      human_captions: Number of human captions of an item that are averaged before paraphrases.
      clip_groups: "best_worst": the best against the worst caption of each item; "median": the mean of the two above
        the median against that of the two below.
      long_captions: Captions of more than the 77 tokens that CLIP reads: "refuse", or "truncate" as the authors of
        CLIP Score do.
      ties: Pick-a-Pic judgments that prefer neither image: "drop" or "refuse".
      grouped: Whether judgments of one prompt stay together in folds, halves, draws and permutations, for every metric.
      masked_fill: Colour of masked pixels: "black", "mean" or a colour.
      rotation_corners: Colour of the corners of rotated images, likewise.
      unmasked: Items without a mask that a condition needs: "refuse" or "drop".
      scramble_cut: Tokenizer of scrambled captions: "whitespace" or "spacy".
      empty_captions: Captions left empty by a filter: "drop" the item from all compared conditions, or "keep" it.
      averaging: "mean_first", or "z_score_first": the units of each exemplar are z-scored before the mean.
      synthetic_set: Images that are averaged: "synthetic" ones alone, or "with_photograph" as the first.
      family: Family of the Benjamini-Hochberg procedure: both directions "pooled", or each "direction".
      symmetric_items: Items for symmetric metrics: "all", or the mean over "test_folds".
    """

    protocol: str = "paper"
    inner_cv: str | int = "loo"
    alpha_per_target: bool = False
    standardize_targets: str | bool = "protocol"
    test_statistics: str = "protocol"
    constant_targets: str = "left_out"
    language_pool: str = "mean"
    vision_pool: str = "cls"
    caption: int | str = 0
    human_captions: int = 5
    clip_groups: str = "best_worst"
    long_captions: str = "refuse"
    ties: str = "drop"
    grouped: bool = True
    masked_fill: str = "black"
    rotation_corners: str = "black"
    unmasked: str = "refuse"
    scramble_cut: str = "whitespace"
    empty_captions: str = "drop"
    averaging: str = "mean_first"
    synthetic_set: str = "synthetic"
    family: str = "pooled"
    symmetric_items: str = "all"

    def __post_init__(self) -> None:
        """Check the values."""
        find_protocol(self.protocol)
        for name, allowed in ALTERNATIVES.items():
            check_choice(name, getattr(self, name), allowed)
        check_whole_number("caption", self.caption, 0, other=["seeded"])
        check_whole_number("human_captions", self.human_captions)

    def of_step(self, name: str, modality: str) -> dict[str, Any]:
        """Parameters of a manipulation that these choices change from their defaults."""
        masked = {"fill": self.masked_fill, "unmasked": self.unmasked}
        parameters = {
            ("things_only", "vision"): masked,
            ("stuff_only", "vision"): masked,
            ("rotation", "vision"): {"corners": self.rotation_corners},
            ("scrambled", "language"): {"cut": self.scramble_cut},
            ("nouns", "language"): {"empty": self.empty_captions},
            ("nouns_verbs", "language"): {"empty": self.empty_captions},
        }
        defaults = {"fill": "black", "unmasked": "refuse", "corners": "black", "cut": "whitespace", "empty": "drop"}
        changed = parameters.get((name, modality), {})
        return {key: value for key, value in changed.items() if value != defaults[key]}

    @property
    def overrides(self) -> dict[str, Any]:
        """Settings of ridge regression."""
        values = {"inner_cv": self.inner_cv, "alpha_per_target": self.alpha_per_target}
        for name in ("standardize_targets", "test_statistics"):
            if getattr(self, name) != "protocol":
                values[name] = getattr(self, name)
        return values


ALTERNATIVES: dict[str, tuple[Any, ...]] = {
    "alpha_per_target": (False, True),
    "standardize_targets": ("protocol", True, False),
    "test_statistics": ("protocol", "train", "test"),
    "constant_targets": ("left_out", "zero"),
    "language_pool": ("mean", "mean_no_bos", "last"),
    "vision_pool": ("cls", "mean"),
    "clip_groups": ("best_worst", "median"),
    "long_captions": ("refuse", "truncate"),
    "ties": ("drop", "refuse"),
    "grouped": (True, False),
    "unmasked": ("refuse", "drop"),
    "scramble_cut": ("whitespace", "spacy"),
    "empty_captions": ("drop", "keep"),
    "averaging": ("mean_first", "z_score_first"),
    "synthetic_set": ("synthetic", "with_photograph"),
    "family": ("pooled", "direction"),
    "symmetric_items": ("all", "test_folds"),
}

# The open point of the text that each setting decides, in the order of the table of the report.
POINTS = {
    "inner_cv": "choice of the penalty within the training fold",
    "alpha_per_target": "one penalty for all targets, or one per target",
    "standardize_targets": "whether targets are z-scored",
    "test_statistics": "whose statistics scale the test fold",
    "constant_targets": "constant target or constant prediction",
    "language_pool": "tokens of a caption in the mean",
    "vision_pool": "representation of an image",
    "caption": "caption of conditions with one caption",
    "human_captions": "human captions before paraphrases",
    "clip_groups": "groups of captions by CLIP Score",
    "long_captions": "captions too long for CLIP",
    "ties": "Pick-a-Pic ties",
    "grouped": "judgments of one prompt in folds",
    "masked_fill": "masked pixels",
    "rotation_corners": "corners of rotated images",
    "unmasked": "items without a mask",
    "scramble_cut": "units that are scrambled",
    "empty_captions": "caption left empty by a filter",
    "averaging": "order of averaging and z-scoring",
    "synthetic_set": "images that are averaged",
    "family": "family of Benjamini-Hochberg",
    "symmetric_items": "items of symmetric metrics",
    "protocol": "named protocol",
}
