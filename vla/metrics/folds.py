"""Outer cross-validation folds, by scikit-learn, and scores by fold.

N items, X predictor layers, T target layers, P pairings of items, e target units.
"""

from collections.abc import Sequence
from typing import NamedTuple

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
