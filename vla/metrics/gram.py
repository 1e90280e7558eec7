"""Linear Gram matrices of one layer, centred, in float64.

N items, D units.
"""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from vla import devices
from vla.devices import AnyArray


class Moments(NamedTuple):
    """Column means, scales and which columns are constant."""

    mean: Float[AnyArray, " d"]
    scale: Float[AnyArray, " d"]
    constant: Bool[AnyArray, " d"]


def moments(x: Float[AnyArray, "n d"]) -> Moments:
    """Mean and population standard deviation of every column.

    A column counts as constant under scikit-learn's rule: its variance is within the rounding error
    of its mean, so that dividing by it would only amplify noise. Such a column has scale 1.

    Equivalent to `sklearn.preprocessing.StandardScaler().fit(x)`.
    """
    xp, n, eps = x.__array_namespace__(), x.shape[0], float(np.finfo(np.float64).eps)
    mean = x.mean(axis=0)
    variance = xp.mean((x - mean) ** 2, axis=0)
    constant = variance <= n * eps * variance + (n * mean * eps) ** 2
    return Moments(mean, xp.where(constant, 1.0, xp.sqrt(variance)), constant)


def centre(x: Float[AnyArray, "n d"], m: Moments) -> Float[AnyArray, "n d"]:
    """Remove the mean; constant columns become exactly zero, not the rounding error of their mean."""
    return x.__array_namespace__().where(m.constant, 0.0, x - m.mean)


def standardise(x: Float[AnyArray, "n d"], m: Moments) -> Float[AnyArray, "n d"]:
    """Remove the mean and divide by the scale; constant columns become exactly zero."""
    return centre(x, m) / m.scale


def power_of_two(largest: Float[AnyArray, "*n"]) -> Float[AnyArray, "*n"]:
    """The power of two next below a positive number, to divide by without rounding so that squares of float64 neither
    over- nor underflow; 1 for zero."""
    xp = largest.__array_namespace__()
    _, exponent = xp.frexp(xp.where(largest > 0, largest, 1.0))
    return xp.ldexp(xp.ones_like(largest), exponent - 1)


# Tiles along each side of a symmetric product, and the items from which the time that they save exceeds that of
# compiling them.
_TILES, _LARGE = 4, 512

Tile = tuple[slice, slice]


def lower_tiles(n: int) -> list[Tile]:
    """Row and column slices that cover the lower triangle of an n x n matrix, diagonal tiles included."""
    spans = _spans(n)
    return [(rows, columns) for i, rows in enumerate(spans) for columns in spans[: i + 1]]


def symmetric_product(
    a: Float[AnyArray, "n k"], weights: Float[AnyArray, " k"] | None = None
) -> Float[AnyArray, "n n"]:
    """a a^T, or a diag(weights) a^T.

    NumPy multiplies a matrix with its own transpose by BLAS's symmetric update, half of a product; it is given that
    where weights have one sign. Else the lower tiles are computed, five eighths of a product.
    """
    if isinstance(a, np.ndarray):
        if weights is None:
            return a @ a.T
        for sign in (1.0, -1.0):
            if np.all(sign * weights >= 0):
                half = a * np.sqrt(sign * weights)
                product = half @ half.T
                return product if sign > 0 else np.negative(product, out=product)
    weighted = a if weights is None else a * weights
    spans = _spans(a.shape[0])
    below = [[weighted[rows] @ a[columns].T for columns in spans[: i + 1]] for i, rows in enumerate(spans)]
    places = range(len(spans))
    return a.__array_namespace__().block([[below[i][j] if i >= j else below[j][i].T for j in places] for i in places])


