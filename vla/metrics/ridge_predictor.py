"""One predictor layer of one fold, factorised once for every penalty, target layer and pairing.

N items, n training items, m test items, d predictor units, r directions.
"""

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from vla import devices
from vla.devices import AnyArray
from vla.metrics.gram import centre, moments, standardise, symmetric_product


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


class Predictor(NamedTuple):
    """One predictor layer of one fold.

    Attributes:
      spectrum: Of the training rows.
      projected_test: A_test A^T U, each column centred: predictions made from it have a mean of zero over the test
        rows, as their correlation needs.
      projected_mean: What was taken off: the mean over the test rows of A_test A^T, times U.
    """

    spectrum: Spectrum
    projected_test: Float[AnyArray, "m r"]
    projected_mean: Float[AnyArray, " r"]


@functools.partial(devices.compiled, static_argnames="own")
def _standardised(
    layer: Float[AnyArray, "N d"], train: Int[AnyArray, " n"], test: Int[AnyArray, " m"], *, own: bool
) -> tuple[Float[AnyArray, "n d"], Float[AnyArray, "m d"]]:
    rows, test_rows = layer[train].astype(np.float64), layer[test].astype(np.float64)
    of_train = moments(rows)
    return standardise(rows, of_train), standardise(test_rows, moments(test_rows) if own else of_train)


@devices.compiled
def _project(
    a: Float[AnyArray, "n d"], a_test: Float[AnyArray, "m d"], s: Spectrum
) -> tuple[Float[AnyArray, "m r"], Float[AnyArray, " r"]]:
    # A unit that is constant over the test rows becomes exactly zero there: a constant prediction is seen as one.
    m = moments(a_test)
    return (centre(a_test, m) @ a.T) @ s.vectors, (m.mean @ a.T) @ s.vectors


def prepare_predictor(
    layer: Float[AnyArray, "N d"], train: np.ndarray, test: np.ndarray, own_statistics: bool
) -> Predictor:
    """Standardise and factorise one layer; every penalty and every target layer reuses the result.

    Args:
      layer: Activations of all items.
      train: Rows to fit on.
      test: Rows to predict.
      own_statistics: Standardise the test rows by their own mean and scale instead of the training rows'.
    """
    a, a_test = devices.multiplied_here(_standardised(layer, train, test, own=own_statistics))
    s = spectrum(a)
    return Predictor(s, *_project(a, a_test, s))


class Targets(NamedTuple):
    """Target layers of one fold, in the precision of the products.

    Attributes:
      train: Z-scored training rows.
      scale: What `train` is to be multiplied by where the scale of units matters: 1 for z-scored targets.
      test: Test rows, centred, of unit norm.
      spread: Norm of the centred test rows in units of the training scale.
      offset: Mean of the test rows less that of the training rows, in units of the training scale.
      constant: Units without variance in training or in test rows.
    """

    train: Float[AnyArray, "T n e"]
    scale: Float[AnyArray, "T e"]
    test: Float[AnyArray, "T m e"]
    spread: Float[AnyArray, "T e"]
    offset: Float[AnyArray, "T e"]
    constant: Bool[AnyArray, "T e"]


@functools.partial(devices.compiled, static_argnames="standardize")
def prepare_targets(
    layers: Float[AnyArray, "Y N e"],
    which: Int[AnyArray, " T"],
    train: Int[AnyArray, "T n"],
    test: Int[AnyArray, "T m"],
    *,
    standardize: bool,
) -> Targets:
    """Standardise target layers.

    With `standardize` off, the choice of the penalty sees the raw scale of every unit. Predictions need not: the
    correlation of a unit does not depend on its scale.

    Args:
      layers: Activations of all items at every layer.
      which: Layers to prepare.
      train: Rows to fit on, for each of them.
      test: Rows to predict, for each of them.
      standardize: Whether penalties are chosen by z-scored targets.
    """
    xp, dtype = layers.__array_namespace__(), layers.dtype

    def one(task: tuple[Any, Int[AnyArray, " n"], Int[AnyArray, " m"]]) -> Targets:
        layer, train_rows, test_rows = task
        rows, unseen = (layers[layer][part].astype(np.float64) for part in (train_rows, test_rows))
        of_train, of_test = moments(rows), moments(unseen)
        z = standardise(rows, of_train).astype(dtype)
        scale = xp.ones_like(of_train.scale) if standardize else of_train.scale
        unit = standardise(unseen, of_test) / np.sqrt(unseen.shape[0])
        return Targets(
            train=z,
            scale=scale,
            test=unit.astype(dtype),
            spread=xp.where(of_test.constant, 0.0, of_test.scale) / of_train.scale * np.sqrt(unseen.shape[0]),
            offset=(of_test.mean - of_train.mean) / of_train.scale,
            constant=of_train.constant | of_test.constant,
        )

    return devices.mapped(one, (which, train, test))


def target_grams(targets: Targets, spread: Callable[[Callable, Sequence], Iterable] = map) -> Float[AnyArray, "T n n"]:
    """Y Y^T / e of the training rows of every target layer, times `scale`: all that the search of a penalty needs.

    Args:
      targets: As prepared.
      spread: Applies a function to several target layers: `map`, or that of a pool of threads, for NumPy's arrays.
    """
    if not isinstance(targets.train, np.ndarray):
        return jax.lax.map(lambda one: _gram(*one), (targets.train, targets.scale))
    layers, n, _ = targets.train.shape
    grams = np.empty((layers, n, n), targets.train.dtype)

    def fill(t: int) -> None:
        grams[t] = _gram(targets.train[t], targets.scale[t])

    list(spread(fill, range(layers)))
    return grams


def _gram(train: Float[AnyArray, "n e"], scale: Float[AnyArray, " e"]) -> Float[AnyArray, "n n"]:
    return symmetric_product(train * scale.astype(train.dtype)) / train.shape[1]
