"""The choices that the text of the paper leaves open, as named settings."""

import dataclasses
from typing import Any

from vla.checks import check_choice, check_whole_number
from vla.metrics.ridge_settings import find_protocol


def _choice(default: Any, point: str, *others: Any) -> Any:
    """A setting that decides an open point of the text, with the other values that it can have, if they are listed."""
    return dataclasses.field(default=default, metadata={"point": point, "others": others})


@dataclasses.dataclass(frozen=True)
class Choices:
    """Choices that the text of the paper leaves open; the defaults are its most likely reading.

    Attributes:
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
      protocol: "paper", or "khosla_lab": raw targets and statistics of the test fold, as in the metric code of the lab.
    """

    inner_cv: str | int = _choice("loo", "choice of the penalty within the training fold")
    alpha_per_target: bool = _choice(False, "one penalty for all targets, or one per target", True)
    standardize_targets: str | bool = _choice("protocol", "whether targets are z-scored", True, False)
    test_statistics: str = _choice("protocol", "whose statistics scale the test fold", "train", "test")
    constant_targets: str = _choice("left_out", "constant target or constant prediction", "zero")
    language_pool: str = _choice("mean", "tokens of a caption in the mean", "mean_no_bos", "last")
    vision_pool: str = _choice("cls", "representation of an image", "mean")
    caption: int | str = _choice(0, "caption of conditions with one caption")
    human_captions: int = _choice(5, "human captions before paraphrases")
    clip_groups: str = _choice("best_worst", "groups of captions by CLIP Score", "median")
    long_captions: str = _choice("refuse", "captions too long for CLIP", "truncate")
    ties: str = _choice("drop", "Pick-a-Pic ties", "refuse")
    grouped: bool = _choice(True, "judgments of one prompt in folds", False)
    masked_fill: str = _choice("black", "masked pixels")
    rotation_corners: str = _choice("black", "corners of rotated images")
    unmasked: str = _choice("refuse", "items without a mask", "drop")
    scramble_cut: str = _choice("whitespace", "units that are scrambled", "spacy")
    empty_captions: str = _choice("drop", "caption left empty by a filter", "keep")
    averaging: str = _choice("mean_first", "order of averaging and z-scoring", "z_score_first")
    synthetic_set: str = _choice("synthetic", "images that are averaged", "with_photograph")
    family: str = _choice("pooled", "family of Benjamini-Hochberg", "direction")
    symmetric_items: str = _choice("all", "items of symmetric metrics", "test_folds")
    protocol: str = _choice("paper", "named protocol")

    def __post_init__(self) -> None:
        """Check the values."""
        find_protocol(self.protocol)
        for name, allowed in ALTERNATIVES.items():
            check_choice(name, getattr(self, name), allowed)
        check_whole_number("caption", self.caption, 0, other=["seeded"])
        check_whole_number("human_captions", self.human_captions)

    def of_step(self, name: str, modality: str) -> dict[str, Any]:
        """Parameters of a manipulation that these choices change from their defaults."""
        masked, empty = {"fill": "masked_fill", "unmasked": "unmasked"}, {"empty": "empty_captions"}
        settings = {
            ("things_only", "vision"): masked,
            ("stuff_only", "vision"): masked,
            ("rotation", "vision"): {"corners": "rotation_corners"},
            ("scrambled", "language"): {"cut": "scramble_cut"},
            ("nouns", "language"): empty,
            ("nouns_verbs", "language"): empty,
        }.get((name, modality), {})
        values = {parameter: getattr(self, setting) for parameter, setting in settings.items()}
        return {key: value for key, value in values.items() if value != getattr(Choices, settings[key])}

    @property
    def overrides(self) -> dict[str, Any]:
        """Settings of ridge regression."""
        values = {"inner_cv": self.inner_cv, "alpha_per_target": self.alpha_per_target}
        for name in ("standardize_targets", "test_statistics"):
            if getattr(self, name) != "protocol":
                values[name] = getattr(self, name)
        return values


_FIELDS = dataclasses.fields(Choices)
# The open point of the text that each setting decides, in the order of the table of the report.
POINTS: dict[str, str] = {field.name: field.metadata["point"] for field in _FIELDS}
# The values of each setting that has a list of them, the default first.
ALTERNATIVES: dict[str, tuple[Any, ...]] = {
    field.name: (field.default, *others) for field in _FIELDS if (others := field.metadata["others"])
}
