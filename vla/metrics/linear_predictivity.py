"""Linear predictivity, and what else is measured of predictions by ridge regression.

N items, d predictor units, e target units, X predictor layers, T target layers, P pairings of items.

Source: the paper, section 2 and appendix A.1. With default settings each cell equals, averaged over the folds of
`KFold(5, shuffle=True)`, scikit-learn's `RidgeCV(alphas)` on z-scored features and targets, scored by the mean
Pearson r over target units.
"""

import dataclasses
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from vla import devices
from vla.metrics import ridge, ridge_host
from vla.metrics.folds import Fold, Table
from vla.metrics.metric import Advance, Cost, Metric, Scores, ignore
from vla.metrics.ridge_measures import OF_UNITS
from vla.metrics.ridge_settings import PAPER_ALPHAS, PROTOCOLS, PredictivitySettings, RidgeSettings
from vla.metrics.ridge_streamed import can_stream, streamed_predictivity

# Training items up to which the n x n matrices of the host's engine are small.
_MOST_ITEMS_OF_HOST = 4096

# Held at a time of what is prepared of layers; what exceeds it is scored in portions.
MOST_BYTES = 1 << 31


def all_pairs(
    x: Float[np.ndarray, "X N d"],
    y: Float[np.ndarray, "T N e"],
    settings: RidgeSettings,
    pairings: Int[np.ndarray, "P N"] | None = None,
    advance: Callable[[int], None] = lambda cells: None,
    *,
    measure: str | None = None,
    units: bool = False,
    most_bytes: int = MOST_BYTES,
    engine: ModuleType | None = None,
) -> Table:
    """`all_measures` of one measure; None takes the settings' own."""
    measures = (measure or getattr(settings, "measure", "pearson"),)
    (table,) = all_measures(
        x, y, settings, pairings, advance, measures=measures, units=units, most_bytes=most_bytes, engine=engine
    )
    return table


@devices.in_float64
def all_measures(
    x: Float[np.ndarray, "X N d"],
    y: Float[np.ndarray, "T N e"],
    settings: RidgeSettings,
    pairings: Int[np.ndarray, "P N"] | None = None,
    advance: Callable[[int], None] = lambda cells: None,
    *,
    measures: Sequence[str],
    units: bool = False,
    most_bytes: int = MOST_BYTES,
    engine: ModuleType | None = None,
) -> tuple[Table, ...]:
    """Predict every layer of `y` from every layer of `x`.

    The form of the computation follows from the numbers of items and units and from `most_bytes`; all forms give the
    same penalties, and scores that differ by rounding.
      dual: n x n matrices of items, factorised once per layer;
      primal: with many items of few units, no n x n matrix (`ridge_search.is_primal`);
      streamed: with arrays that exceed the memory, one pass over the items (`ridge_streamed`), where the settings are
        such that sums suffice.
    One CPU device runs the dual form of a few thousand items in `vla.metrics.ridge_host`; all else runs in
    `vla.metrics.ridge`. Factorisations run in float64; the products after them run in the precision of the input.

    Args:
      x: Predictor activations, float32 or float64.
      y: Target activations of the same items, same precision.
      settings: See `RidgeSettings`.
      pairings: Row p pairs item i of `x` with item `pairings[p, i]` of `y`; None pairs i with i. All pairings
        share the folds and the factorisations.
      advance: Called with the number of (pair, fold) cells just finished.
      measures: Of the same held-out predictions: keys of `ridge_measures.MEASURES`. Each has a table of its own.
      units: Whether tables have the score of every target unit; measures of items have none.
      most_bytes: Memory for what is prepared of layers.
      engine: `ridge` or `ridge_host`; None chooses.

    Raises:
      ValueError: Fewer items than the folds need.
    """
    n_items = x.shape[1]
    pairings = np.arange(n_items)[None] if pairings is None else pairings
    folds = settings.folds(n_items)
    shape = (len(pairings), len(x), len(y), len(folds))
    per_unit, of_first = (y.shape[2],), (1, *shape[1:])
    of_alpha = of_first + per_unit if settings.alpha_per_target else of_first
    tables = tuple(
        Table(
            np.full(shape, np.nan),
            np.full(of_alpha, np.nan),
            np.zeros(shape, np.int64),
            np.full(of_first + per_unit, np.nan) if units and measure in OF_UNITS else None,
        )
        for measure in measures
    )
    alphas = np.asarray(settings.alphas)
    if engine is None and _is_streamed(x, y, settings, folds, measures, units, pairings, most_bytes):
        for i, j in np.ndindex(len(x), len(y)):
            pair = streamed_predictivity(x[i], y[j], settings)
            for values, of_pair in zip(tables[0][:3], pair[:3], strict=True):
                values[:, i, j] = of_pair[:, 0, 0]
            advance(len(folds))
        return tables
    if engine is None:
        small = max(len(train) for train, _ in folds) <= _MOST_ITEMS_OF_HOST
        engine = ridge_host if small and devices.only_the_host() else ridge
    for block in engine.blocks(x, y, settings, pairings, folds, tuple(measures), units, most_bytes):
        f, i, (p, t) = block.fold, block.x_layers[:, None], np.divmod(block.y_layers, len(y))
        for table, score, undefined in zip(tables, block.scores, block.undefined, strict=True):
            table.fold_score[p, i, t, f], table.undefined[p, i, t, f] = score, undefined
            table.alpha[0, i, t[p == 0], f] = alphas[block.chosen[:, p == 0]]
        for table, values in zip(tables, block.units, strict=True):
            if table.unit_score is not None and values is not None:
                table.unit_score[0, i, t[p == 0], f] = values[:, p == 0]
        advance(block.scores[0].size)
    return tables


