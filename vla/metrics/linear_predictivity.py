"""Linear predictivity, and what else is measured of predictions by ridge regression.

N items, d predictor units, e target units, X predictor layers, T target layers, P pairings of items.

Source: the paper, section 2 and appendix A.1. With default settings each cell equals, averaged over the folds of
`KFold(5, shuffle=True)`, scikit-learn's `RidgeCV(alphas)` on z-scored features and targets, scored by the mean
Pearson r over target units.
"""

import functools
from collections.abc import Callable, Sequence
from types import ModuleType

import numpy as np
from jaxtyping import Float, Int

from vla import devices
from vla.metrics import ridge, ridge_host
from vla.metrics.folds import Fold, Table
from vla.metrics.metric import Metric
from vla.metrics.ridge_measures import OF_UNITS
from vla.metrics.ridge_settings import PredictivitySettings, RidgeSettings
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


LINEAR_PREDICTIVITY = Metric(
    name="linear_predictivity",
    directed=True,
    lowest=-1.0,
    highest=1.0,
    chance=0.0,
    invariances=frozenset({"translation", "unit_permutation", "unit_scaling"}),
    formula="mean over folds and target units of Pearson r(Y_test, ridge prediction of Y_test from X_test)",
    source="He, Trott & Khosla, Seeing Through Words, Speaking Through Pixels, section 2 and appendix A.1",
    all_pairs=all_pairs,
    settings=PredictivitySettings,
    of_units=True,
)

RETRIEVAL = Metric(
    name="retrieval",
    directed=True,
    lowest=0.0,
    highest=1.0,
    chance=None,
    invariances=frozenset({"translation", "unit_permutation", "unit_scaling"}),
    formula="share of held-out items whose own y, among those of the fold, is most like the ridge prediction from x "
    "(Pearson r over units); by chance folds / N",
    source="top-1 cross-modal retrieval, as Frome et al. 2013 (DeViSE), from cross-validated ridge predictions",
    all_pairs=functools.partial(all_pairs, measure="retrieval"),
    settings=RidgeSettings,
)

MATCHING_ACCURACY = Metric(
    name="matching_accuracy",
    directed=True,
    lowest=0.0,
    highest=1.0,
    chance=0.5,
    invariances=frozenset({"translation", "unit_permutation", "unit_scaling"}),
    formula="share of pairs of held-out items in which the ridge prediction from x is more like its own y than the "
    "other's (Pearson r over units)",
    source="two-way identification of Mitchell et al. 2008, from cross-validated ridge predictions",
    all_pairs=functools.partial(all_pairs, measure="matching"),
    settings=RidgeSettings,
)
