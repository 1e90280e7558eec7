"""One predictor layer of one fold, factorised once for every penalty, target layer and pairing.

N items, n training items, m test items, d predictor units, r directions.
"""

import functools
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from vla import devices
from vla.devices import AnyArray
from vla.metrics.ridge_spectrum import Spectrum, spectrum
from vla.metrics.standardise import centre, moments, standardise


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
