"""Linear centred kernel alignment, biased and debiased.

N items, D units.

Sources: Kornblith et al. (2019) and the paper's appendix A.1 for the biased form; Song et al. (2012) and
Nguyen, Raghu & Kornblith (2021) for the unbiased HSIC of the debiased form.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from vla import devices
from vla.devices import AnyArray
from vla.metrics import signatures
from vla.metrics.gram import centred, in_common_scale, linear_gram, symmetric_product, u_centred
from vla.metrics.metric import ROTATIONS, Metric, Pairwise


def prepare_biased(x: Float[Array, "N D"], settings: object = None) -> signatures.Signature:
    """Signature whose inner products are CKA: the centred Gram matrix, normalised to unit Frobenius norm.

    CKA(X, Y) = <HKH, HLH> / (|HKH| |HLH|), in [0, 1]. NaN when all items are alike.
    """
    return _biased(devices.multiplied_here(x))


@devices.compiled
def _biased(x: Float[AnyArray, "N D"]) -> signatures.Signature:
    if not isinstance(x, np.ndarray):
        return normalised(linear_gram(x))
    x = in_common_scale(x)
    if 2 * x.shape[1] < len(x):  # |X X^T| = |X^T X|, which is smaller
        size = float(np.linalg.norm(symmetric_product(x.T)))
        return signatures.Factor(x / np.sqrt(size or np.nan))
    k = symmetric_product(x)
    return np.divide(k, float(np.linalg.norm(k)) or np.nan, out=k)


@jax.jit(static_argnames="settings")
def prepare_debiased(x: Float[Array, "N D"], settings: object = None) -> Float[Array, "N N"]:
    """Signature whose inner products are debiased CKA: the U-centred Gram matrix, normalised.

    CKA(X, Y) = HSIC_1(K, L) / sqrt(HSIC_1(K, K) HSIC_1(L, L)), in [-1, 1], 0 in expectation for independent
    features whatever their number. NaN when all items are alike.

    Raises:
      ValueError: Fewer than 4 items, for which HSIC_1 is undefined.
    """
    if x.shape[0] < 4:
        raise ValueError(f"cka_debiased needs at least 4 items; {x.shape[0]} given.")
    return normalised(u_centred(linear_gram(x)))


@jax.jit
def normalised(k: Float[Array, "N N"]) -> Float[Array, "N N"]:
    """To unit Frobenius norm; NaN where there is nothing but zeros."""
    size = jnp.linalg.norm(k)
    return jnp.where(size > 0, k / jnp.where(size > 0, size, 1.0), jnp.nan)


def gram(x: Float[Array, "N D"], settings: object = None) -> Float[Array, "N N"]:
    """The Gram matrix; that of a subset of items is a part of it, up to centring and scale."""
    return linear_gram(x)


@jax.jit(static_argnames="settings")
def biased_signature(k: Float[Array, "N N"], settings: object = None) -> Float[Array, "N N"]:
    """What `prepare_biased` gives, from the Gram matrix."""
    return normalised(centred(k))


@jax.jit(static_argnames="settings")
def debiased_signature(k: Float[Array, "N N"], settings: object = None) -> Float[Array, "N N"]:
    """What `prepare_debiased` gives, from the Gram matrix.

    Raises:
      ValueError: Fewer than 4 items.
    """
    if len(k) < 4:
        raise ValueError(f"cka_debiased needs at least 4 items; {len(k)} given.")
    return normalised(u_centred(k))


CKA = Metric(
    name="cka",
    directed=False,
    lowest=0.0,
    highest=1.0,
    chance=None,
    invariances=ROTATIONS,
    formula="<HKH, HLH> / (|HKH| |HLH|), K = XX^T, L = YY^T",
    source="Kornblith et al. 2019; biased HSIC as in the paper's appendix A.1",
    all_pairs=functools.partial(signatures.all_pairs, prepare=prepare_biased),
    pairwise=Pairwise(gram, biased_signature),
)

CKA_DEBIASED = Metric(
    name="cka_debiased",
    directed=False,
    lowest=-1.0,
    highest=1.0,
    chance=0.0,
    invariances=ROTATIONS,
    formula="HSIC_1(K, L) / sqrt(HSIC_1(K, K) HSIC_1(L, L)), HSIC_1 the unbiased estimator",
    source="Song et al. 2012; Nguyen, Raghu & Kornblith 2021",
    all_pairs=functools.partial(signatures.all_pairs, prepare=prepare_debiased),
    pairwise=Pairwise(gram, debiased_signature),
)
