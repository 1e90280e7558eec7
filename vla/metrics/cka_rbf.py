"""Centred kernel alignment with Gaussian kernels, biased and debiased.

N items, D units.

Source: Kornblith et al. (2019), section 2.3 and 4: the kernel's width is a fraction of the median distance.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from vla.checks import check_number
from vla.metrics import signatures
from vla.metrics.cka import normalised
from vla.metrics.gram import centred, squared_euclidean, u_centred
from vla.metrics.metric import ROTATIONS, Metric, Pairwise


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


def gaussian_gram(x: Float[Array, "N D"], bandwidth: float) -> Float[Array, "N N"]:
    """exp(-|x_i - x_j|^2 / (2 sigma^2)), sigma = bandwidth * median over pairs i < j of |x_i - x_j|.

    NaN where more than half of the pairs of items are alike, so that there is no median distance.
    """
    return kernel(squared_euclidean(x), bandwidth)


def kernel(squared: Float[Array, "N N"], bandwidth: float) -> Float[Array, "N N"]:
    """The same from the squared distances.

    Raises:
      ValueError: One item, which has no distances.
    """
    if len(squared) < 2:
        raise ValueError(f"a Gaussian kernel of median width needs at least 2 items; {len(squared)} given.")
    median = jnp.median(jnp.sqrt(squared[np.tril_indices(len(squared), -1)]))
    scale = jnp.where(median > 0, 2 * (bandwidth * median) ** 2, jnp.nan)
    return jnp.exp(-squared / scale)


def prepare_biased(x: Float[Array, "N D"], settings: KernelSettings) -> Float[Array, "N N"]:
    """The centred kernel matrix of unit norm."""
    return biased_signature(squared_euclidean(x), settings)


def prepare_debiased(x: Float[Array, "N D"], settings: KernelSettings) -> Float[Array, "N N"]:
    """The U-centred kernel matrix of unit norm.

    Raises:
      ValueError: Fewer than 4 items, for which the unbiased estimator is undefined.
    """
    return debiased_signature(squared_euclidean(x), settings)


def distances(x: Float[Array, "N D"], settings: KernelSettings) -> Float[Array, "N N"]:
    """The squared distances; those of a subset of items are a part of them."""
    return squared_euclidean(x)


@jax.jit(static_argnames="settings")
def biased_signature(squared: Float[Array, "N N"], settings: KernelSettings) -> Float[Array, "N N"]:
    """What `prepare_biased` gives, from the squared distances; the median is that of the items given."""
    return normalised(centred(kernel(squared, settings.bandwidth)))


@jax.jit(static_argnames="settings")
def debiased_signature(squared: Float[Array, "N N"], settings: KernelSettings) -> Float[Array, "N N"]:
    """What `prepare_debiased` gives, from the squared distances."""
    if len(squared) < 4:
        raise ValueError(f"cka_rbf_debiased needs at least 4 items; {len(squared)} given.")
    return normalised(u_centred(kernel(squared, settings.bandwidth)))


CKA_RBF = Metric(
    name="cka_rbf",
    directed=False,
    lowest=0.0,
    highest=1.0,
    chance=None,
    invariances=ROTATIONS,
    formula="<HKH, HLH> / (|HKH| |HLH|), K_ij = exp(-|x_i - x_j|^2 / (2 sigma^2)), sigma = bandwidth * median distance",
    source="Kornblith et al. 2019",
    all_pairs=functools.partial(signatures.all_pairs, prepare=prepare_biased),
    pairwise=Pairwise(distances, biased_signature),
    settings=KernelSettings,
)

CKA_RBF_DEBIASED = Metric(
    name="cka_rbf_debiased",
    directed=False,
    lowest=-1.0,
    highest=1.0,
    chance=0.0,
    invariances=ROTATIONS,
    formula="HSIC_1(K, L) / sqrt(HSIC_1(K, K) HSIC_1(L, L)), K and L as for cka_rbf",
    source="Song et al. 2012; Kornblith et al. 2019",
    all_pairs=functools.partial(signatures.all_pairs, prepare=prepare_debiased),
    pairwise=Pairwise(distances, debiased_signature),
    settings=KernelSettings,
)
