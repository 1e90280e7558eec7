"""The eigendecomposition from which ridge solutions for every penalty follow.

n training items, d units, r retained directions, a penalties (alphas).

With A (n x d) the z-scored training rows, K = A A^T and 1 the constant direction, ridge regression
with an unpenalised intercept is governed by

    C_alpha = (K + alpha I)^-1 restricted to the complement of 1  =  c I' + U diag(w_alpha) U^T

where U spans directions orthogonal to 1 and I' = I - 1 1^T / n. Predictions of test rows are
(A_test A^T) C_alpha Y, cross-validation residuals depend on C_alpha up to a scalar factor only.
`vla.metrics.ridge_losses` has the residuals.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from vla import devices
from vla.devices import AnyArray
from vla.metrics.symmetric import symmetric_product


class Spectrum(NamedTuple):
    """Eigenvectors and eigenvalues of K on the complement of the constant direction.

    Attributes:
      vectors: U, orthonormal columns orthogonal to 1, float64.
      values: Eigenvalues, float64, ascending; those within rounding error of zero are exactly zero.
    """

    vectors: Float[AnyArray, "n r"]
    values: Float[AnyArray, " r"]

    @property
    def complete(self) -> bool:
        """Whether U spans the whole complement of 1, so that no multiple of I' is needed."""
        return self.vectors.shape[1] == self.vectors.shape[0] - 1


@devices.compiled
def spectrum(a: Float[AnyArray, "n d"]) -> Spectrum:
    """Decompose K = a a^T for column-centred rows `a`, in float64.

    The cheaper side is decomposed: the n x n matrix, or the d x d one when d is less than half of n.
    In the first case K is reflected by a Householder matrix that maps 1/sqrt(n) to the first axis, so the
    constant direction drops out exactly, also when K has other null directions to confuse it with.
    """
    xp, (n, d) = a.__array_namespace__(), a.shape
    if 2 * d < n:
        values, right = xp.linalg.eigh(a.T @ a)
        values = _clip(values, max(n, d))
        left = a @ right / xp.sqrt(xp.where(values > 0, values, 1.0))
        return Spectrum(xp.where(values > 0, left, 0.0), values)
    unit = np.full(n, 1 / np.sqrt(n))
    unit[0] += 1.0
    unit = xp.asarray(unit / np.linalg.norm(unit))
    # (I - 2 u u^T) K (I - 2 u u^T) as one symmetric update of rank two.
    k = symmetric_product(a)
    ku = k @ unit
    half = 2 * ku - 2 * (unit @ ku) * unit
    k = k - xp.outer(unit, half) - xp.outer(half, unit)
    values, inner = xp.linalg.eigh(k[1:, 1:])
    vectors = xp.concatenate([xp.zeros((1, n - 1)), inner])
    return Spectrum(vectors - 2 * xp.outer(unit, unit @ vectors), _clip(values, n))


def _clip(values: Float[AnyArray, " r"], size: int) -> Float[AnyArray, " r"]:
    # Rounding leaves null directions at +-eps * largest; with alpha = 1e-8 that would be a random weight each.
    xp = values.__array_namespace__()
    floor = size * np.finfo(np.float64).eps * xp.max(values)
    return xp.where(values > floor, values, 0.0)


def solution_weights(values: Float[AnyArray, " r"], alphas: Float[AnyArray, " a"]) -> Float[AnyArray, "a r"]:
    """1 / (s + alpha) on directions that occur in training, 0 elsewhere: predictions cannot depend on the others."""
    xp = values.__array_namespace__()
    return xp.where(values > 0, 1 / (values + alphas[:, None]), 0.0)


def residual_weights(
    s: Spectrum, alphas: Float[AnyArray, " a"]
) -> tuple[Float[AnyArray, " a"], Float[AnyArray, "a r"]]:
    """c and w with C_alpha proportional to c I' + U diag(w) U^T, scaled so that C has a mean diagonal of 1.

    With a complete U, c = 0 and w = 1 / (s + alpha): nothing cancels, however small alpha. With few directions
    C is multiplied by alpha: c = 1, w = -s / (s + alpha).
    """
    xp, n = alphas.__array_namespace__(), s.vectors.shape[0]
    if s.complete:
        c, w = xp.zeros_like(alphas), 1 / (s.values + alphas[:, None])
    else:
        c, w = xp.ones_like(alphas), -s.values / (s.values + alphas[:, None])
    norms = xp.sum(s.vectors**2, axis=0)
    scale = (c * (n - 1) + w @ norms) / n
    return c / scale, w / scale[:, None]
