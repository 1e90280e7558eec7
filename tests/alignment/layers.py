"""Two layers that share a few directions of very different strength."""

import numpy as np


def layers(n: int = 80, d: int = 12, e: int = 9, shared: int = 3, noise: float = 1.0, seed: int = 0):
    rng = np.random.default_rng(seed)
    latent = rng.standard_normal((n, shared)) * np.array([4.0, 2.0, 1.0])[:shared]
    x = latent @ rng.standard_normal((shared, d)) + noise * rng.standard_normal((n, d))
    y = latent @ rng.standard_normal((shared, e)) + noise * rng.standard_normal((n, e)) + 3
    return x, y
