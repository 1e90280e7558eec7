"""Centred kernel alignment with linear and Gaussian kernels, biased and debiased.

N items, D units.

Sources: Kornblith et al. (2019) for the biased form (as in the paper's appendix A.1) and for Gaussian kernels (sections
2.3 and 4); Song et al. (2012) and Nguyen, Raghu & Kornblith (2021) for the unbiased HSIC of the debiased form.
"""

import dataclasses
import functools
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from vla.checks import check_number
from vla.metrics.gram import centred, linear_gram, squared_euclidean, u_centred
from vla.metrics.metric import ROTATIONS, NoSettings
from vla.metrics.pairs import PairMetric


@dataclasses.dataclass(frozen=True)
class KernelSettings:
    """How wide the Gaussian kernel is.

    Attributes:
      bandwidth: Standard deviation of the kernel as a multiple of the median distance between items.
    """

    bandwidth: Any = 1.0

    def __post_init__(self) -> None:
        """Refuse values without meaning."""
        check_number("bandwidth", self.bandwidth, above=0)


def gram(x: Float[Array, "N D"], settings: object = None) -> Float[Array, "N N"]:
    """The linear kernel of centred units; that of a subset of items is a part of it, up to centring and scale."""
    return linear_gram(x)


def squared_distances(x: Float[Array, "N D"], settings: object = None) -> Float[Array, "N N"]:
    """|x_i - x_j|^2, up to scale; those of a subset of items are a part of them."""
    return squared_euclidean(x)


def gram_of_distances(d: Float[Array, "N N"], settings: object = None) -> Float[Array, "N N"]:
    """-d^2 / 2, which is the linear kernel of Euclidean distances up to centring (Torgerson 1952)."""
    return -(d**2) / 2


def squares(d: Float[Array, "N N"], settings: object = None) -> Float[Array, "N N"]:
    """d^2."""
    return d**2


def gaussian_kernel(squared: Float[Array, "N N"], bandwidth: float) -> Float[Array, "N N"]:
    """exp(-|x_i - x_j|^2 / (2 sigma^2)), sigma = bandwidth * median over pairs i < j of |x_i - x_j|.

    NaN where more than half of the pairs of items are alike, so that there is no median distance.

    Raises:
      ValueError: One item, which has no distances.
    """
    if len(squared) < 2:
        raise ValueError(f"a Gaussian kernel of median width needs at least 2 items; {len(squared)} given.")
    median = jnp.median(jnp.sqrt(squared[np.tril_indices(len(squared), -1)]))
    scale = jnp.where(median > 0, 2 * (bandwidth * median) ** 2, jnp.nan)
    return jnp.exp(-squared / scale)


def biased(k: Float[Array, "N N"], settings: object = None) -> Float[Array, "N N"]:
    """The centred kernel of unit norm: CKA(X, Y) = <HKH, HLH> / (|HKH| |HLH|). NaN when all items are alike."""
    if isinstance(settings, KernelSettings):
        k = gaussian_kernel(k, settings.bandwidth)
    return normalised(centred(k))


def debiased(k: Float[Array, "N N"], settings: object = None, *, name: str = "cka_debiased") -> Float[Array, "N N"]:
    """The U-centred kernel of unit norm: CKA(X, Y) = HSIC_1(K, L) / sqrt(HSIC_1(K, K) HSIC_1(L, L)).

    It is 0 in expectation for independent features, whatever their number. NaN when all items are alike.

    Raises:
      ValueError: Fewer than 4 items, for which HSIC_1 is undefined.
    """
    if len(k) < 4:
        raise ValueError(f"{name} needs at least 4 items; {len(k)} given.")
    if isinstance(settings, KernelSettings):
        k = gaussian_kernel(k, settings.bandwidth)
    return normalised(u_centred(k))


def normalised(k: Float[Array, "N N"]) -> Float[Array, "N N"]:
    """To unit Frobenius norm; NaN where there is nothing but zeros."""
    size = jnp.linalg.norm(k)
    return jnp.where(size > 0, k / jnp.where(size > 0, size, 1.0), jnp.nan)


def _metric(name: str, rbf: bool, unbiased: bool, formula: str, source: str) -> PairMetric:
    return PairMetric(
        name=name,
        directed=False,
        lowest=-1.0 if unbiased else 0.0,
        highest=1.0,
        chance=0.0 if unbiased else None,
        invariances=ROTATIONS,
        formula=formula,
        source=source,
        settings=KernelSettings if rbf else NoSettings,
        matrix=squared_distances if rbf else gram,
        distances=squares if rbf else gram_of_distances,
        prepare=functools.partial(debiased, name=name) if unbiased else biased,
    )


CKA = _metric(
    "cka", False, False,
    "<HKH, HLH> / (|HKH| |HLH|), K = XX^T, L = YY^T",
    "Kornblith et al. 2019; biased HSIC as in the paper's appendix A.1",
)  # fmt: skip

CKA_DEBIASED = _metric(
    "cka_debiased", False, True,
    "HSIC_1(K, L) / sqrt(HSIC_1(K, K) HSIC_1(L, L)), HSIC_1 the unbiased estimator",
    "Song et al. 2012; Nguyen, Raghu & Kornblith 2021",
)  # fmt: skip

CKA_RBF = _metric(
    "cka_rbf", True, False,
    "<HKH, HLH> / (|HKH| |HLH|), K_ij = exp(-|x_i - x_j|^2 / (2 sigma^2)), sigma = bandwidth * median distance",
    "Kornblith et al. 2019",
)  # fmt: skip

CKA_RBF_DEBIASED = _metric(
    "cka_rbf_debiased", True, True,
    "HSIC_1(K, L) / sqrt(HSIC_1(K, K) HSIC_1(L, L)), K and L as for cka_rbf",
    "Song et al. 2012; Kornblith et al. 2019",
)  # fmt: skip
