"""Which items trade places under the null hypothesis that the two sides are unrelated.

N items, P permutations, M distinct permutations that are possible.

Without groups every order of the items is possible: M = N!. With groups, whole groups trade places, and only groups of
equal size do: item j of a group then stands where item j of the other stood, and M is the product, over the sizes, of
the factorial of the number of groups of that size. These permutations form a group in the algebraic sense, and the
distribution of one side is invariant under it if groups of equal size are exchangeable as ordered blocks. That holds if
groups are independent samples and the order of the items within a group is arbitrary or means the same in every group.
Then the p-value is exact. Shuffling groups of unequal sizes one after another is no such set of permutations: it parts
the groups of one side against those of the other, and the null distribution is too narrow. A group that is alone in its
size keeps its place.

Permutations are distinct and never the identity, so the p-value (1 + b) / (1 + P) is exact also where M is small.

Sources: Winkler, Webster, Vidaurre, Nichols & Smith (2015), Multi-level block permutation, for whole-block exchange of
blocks of equal size; Good (2005), Permutation, Parametric and Bootstrap Tests of Hypotheses, for exchangeability;
Hemerik & Goeman (2018), Exact testing with random permutations, for permutations drawn without replacement.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from vla.metrics.folds import numbered

# The smallest p-value is 1 / M: with fewer it cannot reach .05.
FEWEST = 20

# Up to so many possible permutations are numbered and their numbers shuffled; beyond, random ones rarely repeat.
_NUMBERED = 1 << 16


class Permutations:
    """A fixed, seeded sequence of distinct permutations: a longer one begins with the shorter one."""

    def __init__(self, n_items: int, groups: Any, seed: int) -> None:
        """The sequence for these items.

        Args:
          n_items: N.
          groups: One label per item; None for items without groups.
          seed: Of the sequence.

        Raises:
          ValueError: Labels that are no groups of these items.
        """
        self.n_items, self._seed = n_items, seed
        of_group = np.arange(n_items) if groups is None else numbered(groups, n_items)
        sizes = np.bincount(of_group)
        rows = np.split(np.argsort(of_group, kind="stable"), np.cumsum(sizes)[:-1])
        # Rows of the items by size of group: [groups of that size, size].
        self._classes = [np.stack([rows[g] for g in np.flatnonzero(sizes == size)]) for size in np.unique(sizes)]
        self._grouped = groups is not None

    @property
    def possible(self) -> int:
        """M, the number of distinct permutations, the identity included; 2^63 stands for that many or more."""
        # 21! exceeds 2^63: larger factorials would only cost time.
        return min(math.prod(math.factorial(min(len(blocks), 21)) for blocks in self._classes), 1 << 63)

    @property
    def fixed_items(self) -> int:
        """How many items keep their place in every permutation."""
        return sum(blocks.size for blocks in self._classes if len(blocks) == 1)

    def check(self) -> None:
        """Refuse items of which no p-value could reach .05.

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
        sizes = ", ".join(
            f"{len(blocks)} group{'s' * (len(blocks) > 1)} of {blocks.shape[1]}" for blocks in self._classes
        )
        raise ValueError(
            f"groups: only groups of equal size can trade places, and {sizes} have only {self.possible} arrangements, "
            f"so no p-value can reach .05; at least {FEWEST} are needed, as of 4 groups of one size: give more groups, "
            "leave items out so that groups are equally large, or set null=0."
        )

    def first(self, count: int) -> Int[np.ndarray, "P N"]:
        """The first `count` permutations, or all M - 1 if there are no more; the identity is not among them."""
        count, rng = min(count, self.possible - 1), np.random.default_rng(self._seed)
        if self.possible <= _NUMBERED:
            numbers = 1 + rng.permutation(self.possible - 1)[:count]
            orders = [self._order(_by_number(int(number), self._counts)) for number in numbers]
        else:
            orders, seen = [], {np.arange(self.n_items).tobytes()}
            while len(orders) < count:
                order = self._order([rng.permutation(blocks) for blocks in self._counts])
                if order.tobytes() not in seen:
                    seen.add(order.tobytes())
                    orders.append(order)
        return np.stack(orders) if orders else np.empty((0, self.n_items), np.int64)

    @property
    def _counts(self) -> list[int]:
        return [len(blocks) for blocks in self._classes]

    def _order(self, of_classes: Sequence[np.ndarray]) -> Int[np.ndarray, " N"]:
        """The order of items under one order of the groups of each size."""
        order = np.arange(self.n_items)
        for blocks, permuted in zip(self._classes, of_classes, strict=True):
            order[blocks] = blocks[permuted]
        return order


def _by_number(number: int, counts: Sequence[int]) -> list[np.ndarray]:
    """Orders of the groups of each size, by their number from 0 to M - 1, of which 0 is the identity (Lehmer code)."""
    orders = []
    for count in counts:
        number, rank = divmod(number, math.factorial(count))
        left, order = list(range(count)), []
        for remaining in range(count - 1, -1, -1):
            index, rank = divmod(rank, math.factorial(remaining))
            order.append(left.pop(index))
        orders.append(np.array(order))
    return orders
