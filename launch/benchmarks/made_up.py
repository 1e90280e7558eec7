"""Activations for benchmarks.

N items, D units.
"""

import numpy as np
from jaxtyping import Float


def activations(layers: int, n: int, width: int, shared: np.ndarray, seed: int) -> Float[np.ndarray, "L N D"]:
    """Made-up layers: a decaying spectrum, as real activations have, and a growing share of common directions."""
    rng = np.random.default_rng(seed)
    spectrum = np.arange(1, width + 1) ** -0.5
    rotation = np.linalg.qr(rng.standard_normal((width, width)))[0].astype(np.float32)
    out = np.empty((layers, n, width), np.float32)
    for i in range(layers):
        latent = rng.standard_normal((n, width)) * spectrum
        latent[:, : shared.shape[1]] += shared * (0.2 + 0.8 * i / max(layers - 1, 1))
        out[i] = latent.astype(np.float32) @ np.roll(rotation, i, axis=0)
    return out


def both_sides(
    x_layers: int, y_layers: int, n: int, x_width: int, y_width: int
) -> tuple[Float[np.ndarray, "X N D"], Float[np.ndarray, "Y N E"]]:
    """Two models' activations of the same items, which have up to 50 directions in common."""
    shared = np.random.default_rng(0).standard_normal((n, min(50, x_width, y_width)))
    return activations(x_layers, n, x_width, shared, 1), activations(y_layers, n, y_width, shared, 2)
