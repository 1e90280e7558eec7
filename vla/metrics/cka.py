"""Linear centred kernel alignment, biased and debiased.

N items, D units.

Sources: Kornblith et al. (2019) and the paper's appendix A.1 for the biased form; Song et al. (2012) and
Nguyen, Raghu & Kornblith (2021) for the unbiased HSIC of the debiased form.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from vla.metrics.gram import linear_gram, u_centred


def prepare_biased(x: Float[Array, "N D"]) -> Float[Array, "N N"]:
    """Signature whose inner products are CKA: the centred Gram matrix, normalised to unit Frobenius norm.

    CKA(X, Y) = <HKH, HLH> / (|HKH| |HLH|), in [0, 1]. NaN when all items are alike.
    """
    return _normalised(linear_gram(x))


def prepare_debiased(x: Float[Array, "N D"]) -> Float[Array, "N N"]:
    """Signature whose inner products are debiased CKA: the U-centred Gram matrix, normalised.

    CKA(X, Y) = HSIC_1(K, L) / sqrt(HSIC_1(K, K) HSIC_1(L, L)), in [-1, 1], 0 in expectation for independent
    features whatever their number. NaN when all items are alike.

    Raises:
      ValueError: Fewer than 4 items, for which HSIC_1 is undefined.
    """
    if x.shape[0] < 4:
        raise ValueError(f"cka_debiased needs at least 4 items; {x.shape[0]} given.")
    return _normalised(u_centred(linear_gram(x)))


def compare(a: Float[Array, "X N N"], b: Float[Array, "Y N N"]) -> Float[Array, "X Y"]:
    """Inner products of all signatures on the left with all on the right."""
    return jnp.tensordot(a, b, axes=((-2, -1), (-2, -1)))


def permute(signature: Float[Array, "X N N"], order: np.ndarray) -> Float[Array, "X N N"]:
    """The signature of the items in another order."""
    return signature[..., order, :][..., order]


@jax.jit
def _normalised(k: Float[Array, "N N"]) -> Float[Array, "N N"]:
    size = jnp.linalg.norm(k)
    return jnp.where(size > 0, k / jnp.where(size > 0, size, 1.0), jnp.nan)
