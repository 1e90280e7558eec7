"""The choices of linear predictivity that the paper's text leaves open."""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Int

from vla.checks import check_choice, check_whole_number
from vla.metrics.folds import Fold, chosen_folds, index_arrays, outer_folds

PAPER_ALPHAS = tuple(10.0**k for k in range(-8, 9))


@dataclasses.dataclass(frozen=True)
class RidgeSettings:
    """Every choice by name, with the paper's value or its likeliest reading as the default.

    Attributes:
      alphas: Ridge penalties to choose from, positive; kept sorted and unique.
      outer_folds: Number of shuffled outer folds.
      inner_cv: "loo" (exact leave-one-out, as `RidgeCV(alphas)`) or a number of contiguous inner folds
        (as `RidgeCV(alphas, cv=k, scoring="neg_mean_squared_error")`).
      alpha_per_target: One penalty per target unit instead of one per target layer.
      standardize_targets: Z-score targets with training statistics; otherwise they are only centred.
      test_statistics: Whose mean and scale standardise the test rows of the predictor: "train" or "test".
      groups: One label per item; items that share a label stay on one side of every outer split.
      seed: Seed of the outer folds.
      splits: Outer folds to use instead of `outer_folds` shuffled ones: a scikit-learn splitter, or (train, test)
        arrays of item numbers, such as `list(StratifiedKFold(5).split(x, labels))`. Items may be left out, or be
        tested several times.
    """

    alphas: Any = PAPER_ALPHAS
    outer_folds: int = 5
    inner_cv: Any = "loo"
    alpha_per_target: bool = False
    standardize_targets: bool = True
    test_statistics: str = "train"
    groups: Any = None
    seed: int = 42
    splits: Any = dataclasses.field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Refuse values without meaning."""
        try:
            alphas = np.unique(np.asarray(self.alphas, dtype=np.float64))
        except (TypeError, ValueError):
            alphas = np.empty(0)
        if not alphas.size or not np.all(np.isfinite(alphas)) or np.any(alphas <= 0):
            raise ValueError(f"alphas={self.alphas!r}: expected one or more positive finite numbers.")
        object.__setattr__(self, "alphas", tuple(alphas.tolist()))
        check_choice("test_statistics", self.test_statistics, ("test", "train"))
        check_whole_number("inner_cv", self.inner_cv, 2, other=["loo"])
        if self.splits is not None:
            object.__setattr__(self, "splits", index_arrays(self.splits))

    def folds(self, n_items: int) -> list[Fold]:
        """The outer folds.

        Raises:
          ValueError: As `outer_folds`, or as `chosen_folds` with `splits`.
        """
        if self.splits is None:
            return outer_folds(n_items, self.outer_folds, self.seed, self.groups)
        return chosen_folds(self.splits, n_items, self.groups)

    def for_items(self, n_items: int) -> "RidgeSettings":
        """The same settings with `splits`, if there are any, as item numbers, and `outer_folds` as their number."""
        if self.splits is None:
            return self
        splits = self.folds(n_items)
        return dataclasses.replace(self, splits=splits, outer_folds=len(splits))

    def for_subset(self, rows: Int[np.ndarray, " m"]) -> "RidgeSettings":
        """The settings for these items alone: with their groups, and with what is left of each of the `splits`."""
        groups = None if self.groups is None else np.asarray(self.groups)[rows].tolist()
        splits = self.splits
        if isinstance(splits, tuple):
            number = {row: i for i, row in enumerate(rows.tolist())}
            splits = [[[number[item] for item in side if item in number] for side in fold] for fold in splits]
        return dataclasses.replace(self, groups=groups, splits=splits)


UNIT_MEASURES = ("explained_variance", "pearson", "r2")


@dataclasses.dataclass(frozen=True)
class PredictivitySettings(RidgeSettings):
    """The choices of ridge regression, and what is measured of its held-out predictions.

    Attributes:
      measure: "pearson" (r of every target unit, the paper's), "r2" or "explained_variance"; the mean over units.
    """

    measure: str = "pearson"

    def __post_init__(self) -> None:
        """Refuse values without meaning."""
        super().__post_init__()
        check_choice("measure", self.measure, UNIT_MEASURES)


PROTOCOLS: dict[str, dict[str, Any]] = {
    "paper": {},
    "khosla_lab": {"standardize_targets": False, "test_statistics": "test"},
}


def find_protocol(name: str) -> dict[str, Any]:
    """The settings of that protocol which differ from the defaults.

    Raises:
      ValueError: There is none; the message lists those there are.
    """
    check_choice("protocol", name, PROTOCOLS)
    return PROTOCOLS[name]
