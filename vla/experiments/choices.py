"""Every choice that the paper's text leaves open, by name."""

import dataclasses
from typing import Any

from vla.checks import check_choice, check_whole_number
from vla.metrics import find_protocol


@dataclasses.dataclass(frozen=True)
class Choices:
    """The defaults are the paper's likeliest reading.

    Attributes:
      protocol: "paper", or "khosla_lab": raw targets and the test fold's own statistics, as in the lab's metric code.
      inner_cv: How the penalty is chosen in the training fold: "loo" (exact leave-one-out) or a number of folds.
      alpha_per_target: One penalty for each target unit.
      standardize_targets: "protocol", or whether targets are z-scored by training statistics.
      test_statistics: "protocol", "train" or "test": what scales the test fold.
      constant_targets: "left_out" of the mean, or "zero": counted as r = 0.
      language_pool: "mean" over all tokens, "mean_no_bos" or "last".
      vision_pool: "cls" or "mean" over patches.
      caption: Of one-caption conditions: the number of the human caption from 0, or "seeded" for one drawn by item.
      human_captions: How many human captions of an item are averaged before paraphrases follow.
      clip_groups: "best_worst" caption of each item, or "median": the mean of the two above against that of the two
        below.
      long_captions: Captions beyond what CLIP reads, 77 tokens: "refuse" to score, or "truncate" them as the authors
        of CLIP Score do.
      ties: Of Pick-a-Pic: "drop" or "refuse" judgments that prefer neither.
      grouped: Whether judgments of one prompt stay together: on one side of every fold, and as a whole in halves, draws
        and permutations, for every metric.
      masked_fill: What replaces masked pixels: "black", "mean" or a colour.
      rotation_corners: What fills the corners, likewise.
      unmasked: Items without a mask where one is needed: "refuse" or "drop".
      scramble_cut: Words are cut at "whitespace", or as "spacy" does.
      empty_captions: Captions left empty by a filter: "drop" the item from all conditions compared, or "keep".
      averaging: "mean_first", or "z_score_first": each exemplar's units are z-scored before the mean.
      synthetic_set: Images averaged: "synthetic" ones alone, or "with_photograph" before them.
      family: Of Benjamini-Hochberg: both directions "pooled", or per "direction".
      symmetric_items: Items for symmetric metrics: "all", or the mean over "test_folds".
    """

    protocol: str = "paper"
    inner_cv: Any = "loo"
    alpha_per_target: bool = False
    standardize_targets: Any = "protocol"
    test_statistics: str = "protocol"
    constant_targets: str = "left_out"
    language_pool: str = "mean"
    vision_pool: str = "cls"
    caption: Any = 0
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
        """Refuse what is no alternative."""
        find_protocol(self.protocol)
        for name, allowed in ALTERNATIVES.items():
            check_choice(name, getattr(self, name), allowed)
        check_whole_number("caption", self.caption, 0, other=["seeded"])
        check_whole_number("human_captions", self.human_captions)

    def of_step(self, name: str, modality: str) -> dict[str, Any]:
        """Parameters of a manipulation that differ from its own defaults by these choices."""
        masked = {"fill": self.masked_fill, "unmasked": self.unmasked}
        known = {
            ("things_only", "vision"): masked,
            ("stuff_only", "vision"): masked,
            ("rotation", "vision"): {"corners": self.rotation_corners},
            ("scrambled", "language"): {"cut": self.scramble_cut},
            ("nouns", "language"): {"empty": self.empty_captions},
            ("nouns_verbs", "language"): {"empty": self.empty_captions},
        }
        usual = {"fill": "black", "unmasked": "refuse", "corners": "black", "cut": "whitespace", "empty": "drop"}
        given = known.get((name, modality), {})
        return {key: value for key, value in given.items() if value != usual[key]}

    @property
    def overrides(self) -> dict[str, Any]:
        """Settings of ridge regression."""
        given = {"inner_cv": self.inner_cv, "alpha_per_target": self.alpha_per_target}
        for name in ("standardize_targets", "test_statistics"):
            if getattr(self, name) != "protocol":
                given[name] = getattr(self, name)
        return given


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

# The point of the paper's text that each settles, in the order of the report's table.
POINTS = {
    "inner_cv": "how the penalty is chosen inside the training fold",
    "alpha_per_target": "one penalty for all targets, or one each",
    "standardize_targets": "whether targets are z-scored",
    "test_statistics": "whose statistics scale the test fold",
    "constant_targets": "constant target or constant prediction",
    "language_pool": "tokens in the mean",
    "vision_pool": "what of an image is read",
    "caption": "caption of one-caption conditions",
    "human_captions": "human captions before paraphrases",
    "clip_groups": "groups by CLIP Score",
    "long_captions": "captions too long for CLIP",
    "ties": "Pick-a-Pic ties",
    "grouped": "repeated prompts in folds",
    "masked_fill": "masked pixels",
    "rotation_corners": "corners of turned images",
    "unmasked": "items without a mask",
    "scramble_cut": "what is scrambled",
    "empty_captions": "caption left empty by a filter",
    "averaging": "averaging and z-scoring",
    "synthetic_set": "images averaged",
    "family": "family of Benjamini-Hochberg",
    "symmetric_items": "items for CKA",
    "protocol": "named protocol",
}
