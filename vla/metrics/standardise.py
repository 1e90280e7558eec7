"""Z-scores as scikit-learn's `StandardScaler` computes them, in float64.

n rows (items), d columns (units).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

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
