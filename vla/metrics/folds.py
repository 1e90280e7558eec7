"""Outer cross-validation folds, and scores by fold.

N items, X predictor layers, T target layers, P pairings of items, e target units.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from sklearn.model_selection import GroupKFold, KFold

Fold = tuple[np.ndarray, np.ndarray]

# Contiguous validation blocks (start, stop) of inner k-fold; None stands for leave-one-out.
Blocks = tuple[tuple[int, int], ...] | None


class Table(NamedTuple):
    """Scores of all layer pairs under every pairing of items.

    Attributes:
      fold_score: What is measured of the held-out items, as a mean over the target units where it is defined; NaN
        where there is none.
      alpha: The penalty chosen under the first pairing; with one penalty per unit it has a trailing unit axis.
      undefined: How many target units were left out because they, or their prediction, are constant.
      unit_score: Of every target unit under the first pairing, NaN where it is left out; None where not asked for.
    """

    fold_score: Float[np.ndarray, "P X T folds"]
    alpha: Float[np.ndarray, "1 X T folds *e"]
    undefined: Int[np.ndarray, "P X T folds"]
    unit_score: Float[np.ndarray, "1 X T folds e"] | None = None

    @property
    def score(self) -> Float[np.ndarray, "P X T"]:
        """Mean of the folds that have a score; NaN where none has."""
        defined = ~np.isnan(self.fold_score)
        count = defined.sum(axis=-1)
        mean = np.where(defined, self.fold_score, 0).sum(axis=-1) / np.maximum(count, 1)
        return np.where(count > 0, mean, np.nan)


class Block(NamedTuple):
    """Some predictor layers with some target layers in one fold.

    Attributes:
      fold: Number of the fold.
      x_layers: Numbers of the predictor layers.
      y_layers: Of pairing p and target layer t the number p T + t.
      scores: What each measure gives.
      undefined: How many target units each measure leaves out.
      chosen: Index of the penalty, per target layer or per target unit.
      units: What each measure gives for every target unit; None where it gives nothing, or it is not asked for.
    """

    fold: int
    x_layers: Int[np.ndarray, " i"]
    y_layers: Int[np.ndarray, " j"]
    scores: Sequence[Float[np.ndarray, "i j"]]
    undefined: Sequence[Int[np.ndarray, "i j"]]
    chosen: Int[np.ndarray, "i j *e"]
    units: Sequence[Float[np.ndarray, "i j e"] | None]


def numbered(groups: Sequence | np.ndarray, n_items: int) -> np.ndarray:
    """The number of every row's group, from 0, in the order of the labels.

    Raises:
      ValueError: Another number of labels than rows, a row without one, or labels that cannot be compared.
    """
    labels = np.asarray(groups)
    if labels.shape != (n_items,):
        raise ValueError(f"groups has shape {labels.shape}; expected one label per item, ({n_items},).")
    for row, label in enumerate(labels.tolist()):
        if label is None or label != label:
            raise ValueError(
                f"groups has no label for the item in row {row}: give an item that is in no group a label of its own."
            )
    try:
        return np.unique(labels, return_inverse=True)[1]
    except TypeError as error:
        raise ValueError(f"groups has labels of several kinds ({error}); expected texts or numbers.") from error


def outer_folds(n_items: int, n_folds: int, seed: int, groups: Sequence | np.ndarray | None = None) -> list[Fold]:
    """Shuffled folds: pairs of sorted row indices (train, test).

    Args:
      n_items: Number of rows to split.
      n_folds: Number of folds, at least 2.
      seed: Seed of the shuffle.
      groups: One label per row; rows with the same label never stand on both sides of a split.

    Equivalent to `KFold(n_folds, shuffle=True, random_state=seed)`, or `GroupKFold` with the same
    arguments when groups are given.

    Raises:
      ValueError: Fewer items (or groups) than folds, or a test fold of a single item, whose
        correlation is undefined.
    """
    if n_folds < 2:
        raise ValueError(f"outer_folds={n_folds}: cross-validation needs at least 2 folds.")
    if n_items < 2 * n_folds:
        raise ValueError(
            f"{n_items} items are too few for {n_folds} folds: each test fold needs at least 2 items. "
            f"Give at least {2 * n_folds} items or set outer_folds to at most {n_items // 2}."
        )
    rows = np.arange(n_items)
    if groups is None:
        return list(KFold(n_folds, shuffle=True, random_state=seed).split(rows))
    groups = numbered(groups, n_items)
    n_groups = len(np.unique(groups))
    if n_groups < n_folds:
        raise ValueError(f"{n_groups} groups are too few for {n_folds} folds: set outer_folds to at most {n_groups}.")
    splits = list(GroupKFold(n_folds, shuffle=True, random_state=seed).split(rows, groups=groups))
    if min(len(test) for _, test in splits) < 2:
        raise ValueError(f"Grouping leaves a test fold of one item: set outer_folds below {n_folds}.")
    return splits


def index_arrays(splits: Any) -> Any:
    """(train, test) item numbers of every fold as tuples; a scikit-learn splitter is returned unchanged.

    Raises:
      ValueError: Neither.
    """
    if hasattr(splits, "split") and not isinstance(splits, str):
        return splits
    try:
        folds = [[np.asarray(side) for side in fold] for fold in splits]
    except (TypeError, ValueError):
        folds = []
    if not folds or any(len(fold) != 2 or not all(map(_numbers_items, fold)) for fold in folds):
        raise ValueError(
            f"splits={splits!r:.80}: expected a scikit-learn splitter, such as KFold(5), or a list of (train, test) "
            "arrays of item numbers."
        )
    return tuple((tuple(train.tolist()), tuple(test.tolist())) for train, test in folds)


def _numbers_items(side: np.ndarray) -> bool:
    return side.ndim == 1 and (not side.size or side.dtype.kind in "iu")


def chosen_folds(splits: Any, n_items: int, groups: Sequence | np.ndarray | None = None) -> list[Fold]:
    """The folds of a scikit-learn splitter, or of (train, test) item numbers, in their order.

    Args:
      splits: From `index_arrays`; a splitter is given the groups.
      n_items: Number of items.
      groups: One label per item; no fold may have a group on both sides.

    Raises:
      ValueError: The splitter refuses; an item that does not exist, is named twice or is on both sides; a group on both
        sides; fewer than 2 items on a side.
    """
    labels = None if groups is None else numbered(groups, n_items)
    if not isinstance(splits, tuple):
        try:
            splits = index_arrays(list(splits.split(np.empty((n_items, 1)), groups=labels)))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"splits={splits!r} does not split {n_items} items: {error}. Give the folds themselves, for example "
                "splits=list(StratifiedKFold(5).split(x, labels))."
            ) from error
    folds = [(np.array(train, np.int64), np.array(test, np.int64)) for train, test in splits]
    for number, fold in enumerate(folds):
        for name, side in zip(("training", "test"), fold, strict=True):
            wrong = side[(side < 0) | (side >= n_items)]
            if len(wrong):
                raise ValueError(f"splits[{number}] has item {wrong[0]}: expected numbers in 0..{n_items - 1}.")
            if len(side) < 2:
                raise ValueError(f"splits[{number}] has too few {name} items ({len(side)}): give at least 2.")
            if len(np.unique(side)) < len(side):
                raise ValueError(f"splits[{number}] has a {name} item twice: name each item once.")
        both = np.intersect1d(*fold)
        if len(both):
            raise ValueError(f"splits[{number}] has item {both[0]} in training and in test: keep it on one side.")
        shared = [] if labels is None else np.intersect1d(labels[fold[0]], labels[fold[1]])
        if len(shared):
            label = np.asarray(groups)[labels == shared[0]][0]
            raise ValueError(
                f"splits[{number}] has group {label!s} in training and in test: keep each group on one side, "
                "for example with splits=GroupKFold(5)."
            )
    return folds


def inner_blocks(n: int, inner_cv: str | int) -> Blocks:
    """Validation blocks of inner cross-validation: contiguous, or None for leave-one-out.

    Equivalent to `KFold(inner_cv)` without shuffling, as scikit-learn uses for an integer `cv`.

    Raises:
      ValueError: More folds than items.
    """
    if isinstance(inner_cv, str):
        return None
    if inner_cv > n:
        raise ValueError(f"inner_cv={inner_cv} folds but only {n} training items: use at most {n}, or 'loo'.")
    return tuple((int(test[0]), int(test[-1]) + 1) for _, test in KFold(inner_cv).split(np.empty(n)))
