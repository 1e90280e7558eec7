"""Pictures shifted and lit otherwise, as a scene may be seen again.

Axes: B pictures, S side.
"""

import numpy as np
from jaxtyping import UInt8

# The farthest shift in pixels. Nothing is mirrored: captions tell left from right.
SHIFT = 4
# The strongest change of brightness and of contrast, and of each colour channel.
LIGHT, TINT = 0.15, 0.05


def jittered(pictures: UInt8[np.ndarray, "B S S 3"], rng: np.random.Generator) -> UInt8[np.ndarray, "B S S 3"]:
    """Each picture shifted, with the border repeated, and its light changed."""
    B, S = pictures.shape[:2]
    wide = np.pad(np.asarray(pictures), ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0)), mode="edge")
    shifted = np.empty_like(pictures)
    for i, (y, x) in enumerate(rng.integers(0, 2 * SHIFT + 1, size=(B, 2))):
        shifted[i] = wide[i, y : y + S, x : x + S]
    values = shifted.astype(np.float32)
    contrast = 1 + LIGHT * rng.uniform(-1, 1, (B, 1, 1, 1))
    brightness = 255 * LIGHT * rng.uniform(-1, 1, (B, 1, 1, 1))
    tint = 255 * TINT * rng.uniform(-1, 1, (B, 1, 1, 3))
    middle = values.mean((1, 2, 3), keepdims=True)
    return np.clip((values - middle) * contrast + middle + brightness + tint, 0, 255).astype(np.uint8)
