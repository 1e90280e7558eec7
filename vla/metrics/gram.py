"""Linear Gram matrices of one layer, centred, in float64.

N items, D units.
"""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int


class Moments(NamedTuple):
    """Column means, scales and which columns are constant."""

    mean: Float[Array, " d"]
    scale: Float[Array, " d"]
    constant: Bool[Array, " d"]


def moments(x: Float[Array, "n d"]) -> Moments:
    """Mean and population standard deviation of every column.

    A column counts as constant under scikit-learn's rule: its variance is within the rounding error
    of its mean, so that dividing by it would only amplify noise. Such a column has scale 1.

    Equivalent to `sklearn.preprocessing.StandardScaler().fit(x)`.
    """
    n, eps = x.shape[0], float(np.finfo(np.float64).eps)
    average = jnp.full(n, 1 / n, x.dtype)  # a product sums columns much faster than a reduction does on CPUs
    mean = average @ x
    variance = average @ (x - mean) ** 2
    constant = variance <= n * eps * variance + (n * mean * eps) ** 2
    return Moments(mean, jnp.where(constant, 1.0, jnp.sqrt(variance)), constant)


def centre(x: Float[Array, "n d"], m: Moments) -> Float[Array, "n d"]:
    """Remove the mean; constant columns become exactly zero, not the rounding error of their mean."""
    return jnp.where(m.constant, 0.0, x - m.mean)


def standardise(x: Float[Array, "n d"], m: Moments) -> Float[Array, "n d"]:
    """Remove the mean and divide by the scale; constant columns become exactly zero."""
    return centre(x, m) / m.scale