def _is_streamed(
    x: Float[np.ndarray, "X N d"],
    y: Float[np.ndarray, "T N e"],
    settings: RidgeSettings,
    folds: Sequence[Fold],
    measures: Sequence[str],
    units: bool,
    pairings: Int[np.ndarray, "P N"],
    most_bytes: int,
) -> bool:
    """Whether sums over items suffice, take less memory than the items, and the items take more than `most_bytes`."""
    if not can_stream(settings) or tuple(measures) != ("pearson",) or units or len(pairings) > 1:
        return False
    (n_items, d), e = x.shape[1:], y.shape[2]
    # The primal form keeps about three float64 copies of a layer of each side.
    return 24 * n_items * (d + e) > most_bytes and d * len(folds) * settings.inner_cv < 3 * n_items


# Ridge regression is fitted again to every half, or without every part. Student's t with 16 degrees of freedom is 8 %
# wider than the normal distribution: more splits cost more time than they save width.
MOST_SPLITS = 16

# Flops of a symmetric eigendecomposition with vectors, by n cubed.
EIGEN = 9

# Measures that are shares of variance: without a lower end, and without a known value for unrelated activations.
SHARES_OF_VARIANCE = ("explained_variance", "r2")


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class RidgeMetric(Metric):
    """What is measured of the held-out predictions of ridge regression.

    Attributes:
      measure: A key of `ridge_measures.MEASURES`; None for the one in the settings.
    """

    measure: str | None = None
    most_splits: int | None = MOST_SPLITS

    def all_pairs(self, x: np.ndarray, y: np.ndarray, settings: RidgeSettings, *args: Any, **kwargs: Any) -> Table:
        """See `all_pairs`."""
        return all_pairs(x, y, settings, *args, measure=self.measure, **kwargs)

    def scores(
        self,
        x: Float[np.ndarray, "X N d"],
        y: Float[np.ndarray, "T N e"],
        settings: RidgeSettings,
        pairings: Int[np.ndarray, "P N"],
        advance: Advance = ignore,
        units: bool = False,
        rdm: bool = False,
    ) -> Scores:
        """See `Metric.scores`."""
        return self.scores_together([(self, settings)], x, y, pairings, advance, units, rdm)[0]

    def shares_fit(self, settings: RidgeSettings, other: Metric, of_other: Any) -> bool:
        """Whether both measure the predictions of the same ridge regression."""
        return isinstance(other, RidgeMetric) and _of_fit(settings) == _of_fit(of_other)

    def scores_together(
        self,
        metrics: Sequence[tuple[Metric, Any]],
        x: Float[np.ndarray, "X N d"],
        y: Float[np.ndarray, "T N e"],
        pairings: Int[np.ndarray, "P N"],
        advance: Advance = ignore,
        units: bool = False,
        rdm: bool = False,
    ) -> list[Scores]:
        """See `Metric.scores_together`."""
        self.check_rdm(rdm)
        measures = [getattr(metric, "measure", None) or settings.measure for metric, settings in metrics]
        tables = all_measures(x, y, metrics[0][1], pairings, advance, measures=measures, units=units)
        return [_scores(table) for table in tables]

    def cost(self, x: tuple[int, int], y: tuple[int, int], n_items: int, pairings: int) -> Cost:
        """See `Metric.cost`. The smaller of d and n is decomposed; few units need no n x n matrix."""
        (x_layers, d), (y_layers, e) = x, y
        targets, folds, alphas = y_layers * pairings, 5, len(PAPER_ALPHAS)
        n = n_items * (folds - 1) / folds
        few = 2 * d < n
        gram = 2 * n * d * min(n, d) * x_layers + 2 * n**2 * e * targets
        by_alpha = x_layers * alphas * (2 * n**3) + 2 * x_layers * targets * alphas * n**2
        search = 2 * x_layers * targets * n**2 * d if few else by_alpha
        predict = 2 * x_layers * targets * (n_items / folds) * n * e
        eigen = x_layers * EIGEN * (d if few else n) ** 3
        return Cost(folds * (gram + search + predict), float(folds * eigen), 8 * n**2 * (x_layers + targets + alphas))

    def folds(self, settings: RidgeSettings, n_items: int) -> list[Fold]:
        """See `Metric.folds`."""
        return settings.folds(n_items)

    def chance_of(self, settings: RidgeSettings, n_items: int) -> float | None:
        """See `Metric.chance_of`; for retrieval the mean over folds of 1 / m."""
        if self.measure == "retrieval":
            return float(np.mean([1 / len(test) for _, test in self.folds(settings, n_items)]))
        return None if self.leaves_out(settings) else self.chance

    def lowest_of(self, settings: RidgeSettings) -> float:
        """See `Metric.lowest_of`; a share of variance has no lower end."""
        return -np.inf if self.leaves_out(settings) else self.lowest

    def leaves_out(self, settings: RidgeSettings) -> bool:
        """Whether a share of variance is measured: of half the items, which predict less, all fits may choose the
        largest penalty, so that scores of halves hardly vary while those of all items do."""
        return self.measure is None and getattr(settings, "measure", "pearson") in SHARES_OF_VARIANCE


