"""Draws the grounds of the microworld, each kind of stuff with a texture of its own.

Axis letters: H height, W width.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

Ground = Float[np.ndarray, "H W 3"]


def ground(stuff: str, side: int, grain: int) -> UInt8[np.ndarray, "H W 3"]:
    """A square of `side` pixels of one kind of stuff; `grain` seeds its texture."""
    rng = np.random.default_rng(grain)
    return np.clip(_TEXTURES[stuff](side, rng), 0, 255).astype(np.uint8)


def _plain(side: int, colour: tuple[int, int, int]) -> Ground:
    return np.broadcast_to(np.array(colour, np.float64), (side, side, 3)).copy()


def _clouds(side: int, rng: np.random.Generator, rows: int, columns: int) -> Float[np.ndarray, "H W 1"]:
    """Smooth noise of mean 0 and deviation 1 at the nodes, with so many nodes down and across."""
    nodes = Image.fromarray(rng.standard_normal((rows, columns)).astype(np.float32))
    return np.asarray(nodes.resize((side, side), Image.Resampling.BICUBIC), np.float64)[..., None]


def _grid(side: int) -> tuple[Float[np.ndarray, "H W"], Float[np.ndarray, "H W"]]:
    """y and x of each pixel, from 0 to 1."""
    y, x = np.mgrid[:side, :side] / side
    return y, x


def _grass(side: int, rng: np.random.Generator) -> Ground:
    blades = _clouds(side, rng, side // 16, side // 3)
    return _plain(side, (112, 178, 70)) + 24 * blades * (0.9, 1, 0.6) + 8 * _clouds(side, rng, 4, 4)


def _sea(side: int, rng: np.random.Generator) -> Ground:
    y, x = _grid(side)
    swell = y * 9 + 0.22 * np.sin(2 * np.pi * (2.5 * x + rng.uniform())) + 0.3 * _clouds(side, rng, 4, 4)[..., 0]
    crest = np.clip(np.cos(2 * np.pi * swell), 0, 1)[..., None] ** 6
    return _plain(side, (38, 112, 190)) + crest * (80, 80, 55) - 26 * y[..., None]


def _sand(side: int, rng: np.random.Generator) -> Ground:
    y, x = _grid(side)
    ripples = np.sin(2 * np.pi * (y * 5 + x + 0.5 * _clouds(side, rng, 3, 3)[..., 0]))[..., None]
    return _plain(side, (232, 206, 146)) + 7 * ripples + 15 * _clouds(side, rng, side // 4, side // 4)


def _snow(side: int, rng: np.random.Generator) -> Ground:
    drifts = np.abs(_clouds(side, rng, 4, 3))
    flakes = (_clouds(side, rng, side // 5, side // 5) > 1.6) * 14.0
    return _plain(side, (242, 246, 252)) - drifts * (20, 14, 4) + flakes


def _brick_wall(side: int, rng: np.random.Generator) -> Ground:
    y, x = _grid(side)
    y, x = y * 8 + rng.uniform(), x * 4 + rng.uniform()
    row = np.floor(y).astype(int)
    x = x + 0.5 * (row % 2)
    column = np.floor(x).astype(int)
    tone = 14 * rng.standard_normal((10, 7))[row, column][..., None]
    mortar = ((y % 1 < 0.14) | (x % 1 < 0.07))[..., None]
    grit = 6 * _clouds(side, rng, side // 4, side // 4)
    return np.where(mortar, 204.0 + grit, _plain(side, (168, 74, 54)) + tone + grit)


def _wooden_floor(side: int, rng: np.random.Generator) -> Ground:
    y, x = _grid(side)
    y = y * 5 + rng.uniform()
    row = np.floor(y).astype(int)
    x = x * 1.4 + rng.uniform(size=7)[row]
    tone = 13 * rng.standard_normal((7, 4))[row, np.floor(x).astype(int)][..., None]
    gap = ((y % 1 < 0.06) | (x % 1 < 0.02))[..., None]
    veins = 12 * _clouds(side, rng, side // 3, 4)
    return np.where(gap, (84.0, 50.0, 26.0), _plain(side, (190, 132, 76)) + tone + veins)


def _night_sky(side: int, rng: np.random.Generator) -> Ground:
    y, _ = _grid(side)
    sky = _plain(side, (12, 14, 44)) + y[..., None] * (24, 22, 50)
    size = side // 64
    for top, left in rng.integers(0, side - size, size=(26, 2)):
        sky[top : top + size, left : left + size] = rng.uniform(130, 245)
    return sky


def _road(side: int, rng: np.random.Generator) -> Ground:
    y, x = _grid(side)
    asphalt = _plain(side, (104, 104, 108)) + 11 * _clouds(side, rng, side // 3, side // 3)
    dashes = (np.abs(y - 0.8) < 0.03) & ((x * 3 + rng.uniform()) % 1 < 0.6)
    kerb = y < 0.09
    return np.where(dashes[..., None], 238.0, np.where(kerb[..., None], 176.0, asphalt))


_TEXTURES: dict[str, Callable[[int, np.random.Generator], Ground]] = {
    "brick wall": _brick_wall,
    "grass": _grass,
    "night sky": _night_sky,
    "road": _road,
    "sand": _sand,
    "sea": _sea,
    "snow": _snow,
    "wooden floor": _wooden_floor,
}
