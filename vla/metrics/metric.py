"""What a metric is: declared facts, from which property tests are generated, and what is asked of it.

N items, D and E units, X and Y layers, P pairings of items, S subsets of items.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from vla.metrics.folds import Fold, outer_folds

Invariance = Literal["item_permutation", "isotropic_scaling", "orthogonal", "translation", "unit_permutation",
                     "unit_scaling"]  # fmt: skip

ROTATIONS: frozenset[Invariance] = frozenset(
    {"item_permutation", "isotropic_scaling", "orthogonal", "translation", "unit_permutation"}
)
"""What every metric of centred Gram matrices ignores."""

Advance = Callable[[int], None]
"""Called with the number of cells just finished: pairs of layers, times pairings, times folds."""


def ignore(cells: int) -> None:
    """Show no progress."""


@dataclasses.dataclass(frozen=True)
class NoSettings:
    """Of a metric that leaves nothing to choose."""


class Scores(NamedTuple):
    """Scores of all pairs of layers.

    Attributes:
      score: Under every pairing; NaN without a score.
      expected: The exact mean over all pairings that are possible; None if the metric does not give it.
      of_folds: Variables of single folds under the first pairing: the axes after those of layers, and the values.
    """

    score: Float[np.ndarray, "P X Y"]
    expected: Float[np.ndarray, "X Y"] | None = None
    of_folds: Mapping[str, tuple[tuple[str, ...], np.ndarray]] = {}


class Cost(NamedTuple):
    """What scoring all pairs of layers takes, roughly.

    Attributes:
      products: Floating-point operations of products of matrices.
      eigen: Of eigendecompositions, in float64.
      memory: Bytes of what is held beside the activations.
    """

    products: float
    eigen: float
    memory: float


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Metric:
    """A metric as data, with all that is asked of it.

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
      settings: Dataclass of the choices; its fields are the overrides that `vla.score` accepts.
      protocols: Defaults of the settings that a protocol changes, by the name of the protocol.
      perfect: Score of a layer with itself.
      higher_is_better: Whether a higher score means more alike; False for a distance. Read it through
        `vla.metrics.registry.sign` where a metric is known by name.
      needs: What the metric asks of its data beyond the others, in words; "" for nothing.
      of_units: Whether it is a mean over scores of target units, which `scores` gives with `units=True`.
      most_splits: The most splits of the items that are scored for an interval; None for no limit.
    """

    name: str
    directed: bool
    lowest: float
    highest: float
    chance: float | None
    invariances: frozenset[Invariance]
    formula: str
    source: str
    settings: type = NoSettings
    protocols: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict, repr=False)
    perfect: float = 1.0
    higher_is_better: bool = True
    needs: str = ""
    of_units: bool = False
    most_splits: int | None = None

    def scores(
        self,
        x: Float[np.ndarray, "X N D"],
        y: Float[np.ndarray, "Y N E"],
        settings: Any,
        pairings: Int[np.ndarray, "P N"],
        advance: Advance = ignore,
        units: bool = False,
        rdm: bool = False,
    ) -> Scores:
        """Score every layer of `x` with every layer of `y`; a pair does not depend on the other layers.

        Args:
          x: Activations of one model.
          y: Activations of the other model on the same items, in the same precision.
          settings: An instance of `settings`.
          pairings: Row p pairs item i of `x` with item `pairings[p, i]` of `y`.
          advance: See `Advance`.
          units: Whether `of_folds` has the score of every target unit.
          rdm: Whether `y` has distances between items, [Y, N, N], which only some metrics take.

        Raises:
          ValueError: Input that the metric refuses, such as too few items.
        """
        raise NotImplementedError

    def scores_of_subsets(
        self,
        x: Float[np.ndarray, "X N D"],
        y: Float[np.ndarray, "Y N E"],
        settings: Any,
        subsets: Sequence[Int[np.ndarray, "_"]],
        advance: Advance = ignore,
        rdm: bool = False,
    ) -> Float[np.ndarray, "S X Y"]:
        """The score of every pair of layers for some of the items, as if there were no others.

        Args:
          x: Activations of one model.
          y: Activations of the other model on the same items.
          settings: An instance of `settings`.
          subsets: Rows of the items, each once.
          advance: See `Advance`.
          rdm: Whether `y` has distances between items.

        Raises:
          ValueError: Input that the metric refuses, such as too few items.
        """
        self.check_rdm(rdm)
        scores = []
        for rows in subsets:
            order = np.arange(len(rows))[None]
            scores.append(self.scores(x[:, rows], y[:, rows], settings_of(settings, rows), order, advance).score[0])
        return np.stack(scores)

    def folds(self, settings: Any, n_items: int) -> list[Fold]:
        """The outer folds of the items; none for a metric without folds."""
        if not hasattr(settings, "outer_folds"):
            return []
        return outer_folds(n_items, settings.outer_folds, settings.seed, settings.groups)

    def cells(self, settings: Any) -> int:
        """How many cells a pair of layers counts in `advance`: the number of its outer folds, or 1."""
        return getattr(settings, "outer_folds", 1)

    def cost(self, x: tuple[int, int], y: tuple[int, int], n_items: int, pairings: int) -> Cost:
        """What scoring takes with the default settings, roughly: for items compared with each other.

        Args:
          x: (layers, units) of one model.
          y: Of the other.
          n_items: The number of items, N.
          pairings: The number of pairings, P.
        """
        (x_layers, d), (y_layers, e) = x, y
        products = 2.0 * n_items**2 * (x_layers * d + y_layers * e + x_layers * y_layers * pairings)
        return Cost(products, 0.0, 8.0 * n_items**2 * (x_layers + y_layers))

    def chance_of(self, settings: Any, n_items: int) -> float | None:
        """Expected score of unrelated items, where it follows from the settings and the number of items."""
        return self.chance

    def lowest_of(self, settings: Any) -> float:
        """Lower end of the range under these settings."""
        return self.lowest

    def check_rdm(self, rdm: bool) -> None:
        """Refuse distances between items in place of activations.

        Raises:
          ValueError: `rdm` is true, and the metric needs activations.
        """
        if rdm:
            raise ValueError(
                f"{self.name} needs activations; y is a matrix of distances between items, which metric='rsa', 'cka', "
                "'cka_rbf' and 'mutual_knn' take."
            )

    def leaves_out(self, settings: Any) -> bool:
        """Whether an interval comes from leaving out parts of the items; otherwise from halves of the items."""
        return False

    def shares_fit(self, settings: Any, other: "Metric", of_other: Any) -> bool:
        """Whether `scores_together` can score this metric and the other one with these settings."""
        return False

    def scores_together(
        self,
        metrics: Sequence[tuple["Metric", Any]],
        x: Float[np.ndarray, "X N D"],
        y: Float[np.ndarray, "Y N E"],
        pairings: Int[np.ndarray, "P N"],
        advance: Advance = ignore,
        units: bool = False,
        rdm: bool = False,
    ) -> list[Scores]:
        """`scores` of metrics for which `shares_fit` holds, each with its settings; their work is done once."""
        return [metric.scores(x, y, settings, pairings, advance, units, rdm) for metric, settings in metrics]


def settings_of(settings: Any, rows: Int[np.ndarray, " m"]) -> Any:
    """The settings of a metric for a subset of the items: with the groups and the splits of these items alone."""
    if hasattr(settings, "for_subset"):
        return settings.for_subset(rows)
    if getattr(settings, "groups", None) is None:
        return settings
    return dataclasses.replace(settings, groups=np.asarray(settings.groups)[rows].tolist())
