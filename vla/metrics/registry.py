"""The table of metrics: names, declared facts, how all layer pairs are computed."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Literal

from vla.metrics import cka, linear_predictivity, signatures

Invariance = Literal["item_permutation", "isotropic_scaling", "orthogonal", "translation", "unit_permutation",
                     "unit_scaling"]  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Metric:
    """What a metric is, as data from which the property tests are generated.

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
      all_pairs: The computation; `linear_predictivity.all_pairs` or a partial of `signatures.all_pairs`.
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


_GRAM_INVARIANCES: frozenset[Invariance] = frozenset(
    {"item_permutation", "isotropic_scaling", "orthogonal", "translation", "unit_permutation"}
)

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            name="linear_predictivity",
            directed=True,
            lowest=-1.0,
            highest=1.0,
            chance=0.0,
            invariances=frozenset({"translation", "unit_permutation", "unit_scaling"}),
            formula="mean over folds and target units of Pearson r(Y_test, ridge prediction of Y_test from X_test)",
            source="He, Trott & Khosla, Seeing Through Words, Speaking Through Pixels, section 2 and appendix A.1",
            all_pairs=linear_predictivity.all_pairs,
        ),
        Metric(
            name="cka",
            directed=False,
            lowest=0.0,
            highest=1.0,
            chance=None,
            invariances=_GRAM_INVARIANCES,
            formula="<HKH, HLH> / (|HKH| |HLH|), K = XX^T, L = YY^T",
            source="Kornblith et al. 2019; biased HSIC as in the paper's appendix A.1",
            all_pairs=functools.partial(
                signatures.all_pairs, prepare=cka.prepare_biased, compare=cka.compare, permute=cka.permute
            ),
        ),
        Metric(
            name="cka_debiased",
            directed=False,
            lowest=-1.0,
            highest=1.0,
            chance=0.0,
            invariances=_GRAM_INVARIANCES,
            formula="HSIC_1(K, L) / sqrt(HSIC_1(K, K) HSIC_1(L, L)), HSIC_1 the unbiased estimator",
            source="Song et al. 2012; Nguyen, Raghu & Kornblith 2021",
            all_pairs=functools.partial(
                signatures.all_pairs, prepare=cka.prepare_debiased, compare=cka.compare, permute=cka.permute
            ),
        ),
    )
}


def find(name: str) -> Metric:
    """The metric of that name.

    Raises:
      ValueError: There is none; the message lists those there are.
    """
    if name not in METRICS:
        raise ValueError(f"Unknown metric {name!r}; expected one of {sorted(METRICS)}.")
    return METRICS[name]
