"""Orthogonal Procrustes similarity: how well a rotation brings one layer onto another.

N items, D units, R = min(N, D).

Sources: Schönemann (1966); Ding, Denain & Steinhardt (2021). Their distance |X|^2 + |Y|^2 - 2 |X^T Y|_* is,
for layers of unit norm, 2 - 2 times this similarity.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from vla.metrics import states
from vla.metrics.gram import centre, moments
from vla.metrics.metric import ROTATIONS, Metric


@jax.jit(static_argnames="settings")
def prepare(x: Float[Array, "N D"], settings: object = None) -> Float[Array, "N R"]:
    """The centred layer of unit Frobenius norm, rotated to at most as many units as items.

    |X^T Y|_* is the same for X Q with orthonormal Q; the triangular factor of X^T is such a layer.
    """
    x = x.astype(jnp.float64)
    x = centre(x, moments(x))
    if x.shape[1] > x.shape[0]:
        x = jnp.linalg.qr(x.T, mode="r").T
    return x / jnp.linalg.norm(x)


def compare(a: Float[Array, "N R"], b: Float[Array, "N S"], settings: object = None) -> Float[Array, ""]:
    """Nuclear norm of the product: the largest inner product that a rotation of one side reaches."""
    return jnp.minimum(jnp.sum(jnp.linalg.svd(a.T @ b, compute_uv=False)), 1.0)


def permute(state: Float[Array, "N R"], order: Int[Array, " N"]) -> Float[Array, "N R"]:
    """The state of the reordered layer."""
    return state[order]


PROCRUSTES = Metric(
    name="procrustes",
    directed=False,
    lowest=0.0,
    highest=1.0,
    chance=None,
    invariances=ROTATIONS,
    formula="|X^T Y|_* / (|X| |Y|), X and Y centred",
    source="Ding, Denain & Steinhardt 2021; Schönemann 1966",
    all_pairs=functools.partial(states.all_pairs, prepare=prepare, compare=compare, permute=permute),
)