def _of_fit(settings: RidgeSettings) -> dict[str, Any]:
    """The settings without what is measured."""
    return {field.name: getattr(settings, field.name) for field in dataclasses.fields(RidgeSettings)}


def _scores(table: Table) -> Scores:
    per_unit = ("fold",) if table.alpha.ndim == 4 else ("fold", "y_unit")
    of_folds = {
        "fold_score": (("fold",), table.fold_score[0]),
        "alpha": (per_unit, table.alpha[0]),
        "undefined": (("fold",), table.undefined[0]),
    }
    if table.unit_score is not None:
        of_folds["unit_score"] = (("fold", "y_unit"), table.unit_score[0])
    return Scores(table.score, None, of_folds)


LINEAR_PREDICTIVITY = RidgeMetric(
    name="linear_predictivity",
    directed=True,
    lowest=-1.0,
    highest=1.0,
    chance=0.0,
    invariances=frozenset({"translation", "unit_permutation", "unit_scaling"}),
    formula="mean over folds and target units of Pearson r(Y_test, ridge prediction of Y_test from X_test)",
    source="He, Trott & Khosla, Seeing Through Words, Speaking Through Pixels, section 2 and appendix A.1",
    settings=PredictivitySettings,
    protocols=PROTOCOLS,
    of_units=True,
)

RETRIEVAL = RidgeMetric(
    name="retrieval",
    directed=True,
    lowest=0.0,
    highest=1.0,
    chance=None,
    invariances=frozenset({"translation", "unit_permutation", "unit_scaling"}),
    formula="share of held-out items whose own y, among those of the fold, is most like the ridge prediction from x "
    "(Pearson r over units); by chance folds / N",
    source="top-1 cross-modal retrieval, as Frome et al. 2013 (DeViSE), from cross-validated ridge predictions",
    measure="retrieval",
    settings=RidgeSettings,
    protocols=PROTOCOLS,
)

MATCHING_ACCURACY = RidgeMetric(
    name="matching_accuracy",
    directed=True,
    lowest=0.0,
    highest=1.0,
    chance=0.5,
    invariances=frozenset({"translation", "unit_permutation", "unit_scaling"}),
    formula="share of pairs of held-out items in which the ridge prediction from x is more like its own y than the "
    "other's (Pearson r over units)",
    source="two-way identification of Mitchell et al. 2008, from cross-validated ridge predictions",
    measure="matching",
    settings=RidgeSettings,
    protocols=PROTOCOLS,
)
