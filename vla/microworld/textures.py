"""Paints the background of a scene: the texture of each ground, and the sky or wall above it.

Axis letters: H height, W width.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from PIL import Image

Ground = Float[np.ndarray, "H W 3"]
Field = Float[np.ndarray, "H W"]
Triple = tuple[int | float, int | float, int | float]
# Lower end of the sky, of the wall above a floor and of the brick wall above a pavement, as a share of the height.
HORIZON = {"brick wall": 0.74, "wooden floor": 0.3, "night sky": 1.0}
OPEN_HORIZON = 0.38


def horizon(stuff: str, side: int) -> int:
    """Row at which the upper part of a scene ends, out of `side` rows; the night sky fills all rows."""
    return round(HORIZON.get(stuff, OPEN_HORIZON) * side)


def ground(stuff: str, weather: str | None, side: int, rng: np.random.Generator) -> Ground:
    """The background of a scene, `side` pixels high and wide; values are about 0 to 255, not clipped."""
    top = horizon(stuff, side)
    pixels = np.empty((side, side, 3), np.float32)
    if stuff == "night sky":
        pixels[:] = _night_sky(side, rng)
    elif stuff == "brick wall":
        pixels[:top] = _brick_wall(side, rng)[:top]
        pixels[top:] = _pavement(side, rng)[top:]
    else:
        pixels[:top] = (_SKIES[weather] if weather else _plaster)(side, rng)[:top]
        pixels[top:] = _GROUNDS[stuff](side, rng)[top:]
    return pixels


def _clouds(side: int, rng: np.random.Generator, rows: int, columns: int) -> Field:
    """Smooth noise: standard normal values on a grid of rows × columns, interpolated bicubically to side × side."""
    nodes = Image.fromarray(rng.standard_normal((rows, columns), np.float32))
    return np.asarray(nodes.resize((side, side), Image.Resampling.BICUBIC))


def _grid(side: int) -> tuple[Float[np.ndarray, "H 1"], Float[np.ndarray, "1 W"]]:
    """y and x of each pixel, in [0, 1), as a column and a row."""
    steps = np.arange(side, dtype=np.float32) / side
    return steps[:, None], steps[None, :]


def _mixed(colour: Triple, *fields: tuple[Float[np.ndarray, "#H #W"], Triple]) -> Ground:
    """colour + Σ field × change, per channel."""
    channels = [sum((f * change[c] for f, change in fields), np.float32(colour[c])) for c in range(3)]
    return np.stack(channels, axis=-1, dtype=np.float32)


def _grass(side: int, rng: np.random.Generator) -> Ground:
    blades, patches = _clouds(side, rng, side // 5, side // 2), _clouds(side, rng, 4, 4)
    y, _ = _grid(side)
    return _mixed((92, 168, 62), (blades, (17, 20, 12)), (patches, (9, 8, 4)), (y + 0 * blades, (24, 16, 4)))


def _sea(side: int, rng: np.random.Generator) -> Ground:
    y, x = _grid(side)
    # Waves crowd towards the horizon.
    far = np.sqrt(np.clip(y - OPEN_HORIZON, 0, 1) + 0.003)
    swell = 15 * far + 0.22 * np.sin(2 * np.pi * (2.5 * x + rng.uniform())) + 0.3 * _clouds(side, rng, 5, 4)
    crest = np.clip(np.cos(2 * np.pi * swell), 0, 1) ** 6
    return _mixed((36, 104, 176), (crest, (70, 74, 56)), (y + 0 * crest, (-12, 0, 10)))


def _sand(side: int, rng: np.random.Generator) -> Ground:
    y, x = _grid(side)
    ripples = np.sin(2 * np.pi * (y * 9 + x + 0.5 * _clouds(side, rng, 3, 3)))
    grains = _clouds(side, rng, side // 2, side // 2)
    return _mixed((230, 204, 146), (ripples, (7, 7, 7)), (grains, (11, 11, 12)))


def _snow(side: int, rng: np.random.Generator) -> Ground:
    drifts = np.abs(_clouds(side, rng, 7, 4))
    flakes = np.float32(1) * (_clouds(side, rng, side // 3, side // 3) > 1.5)
    return _mixed((238, 243, 250), (drifts, (-20, -14, -5)), (flakes, (16, 14, 12)))


def _road(side: int, rng: np.random.Generator) -> Ground:
    y, x = _grid(side)
    asphalt = _mixed((102, 102, 106), (_clouds(side, rng, side // 2, side // 2), (10, 10, 10)))
    dashes = (np.abs(y - 0.76) < 0.022) & ((x * 3 + rng.uniform()) % 1 < 0.6)
    asphalt[dashes] = 236
    asphalt[np.broadcast_to((y < OPEN_HORIZON + 0.14) & (x > -1), dashes.shape)] = 168
    return asphalt


def _brick_wall(side: int, rng: np.random.Generator) -> Ground:
    y, x = _grid(side)
    y, x = y * 10 + rng.uniform(), x * 5 + rng.uniform()
    row = np.floor(y).astype(int)
    x = x + 0.5 * (row % 2)
    tone = rng.standard_normal((12, 8), np.float32)[row, np.floor(x).astype(int)]
    grit = _clouds(side, rng, side // 3, side // 3)
    wall = _mixed((166, 72, 54), (tone, (13, 11, 9)), (grit, (6, 6, 6)))
    mortar = (y % 1 < 0.16) | (x % 1 < 0.08)
    wall[mortar] = 200 + 6 * grit[mortar][:, None]
    return wall


def _wooden_floor(side: int, rng: np.random.Generator) -> Ground:
    y, x = _grid(side)
    # Perspective: the boards converge at a point far above the image.
    depth = y + 0.55
    across = (x - 0.5) / depth * 6 + rng.uniform() + 20
    along = 2.2 / depth + rng.uniform(size=48).astype(np.float32)[np.floor(across).astype(int)] * 3
    board = np.floor(across).astype(int)
    tone = rng.standard_normal((48, 12), np.float32)[board, np.floor(along).astype(int)]
    veins = _clouds(side, rng, 7, side // 2)
    floor = _mixed((188, 130, 76), (tone, (13, 11, 8)), (veins, (9, 8, 6)))
    floor[(across % 1 < 0.07) | (along % 1 < 0.03)] = (92, 56, 30)
    return floor


def _night_sky(side: int, rng: np.random.Generator) -> Ground:
    y, _ = _grid(side)
    sky = _mixed((12, 14, 46), (y + np.zeros((side, side), np.float32), (24, 22, 46)))
    size = side // 64
    lights = rng.uniform(100, 230, 30)
    for light, (top, left) in zip(lights, rng.integers(0, side - size, size=(30, 2)), strict=True):
        sky[top : top + size, left : left + size] = light
    return sky


def _pavement(side: int, rng: np.random.Generator) -> Ground:
    _, x = _grid(side)
    slabs = _mixed((150, 148, 144), (_clouds(side, rng, side // 3, side // 3), (7, 7, 7)))
    slabs[:, ((x[0] * 3 + rng.uniform()) % 1) < 0.03] = 112
    slabs[horizon("brick wall", side)] = 100
    return slabs


def _plaster(side: int, rng: np.random.Generator) -> Ground:
    shades = ((226, 222, 208), (206, 220, 222), (222, 208, 214), (214, 222, 200))
    wall = _mixed(shades[int(rng.integers(len(shades)))], (_clouds(side, rng, 4, 4), (4, 4, 4)))
    end = horizon("wooden floor", side)
    wall[end - side // 24 : end] = 246
    return wall


def _sunny(side: int, rng: np.random.Generator) -> Ground:
    y, x = _grid(side)
    white = np.clip(_clouds(side, rng, 9, 4) - 0.9, 0, 1)
    sky = _mixed((96, 172, 240), (white, (130, 70, 12)), (y + 0 * white, (150, 90, 20)))
    left = rng.uniform(0.1, 0.9)
    sky[(x - left) ** 2 + (y - 0.1) ** 2 < 0.0042] = (255, 236, 120)
    return sky


def _cloudy(side: int, rng: np.random.Generator) -> Ground:
    return _mixed((176, 182, 190), (_clouds(side, rng, 12, 4), (21, 20, 17)))


def _sunset(side: int, rng: np.random.Generator) -> Ground:
    y, x = _grid(side)
    streaks = np.clip(_clouds(side, rng, 16, 3), 0, 2)
    fall = y + 0 * streaks
    sky = _mixed((146, 92, 150), (fall, (270, 190, -130)), (streaks, (16, -8, -4)))
    left = rng.uniform(0.15, 0.85)
    sky[(x - left) ** 2 + (y - OPEN_HORIZON) ** 2 < 0.008] = (255, 214, 96)
    return sky


_Paint = Callable[[int, np.random.Generator], Ground]
_GROUNDS: dict[str, _Paint] = {"grass": _grass, "road": _road, "sand": _sand, "sea": _sea, "snow": _snow}
_GROUNDS["wooden floor"] = _wooden_floor
_SKIES: dict[str, _Paint] = {"cloudy": _cloudy, "sunny": _sunny, "sunset": _sunset}
