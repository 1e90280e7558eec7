"""Permutations of items for the null hypothesis that two sets of activations are unrelated, and splits of the items.

N items, P permutations, M possible permutations with the identity.

Without groups every order of the items is possible: M = N!. With groups, whole groups of equal size are exchanged: item
j of one group takes the row of item j of the other, and M is the product over sizes of the factorial of the number of
groups of that size. A group whose size no other group has keeps its rows. These permutations form a mathematical group,
so p-values are exact if groups of equal size are exchangeable: the groups are independent samples, and the order of
items within a group is arbitrary or means the same in every group. Shuffling groups of unequal sizes, laid end to end,
would break this: it splits the groups of one side across those of the other, and the null distribution is too narrow.

Permutations are distinct and never the identity, so the p-value (1 + b) / (1 + P) is exact for small M too.

At least 800 simulations of 24 unrelated items with P = 19, without groups and with groups of equal and unequal sizes,
give p <= .05 in 3.8 to 6.2 % for every metric but two: for CKA and its variants, CKNNA, RSA, Procrustes, shape
distances, CCA, SVCCA, PWCCA, matching of units, linear predictivity and matching accuracy. Scores with few distinct
values tie with those of permutations, which makes p-values conservative: 3.2 to 4.1 % for mutual k-NN, 2.6 to 3.7 % for
retrieval.

Sources: Winkler, Webster, Vidaurre, Nichols & Smith (2015), Multi-level block permutation, for exchanging blocks of
equal size; Good (2005), Permutation, Parametric and Bootstrap Tests of Hypotheses, for exchangeability; Hemerik and
Goeman (2018), Exact testing with random permutations, for permutations drawn without replacement.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from vla.metrics.folds import Fold, numbered

# The smallest p-value is 1 / M: with fewer permutations it cannot reach .05.
FEWEST = 20

# Up to this M, permutations are drawn by number without replacement; above it, random ones rarely repeat.
_MOST_NUMBERED = 1 << 16


class Permutations:
    """A seeded sequence of distinct permutations; a longer sequence begins with the shorter one."""

    def __init__(self, n_items: int, groups: Sequence | np.ndarray | None, seed: int) -> None:
        """Set up the sequence.

        Args:
          n_items: N.
          groups: One label per item; None for items without groups.
          seed: Seed of the sequence.

        Raises:
          ValueError: Labels that do not fit the items.
        """
        self.n_items, self._seed = n_items, seed
        numbers = np.arange(n_items) if groups is None else numbered(groups, n_items)
        sizes = np.bincount(numbers)
        rows = np.split(np.argsort(numbers, kind="stable"), np.cumsum(sizes)[:-1])
        # One array per size: the rows of every group of that size, [groups, size].
        self._by_size = [np.stack([rows[g] for g in np.flatnonzero(sizes == size)]) for size in np.unique(sizes)]
        self._grouped = groups is not None

    @property
    def possible(self) -> int:
        """M; 2^63 stands for that many or more."""
        # 21! exceeds 2^63: larger factorials would only cost time.
        return min(math.prod(math.factorial(min(len(groups), 21)) for groups in self._by_size), 1 << 63)

    @property
    def fixed_items(self) -> int:
        """Number of items that keep their row in every permutation."""
        return sum(groups.size for groups in self._by_size if len(groups) == 1)

    def check(self) -> None:
        """Refuse items with which no p-value can reach .05.

        Raises:
          ValueError: Fewer than 20 permutations are possible.
        """
        if self.possible >= FEWEST:
            return
        if not self._grouped:
            raise ValueError(
                f"{self.n_items} items have only {self.possible} orders, so no p-value can reach .05: give at least 4 "
                "items, or null=0."
            )
        sizes = ", ".join(f"{len(rows)} group{'s' * (len(rows) > 1)} of {rows.shape[1]}" for rows in self._by_size)
        raise ValueError(
            f"groups: only groups of equal size can be exchanged, and {sizes} have only {self.possible} arrangements, "
            f"so no p-value can reach .05; at least {FEWEST} arrangements are needed, for example 4 groups of the same "
            "size: give more groups, leave items out so that groups have the same size, or set null=0."
        )

    def first(self, count: int) -> Int[np.ndarray, "P N"]:
        """The first `count` permutations, or all M - 1 if fewer are possible; the identity is left out."""
        count, rng = min(count, self.possible - 1), np.random.default_rng(self._seed)
        counts = [len(groups) for groups in self._by_size]
        if self.possible <= _MOST_NUMBERED:
            numbers = 1 + rng.permutation(self.possible - 1)[:count]
            orders = [self._order(_by_number(int(number), counts)) for number in numbers]
        else:
            orders, seen = [], {np.arange(self.n_items).tobytes()}
            while len(orders) < count:
                order = self._order([rng.permutation(n_groups) for n_groups in counts])
                if order.tobytes() not in seen:
                    seen.add(order.tobytes())
                    orders.append(order)
        return np.stack(orders) if orders else np.empty((0, self.n_items), np.int64)

    def _order(self, group_orders: Sequence[np.ndarray]) -> Int[np.ndarray, " N"]:
        """The order of the items, from an order of the groups of each size."""
        order = np.arange(self.n_items)
        for groups, group_order in zip(self._by_size, group_orders, strict=True):
            order[groups] = groups[group_order]
        return order


def _by_number(number: int, counts: Sequence[int]) -> list[np.ndarray]:
    """Orders of the groups of each size by a number in 0..M - 1 (Lehmer code); 0 is the identity."""
    orders = []
    for count in counts:
        number, rank = divmod(number, math.factorial(count))
        left, order = list(range(count)), []
        for remaining in range(count - 1, -1, -1):
            index, rank = divmod(rank, math.factorial(remaining))
            order.append(left.pop(index))
        orders.append(np.array(order))
    return orders


def halves(n_items: int, groups: Any, count: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Random halves of the items, each with what is left: sorted rows; of an odd number one item is in neither.

    With groups, whole groups are dealt out, to the smaller side first.
    """
    rng = np.random.default_rng([seed, 2])
    pairs = []
    for _ in range(count):
        if groups is None:
            order = rng.permutation(n_items)
            sides = order[: n_items // 2], order[n_items // 2 : 2 * (n_items // 2)]
        else:
            labels, of_group, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
            order, sums, side = rng.permutation(len(labels)), np.zeros(2, int), np.zeros(len(labels), int)
            for group in order:
                side[group] = int(sums[1] < sums[0])
                sums[side[group]] += sizes[group]
            sides = np.flatnonzero(side[of_group] == 0), np.flatnonzero(side[of_group] == 1)
        pairs.append((np.sort(sides[0]), np.sort(sides[1])))
    return pairs


def left_out(n_items: int, folds: Sequence[Fold], groups: Any, count: int, seed: int) -> list[np.ndarray]:
    """The items in `count` random parts, to leave out one after the other: sorted rows, some from every fold.

    With groups, every group is in one part.

    Args:
      n_items: The number of items.
      folds: Their outer folds.
      groups: One label per item, or None.
      count: At most as many parts; fewer where there are fewer items, or groups.
      seed: Of the parts.
    """
    fold = fold_of_item(n_items, folds)
    group = np.arange(n_items) if groups is None else numbered(groups, n_items)
    _, first = np.unique(group, return_index=True)
    order = np.random.default_rng([seed, 3]).permutation(len(first))
    order = order[np.argsort(fold[first][order], kind="stable")]
    part = np.empty(len(first), int)
    part[order] = np.arange(len(first)) % count
    return [np.flatnonzero(part[group] == number) for number in range(min(count, len(first)))]


def fold_of_item(n_items: int, folds: Sequence[Fold]) -> np.ndarray:
    """The number of the last fold in which each item is tested; -1 for none."""
    fold = np.full(n_items, -1)
    for number, (_, test) in enumerate(folds):
        fold[test] = number
    return fold
