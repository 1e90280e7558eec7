"""What a metric is: declared facts, from which property tests are generated, and its computation."""

import dataclasses
from collections.abc import Callable
from typing import Literal

Invariance = Literal["item_permutation", "isotropic_scaling", "orthogonal", "translation", "unit_permutation",
                     "unit_scaling"]  # fmt: skip


@dataclasses.dataclass(frozen=True)
class NoSettings:
    """Of a metric that leaves nothing to choose."""


@dataclasses.dataclass(frozen=True)
class Pairwise:
    """How a metric follows from a matrix over pairs of items, of which a subset of the items has a part.

    Attributes:
      matrix: From a layer [N, D] and the settings to a matrix [N, N], no entry of which depends on other items up to
        what `signature` ignores.
      signature: From such a matrix, or the part of a subset, and the settings to the symmetric matrix whose inner
        products are scores.
      subsets_of: Whether that is so under the settings.
    """

    matrix: Callable
    signature: Callable
    subsets_of: Callable = lambda settings: True


@dataclasses.dataclass(frozen=True)
class Metric:
    """A metric as data.

    Attributes:
      name: As given to `vla.score(metric=...)`.
      directed: Whether predicting y from x differs from predicting x from y.
      lowest: Lower end of the range.
      highest: Upper end of the range.
      chance: Expected score of unrelated features: a number, or None where it depends on items and widths.
      invariances: Changes of x or of y that leave the score as it is. `item_permutation` means the same
        reordering of both; `unit_scaling` one positive factor per unit; `orthogonal` a rotation of units.
      formula: In words and symbols.
      source: Where it comes from.
      all_pairs: The computation: `linear_predictivity.all_pairs`, or a partial of `signatures.all_pairs` or of
        `states.all_pairs`.
      settings: Dataclass of the choices; its fields are the overrides that `vla.score` accepts.
      perfect: Score of a layer with itself.
      higher_is_better: Whether a higher score means more alike; False for a distance. Read it through
        `vla.metrics.registry.sign` where a metric is known by name.
      needs: What the metric asks of its data beyond the rest, in words; "" for nothing.
      of_units: Whether it is a mean over scores of target units, which `all_pairs` gives with `units=True`.
      pairwise: How it follows from a matrix over pairs of items; None where it does not. Where it does, `all_pairs`
        takes `expected=True` for one more row, the mean over all pairings that there are.
    """

    name: str
    directed: bool
    lowest: float
    highest: float
    chance: float | None
    invariances: frozenset[Invariance]
    formula: str
    source: str
    all_pairs: Callable = dataclasses.field(repr=False, compare=False)
    settings: type = NoSettings
    perfect: float = 1.0
    higher_is_better: bool = True
    needs: str = ""
    of_units: bool = False
    pairwise: Pairwise | None = dataclasses.field(default=None, repr=False, compare=False)


ROTATIONS: frozenset[Invariance] = frozenset(
    {"item_permutation", "isotropic_scaling", "orthogonal", "translation", "unit_permutation"}
)
"""What every metric of centred Gram matrices ignores."""
