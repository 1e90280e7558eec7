"""One predictor layer of one fold, factorised once for every penalty, target layer and pairing.

N items, n training items, m test items, d predictor units, r directions.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from vla import devices
from vla.devices import AnyArray
from vla.metrics.ridge_spectrum import Spectrum, spectrum
from vla.metrics.standardise import moments, standardise


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


@jax.jit
def _standardised(
    layer: Float[Array, "N d"], train: Int[Array, " n"], test: Int[Array, " m"], own: Bool[Array, ""]
) -> tuple[Float[Array, "n d"], Float[Array, "m d"]]:
    rows, test_rows = layer[train].astype(jnp.float64), layer[test].astype(jnp.float64)
    of_train, of_test = moments(rows), moments(test_rows)
    scaled = jnp.where(own, standardise(test_rows, of_test), standardise(test_rows, of_train))
    return standardise(rows, of_train), scaled


@devices.compiled
def _project(
    a: Float[AnyArray, "n d"], a_test: Float[AnyArray, "m d"], s: Spectrum
) -> tuple[Float[AnyArray, "m r"], Float[AnyArray, " r"]]:
    k = a_test @ a.T
    mean = k.mean(axis=0)
    return (k - mean) @ s.vectors, mean @ s.vectors


def prepare_predictor(
    layer: Float[Array, "N d"], train: np.ndarray, test: np.ndarray, own_statistics: bool
) -> Predictor:
    """Standardise and factorise one layer; every penalty and every target layer reuses the result.

    Args:
      layer: Activations of all items.
      train: Rows to fit on.
      test: Rows to predict.
      own_statistics: Standardise the test rows by their own mean and scale instead of the training rows'.
    """
    a, a_test = devices.multiplied_here(_standardised(layer, train, test, own_statistics))
    s = spectrum(a)
    return Predictor(s, *_project(a, a_test, s))