def power_of_two(largest: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """The power of two next below a positive number, to divide by without rounding so that squares of float64 neither
    over- nor underflow; 1 for zero."""
    _, exponent = jnp.frexp(jnp.where(largest > 0, largest, 1.0))
    return jnp.ldexp(jnp.ones_like(largest), exponent - 1)


# Tiles along each side of a symmetric product, and the items from which the time that they save exceeds that of
# compiling them.
_TILES, _LARGE = 4, 512

Tile = tuple[slice, slice]


def lower_tiles(n: int) -> list[Tile]:
    """Row and column slices that cover the lower triangle of an n x n matrix, diagonal tiles included."""
    spans = _spans(n)
    return [(rows, columns) for i, rows in enumerate(spans) for columns in spans[: i + 1]]


def symmetric_product(a: Float[Array, "n k"], weights: Float[Array, " k"] | None = None) -> Float[Array, "n n"]:
    """a a^T, or a diag(weights) a^T, from its lower tiles: five eighths of a product where n is large."""
    weighted = a if weights is None else a * weights
    spans = _spans(a.shape[0])
    below = [[weighted[rows] @ a[columns].T for columns in spans[: i + 1]] for i, rows in enumerate(spans)]
    places = range(len(spans))
    return jnp.block([[below[i][j] if i >= j else below[j][i].T for j in places] for i in places])


def _spans(n: int) -> list[slice]:
    tiles = _TILES if n >= _LARGE else 1
    edges = sorted({n * i // tiles for i in range(tiles + 1)})
    return [slice(start, stop) for start, stop in itertools.pairwise(edges)]


def linear_gram(x: Float[Array, "N D"]) -> Float[Array, "N N"]:
    """K = X X^T of column-centred rows, in float64, up to a factor to which every measure built on it is invariant."""
    return symmetric_product(in_common_scale(x))


def in_common_scale(x: Float[Array, "N D"]) -> Float[Array, "N D"]:
    """Columns centred, and scaled together to unit root mean square, in float64.

    Columns are centred before a product: X X^T of raw activations, whose mean may be large, would lose the digits that
    centring K afterwards needs. The scale keeps K from over- and underflowing.
    """
    x = x.astype(jnp.float64)
    x = centre(x, moments(x))
    power = jnp.mean(x**2)
    return x / jnp.sqrt(jnp.where(power > 0, power, 1.0))


def centred(k: Float[Array, "N N"]) -> Float[Array, "N N"]:
    """HKH: rows and columns of mean zero; exactly zero for items that are all alike."""
    rest = k - jnp.mean(k, axis=0)
    return _beyond_rounding(rest - jnp.mean(rest, axis=1, keepdims=True), k)


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
    return _squared(centre_of_most(in_common_scale(x)))


def centre_of_most(x: Float[Array, "N D"]) -> Float[Array, "N D"]:
    """Centred at a point that a few far items do not draw away from the rest: the mean, moved twice to the mean with
    weights 1 / (1 + p / median p), p the squared distances from the point before."""
    for _ in range(2):
        power = jnp.sum(x**2, axis=1)
        typical = jnp.median(power)
        weight = 1 / (1 + power / jnp.where(typical > 0, typical, 1.0))
        x = x - (weight / jnp.sum(weight)) @ x
    return x


def _squared(x: Float[Array, "N D"]) -> Float[Array, "N N"]:
    k = symmetric_product(x)
    power = jnp.diag(k)
    both = power[:, None] + power[None, :]
    distance = both - 2 * k
    itself = jnp.eye(len(k), dtype=bool)
    cancels = (distance < _CANCELS * both) & ~itself

    # Rows that have such distances, one after the other.
    rows = jnp.any(cancels, axis=1)
    (queue,) = jnp.nonzero(rows, size=len(x), fill_value=0)

    def refine(state: tuple[Array, Array]) -> tuple[Array, Array]:
        number, distance = state
        i = queue[number]
        exact = jnp.sum((x - x[i]) ** 2, axis=1)
        return number + 1, distance.at[i].set(jnp.where(cancels[i], exact, distance[i]))

    count = jnp.sum(rows)
    _, distance = jax.lax.while_loop(lambda state: state[0] < count, refine, (jnp.zeros_like(count), distance))
    return jnp.where(itself, 0.0, distance)


def correlation(x: Float[Array, "N D"]) -> Float[Array, "N N"]:
    """1 - Pearson r between the units of item i and of item j, in [0, 2]; NaN for an item whose units are all alike.

    It is half the squared distance of items that are centred and of unit norm. Distances close to 0 keep their digits;
    those close to 2 are exact to rounding, so that RSA takes those within 1e-11 of each other as tied.

    Equivalent to `scipy.spatial.distance.pdist(x, "correlation")`.
    """
    rows = x.astype(jnp.float64).T
    rows = _unit(centre(rows, moments(rows)).T)
    distance = jnp.minimum(_squared(rows) / 2, 2.0)
    # What the rounding of the rows leaves between items that correlate perfectly; NaN stays NaN.
    return jnp.where(distance <= (x.shape[1] * np.finfo(np.float64).eps) ** 2, 0.0, distance)


def _unit(x: Float[Array, "N D"]) -> Float[Array, "N D"]:
    """Rows of norm 1, of numbers whose squares neither over- nor underflow; NaN for rows of zeros."""
    x = x / power_of_two(jnp.max(jnp.abs(x), axis=1, keepdims=True))
    size = jnp.linalg.norm(x, axis=1, keepdims=True)
    return jnp.where(size > 0, x / jnp.where(size > 0, size, 1.0), jnp.nan)


class Principal(NamedTuple):
    """A centred layer as vectors @ diag(values) @ loadings, in float64.

    Attributes:
      vectors: Orthonormal columns over items; zero beyond `rank`.
      values: Singular values, descending; zero beyond `rank`.
      loadings: Orthonormal rows over units.
      rank: How many directions are more than rounding error of the computation, or of float32 activations.
    """

    vectors: Float[Array, "N R"]
    values: Float[Array, " R"]
    loadings: Float[Array, "R D"]
    rank: Int[Array, ""]

    def first(self, count: int | Int[Array, ""]) -> "Principal":
        """The directions of most variance; the others are zero."""
        count = jnp.minimum(self.rank, count)
        kept = jnp.arange(len(self.values)) < count
        return Principal(self.vectors * kept, self.values * kept, self.loadings, count)


def principal(x: Float[Array, "N D"], standardised: bool = False) -> Principal:
    """Thin singular value decomposition of the centred layer, not of its Gram matrix, which would lose the directions
    of little variance.

    Args:
      x: A layer.
      standardised: Z-score units first.
    """
    size = max(x.shape)
    floor = max(size * np.finfo(np.float64).eps, np.sqrt(size) * np.finfo(x.dtype).eps)
    x = x.astype(jnp.float64)
    m = moments(x)
    u, s, v = jnp.linalg.svd(standardise(x, m) if standardised else centre(x, m), full_matrices=False)
    count = jnp.sum(s > floor * s[0])
    return Principal(u, s, v, count).first(count)
