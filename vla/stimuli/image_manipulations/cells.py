"""Cuts an image into cells, to shuffle or to cover them.

Axis letters: H height, W width, G cells a side.
"""

import numpy as np
from PIL import Image

from vla.stimuli.draws import Key, permutation
from vla.stimuli.image_manipulations.fills import fill_colour


def patch_shuffle(image: Image.Image, key: Key, grid: int = 4, patch: int = 0) -> Image.Image:
    """The image with its patches in random order; every pixel stays in the image.

    Patches are of one size. Where they do not fill the image, the rest, at the right and at the bottom, stays where
    it is: fewer than `grid` pixels, or fewer than `patch`.

    Args:
      image: RGB.
      key: What the order is drawn for, such as (seed, item id).
      grid: Patches a side.
      patch: Pixels a side of square patches, instead of a grid; 0 for the grid.

    Raises:
      ValueError: the image is smaller than the grid, or than two patches.
    """
    W, H = image.size
    height, width = (patch, patch) if patch else (H // grid, W // grid)
    rows, columns = (H // height, W // width) if height and width else (0, 0)
    if rows * columns < 2:
        asked = f"patches of {patch} x {patch} pixels" if patch else f"a grid of {grid} x {grid} patches"
        raise ValueError(f"the image is {W} x {H} pixels, too small for {asked}; use smaller ones")
    pixels_hwc = np.array(image)
    cut = pixels_hwc[: rows * height, : columns * width]
    patches = cut.reshape(rows, height, columns, width, 3).swapaxes(1, 2).reshape(-1, height, width, 3)
    order = permutation((*key, "patch_shuffle"), rows * columns)
    mixed = patches[order].reshape(rows, columns, height, width, 3).swapaxes(1, 2)
    pixels_hwc[: rows * height, : columns * width] = mixed.reshape(cut.shape)
    return Image.fromarray(pixels_hwc)


def occlusion(image: Image.Image, key: Key, fraction: float = 0.25, grid: int = 8, fill: str = "black") -> Image.Image:
    """The image with randomly chosen cells of a grid covered.

    The number of cells is the fraction of all, rounded. For a key the order in which cells are covered is fixed:
    what a smaller fraction covers, a larger one covers too.

    Args:
      image: RGB.
      key: What the cells are drawn for, such as (seed, item id).
      fraction: 0 (unchanged) to 1 (all covered).
      grid: Cells a side.
      fill: What covers them: "black", "gray", "mean" or "#rrggbb" (see `fills`).

    Raises:
      ValueError: the image is smaller than the grid.
    """
    W, H = image.size
    if min(W, H) < grid:
        raise ValueError(f"the image is {W} x {H} pixels, too small for a grid of {grid} x {grid} cells; use fewer")
    pixels_hwc = np.array(image)
    order = permutation((*key, "occlusion"), grid * grid)
    for cell in order[: round(fraction * grid * grid)]:
        row, column = divmod(cell, grid)
        rows = slice(row * H // grid, (row + 1) * H // grid)
        pixels_hwc[rows, column * W // grid : (column + 1) * W // grid] = fill_colour(fill)
    return Image.fromarray(pixels_hwc)
