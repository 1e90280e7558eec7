"""All layer pairs of a metric whose score is an inner product of per-layer signatures.

N items, D and E units, X and Y layers, P pairings of items.
"""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from vla import devices

Prepare = Callable[[Float[Array, "N D"]], Array]
Compare = Callable[[Array, Array], Array]
Permute = Callable[[Array, np.ndarray], Array]


@devices.in_float64
def all_pairs(
    x: Float[np.ndarray, "X N D"],
    y: Float[np.ndarray, "Y N E"],
    prepare: Prepare,
    compare: Compare,
    permute: Permute,
    pairings: Int[np.ndarray, "P N"] | None = None,
    advance: Callable[[int], None] = lambda cells: None,
) -> Float[np.ndarray, "P X Y"]:
    """Prepare every layer once, then compare all pairs as one matrix product per pairing.

    Args:
      x: Activations of one model.
      y: Activations of the other model on the same items.
      prepare: Layer to signature.
      compare: All signatures against all signatures to scores.
      permute: Signatures and an order of items to the signatures of the reordered items.
      pairings: Row p pairs item i of `x` with item `pairings[p, i]` of `y`; None pairs i with i.
      advance: Called with the number of cells just finished.
    """
    pairings = np.arange(x.shape[1])[None] if pairings is None else pairings
    left = jnp.stack([prepare(jnp.asarray(layer)) for layer in x])
    right = jnp.stack([prepare(jnp.asarray(layer)) for layer in y])
    tables = []
    for order in pairings:
        tables.append(np.asarray(compare(left, permute(right, order))))
        advance(len(x) * len(y))
    return np.stack(tables)