def _spans(n: int) -> list[slice]:
    tiles = _TILES if n >= _LARGE else 1
    edges = sorted({n * i // tiles for i in range(tiles + 1)})
    return [slice(start, stop) for start, stop in itertools.pairwise(edges)]


@jax.jit
def linear_gram(x: Float[Array, "N D"]) -> Float[Array, "N N"]:
    """K = X X^T of column-centred rows, in float64, up to a factor to which every measure built on it is invariant."""
    return symmetric_product(in_common_scale(x))


@devices.compiled
def in_common_scale(x: Float[AnyArray, "N D"]) -> Float[AnyArray, "N D"]:
    """Columns centred, and scaled together to unit root mean square, in float64.

    Columns are centred before a product: X X^T of raw activations, whose mean may be large, would lose the digits that
    centring K afterwards needs. The scale keeps K from over- and underflowing.
    """
    xp, x = x.__array_namespace__(), x.astype(np.float64)
    x = centre(x, moments(x))
    power = xp.mean(x**2)
    return x / xp.sqrt(xp.where(power > 0, power, 1.0))


@jax.jit
def centred(k: Float[Array, "N N"]) -> Float[Array, "N N"]:
    """HKH: rows and columns of mean zero; exactly zero for items that are all alike."""
    rest = k - jnp.mean(k, axis=0)
    return _beyond_rounding(rest - jnp.mean(rest, axis=1, keepdims=True), k)


@jax.jit
def u_centred(k: Float[Array, "N N"]) -> Float[Array, "N N"]:
    """U-centring: the diagonal is set to zero, then rows and columns are centred without bias.

    K~_ij = K_ij - sum_l K_il / (N-2) - sum_l K_lj / (N-2) + sum_lm K_lm / ((N-1)(N-2)) for i != j, else 0.

    <K~, L~> / (N (N-3)) is the unbiased estimator of HSIC of Song et al. (2012), as Szekely & Rizzo (2014) write it.
    Exactly zero for items that are all as alike as each other.
    """
    n = k.shape[0]
    off_diagonal = 1 - jnp.eye(n)
    k = k * off_diagonal
    rows = jnp.sum(k, axis=1) / (n - 2)
    centred = k - rows[:, None] - rows[None, :] + jnp.sum(k) / ((n - 1) * (n - 2))
    return _beyond_rounding(centred * off_diagonal, k)


def _beyond_rounding(rest: Float[Array, "N N"], k: Float[Array, "N N"]) -> Float[Array, "N N"]:
    """What is left of a matrix, or zero if that is no more than its rounding error: scaled up it would be a score."""
    floor = 8 * len(k) * np.finfo(np.float64).eps * jnp.linalg.norm(k)
    return jnp.where(jnp.linalg.norm(rest) > floor, rest, 0.0)


# Distances below this share of what they are the difference of are computed again.
_CANCELS = 1 / 256

# Two distances tie where they differ by no more than this share of themselves: what is left of rounding then.
TIE = 1e-11


def squared_euclidean(x: Float[Array, "N D"]) -> Float[Array, "N N"]:
    """|x_i - x_j|^2 in units of the mean square of the centred layer; exactly zero for equal items."""
    return distances_and_power(x)[0]


@jax.jit
def distances_and_power(x: Float[Array, "N D"]) -> tuple[Float[Array, "N N"], Float[Array, " N"]]:
    """`squared_euclidean`, and the squared distance of every item from a centre of them all.

    The centre is one that a few far items do not draw away from the rest: the mean, moved twice to the mean with
    weights 1 / (1 + p / median p), p the squared distances from the centre before.
    """
    x = in_common_scale(x)
    for _ in range(2):
        power = jnp.sum(x**2, axis=1)
        typical = jnp.median(power)
        weight = 1 / (1 + power / jnp.where(typical > 0, typical, 1.0))
        x = x - (weight / jnp.sum(weight)) @ x
    return _squared(x)


def _squared(x: Float[Array, "N D"]) -> tuple[Float[Array, "N N"], Float[Array, " N"]]:
    k = symmetric_product(x)
    power = jnp.diag(k)
    both = power[:, None] + power[None, :]
    distance = both - 2 * k
    itself = jnp.eye(len(k), dtype=bool)
    cancels = (distance < _CANCELS * both) & ~itself

    def row(i: Array) -> Float[Array, " N"]:
        return jax.lax.cond(jnp.any(cancels[i]), lambda: jnp.sum((x - x[i]) ** 2, axis=1), lambda: distance[i])

    refined = jax.lax.map(row, jnp.arange(len(x)))
    return jnp.where(itself, 0.0, jnp.where(cancels, refined, distance)), power


@jax.jit
def correlation(x: Float[Array, "N D"]) -> Float[Array, "N N"]:
    """1 - Pearson r between the units of item i and of item j, in [0, 2]; NaN for an item whose units are all alike.

    It is half the squared distance of items that are centred and of unit norm. Distances close to 0 keep their digits;
    those close to 2 are exact to rounding, so that RSA takes those within 1e-11 of each other as tied.

    Equivalent to `scipy.spatial.distance.pdist(x, "correlation")`.
    """
    rows = x.astype(jnp.float64).T
    rows = _unit(centre(rows, moments(rows)).T)
    distance = jnp.minimum(_squared(rows)[0] / 2, 2.0)
    # What the rounding of the rows leaves between items that correlate perfectly; NaN stays NaN.
    return jnp.where(distance <= (x.shape[1] * np.finfo(np.float64).eps) ** 2, 0.0, distance)


@jax.jit
def cosine_similarity(x: Float[Array, "N D"]) -> Float[Array, "N N"]:
    """Cosine of the angle between items, uncentred, in [-1, 1]; 0 for an item of zeros, which has no direction.

    Equivalent to `sklearn.metrics.pairwise.cosine_similarity(x)`.
    """
    x = _unit(x.astype(jnp.float64))
    return symmetric_product(jnp.where(jnp.isnan(x), 0.0, x))


def _unit(x: Float[Array, "N D"]) -> Float[Array, "N D"]:
    """Rows of norm 1, of numbers whose squares neither over- nor underflow; NaN for rows of zeros."""
    x = x / power_of_two(jnp.max(jnp.abs(x), axis=1, keepdims=True))
    size = jnp.linalg.norm(x, axis=1, keepdims=True)
    return jnp.where(size > 0, x / jnp.where(size > 0, size, 1.0), jnp.nan)


class Principal(NamedTuple):
    """A centred layer as vectors @ diag(values) @ loadings, in float64.

    Attributes:
      vectors: Orthonormal columns over items.
      values: Singular values, descending.
      loadings: Orthonormal rows over units.
    """

    vectors: Float[Array, "N R"]
    values: Float[Array, " R"]
    loadings: Float[Array, "R D"]

    def first(self, count: int) -> "Principal":
        """The directions of most variance."""
        return Principal(self.vectors[:, :count], self.values[:count], self.loadings[:count])


def principal(x: Float[Array, "N D"], standardised: bool = False) -> Principal:
    """Thin singular value decomposition of the centred layer, not of its Gram matrix, which would lose the directions
    of little variance. Those that are rounding error are left out.

    Args:
      x: A layer.
      standardised: Z-score units first.
    """
    p, kept = decomposed(x, standardised)
    return p.first(int(np.sum(kept)))


@jax.jit(static_argnames="standardised")
def decomposed(x: Float[Array, "N D"], standardised: bool = False) -> tuple[Principal, Bool[Array, " R"]]:
    """All singular vectors, and which of them are more than rounding error of the computation or of float32
    activations."""
    size = max(x.shape)
    floor = max(size * jnp.finfo(jnp.float64).eps, np.sqrt(size) * jnp.finfo(x.dtype).eps)
    x = x.astype(jnp.float64)
    m = moments(x)
    u, s, v = jnp.linalg.svd(standardise(x, m) if standardised else centre(x, m), full_matrices=False)
    return Principal(u, s, v), s > floor * s[0]
