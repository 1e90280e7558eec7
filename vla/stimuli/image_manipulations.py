"""The manipulations of images: colour, geometry, patches and masks, the catalogue, and images that apply them.

Axis letters: H height, W width.
"""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Bool
from PIL import Image, ImageColor, ImageEnhance, ImageFilter, ImageOps

from vla.files import file_hash
from vla.records import ImageSource, Segmentation, canonical_hash
from vla.stimuli.draws import Key, permutation, uniform
from vla.stimuli.images import decode_image, image_orientation
from vla.stimuli.specs import Manipulation, Parameter, Step, choice, enter

# Fill colours by name.
FILLS = {
    "black": (0, 0, 0),
    "gray": (128, 128, 128),
    # ImageNet's mean colour, 255 * (0.485, 0.456, 0.406): most vision models subtract it, so their input is zero.
    "mean": (124, 116, 104),
}
# How a viewer turns the stored pixels, by EXIF orientation (Exif 3.0, tag 0x0112).
_TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).T,
    8: np.rot90,
}


# Every image manipulation by name.
IMAGE_MANIPULATIONS: dict[str, Manipulation] = {}
manipulation = functools.partial(enter, IMAGE_MANIPULATIONS, "vision")
_AMOUNT = Parameter(1.0, "strength, from 0 (unchanged) to 1 (full)", 0, 1)


def fill_parameter(description: str) -> Parameter:
    """A parameter for a fill: black (the default), gray, mean or any colour."""
    description = f"{description}: black, gray (128), mean (ImageNet's, 124 116 104) or #rrggbb"
    return Parameter("black", description, choices=tuple(FILLS), pattern="#[0-9a-fA-F]{6}")


def fill_colour(fill: str) -> tuple[int, int, int]:
    """Red, green and blue, 0 to 255, of a fill: a name in FILLS or "#rrggbb", else a ValueError."""
    if fill in FILLS:
        return FILLS[fill]
    try:
        red, green, blue = ImageColor.getrgb(fill)[:3]
    except ValueError as error:
        raise ValueError(
            f"fill {fill!r}; expected one of {', '.join(sorted(FILLS))}, or a colour as #rrggbb"
        ) from error
    return red, green, blue


@manipulation("Grey: three equal channels of BT.601 luma.", {"amount": _AMOUNT}, dose="amount")
def grayscale(image: Image.Image, amount: float = 1.0) -> Image.Image:
    """The RGB image in grey: three equal channels of luma, 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601).

    Equivalent to `torchvision.transforms.Grayscale(3)` on a PIL image at an amount of 1; smaller amounts, down to 0,
    blend it with the image.
    """
    return Image.blend(image, image.convert("L").convert("RGB"), amount)


@manipulation(
    "Rotated about the centre, same size.",
    {
        "angle": Parameter(15.0, "degrees, anticlockwise where positive", -360, 360),
        "corners": fill_parameter("what fills the corners"),
    },
    dose="angle",
    moves=True,
)
def rotation(image: Image.Image, angle: float = 15.0, corners: str = "black") -> Image.Image:
    """The RGB image rotated anticlockwise about its centre by `angle` degrees, bilinear, in a frame of the same size.

    What leaves the frame is cut off; the corners are filled (see FILLS). Equivalent to `PIL.Image.rotate`.
    """
    return image.rotate(angle, Image.Resampling.BILINEAR, expand=False, fillcolor=fill_colour(corners))


def keep_masked(
    image: Image.Image, mask: Bool[np.ndarray, "H W"], fill: str = "black", amount: float = 1.0
) -> Image.Image:
    """The RGB image where the mask is True, and a fill (see FILLS) elsewhere, from 0 (unchanged) to 1 opaque.

    A ValueError if the mask has another size than the image.
    """
    W, H = image.size
    if mask.shape != (H, W):
        raise ValueError(
            f"the mask is {mask.shape[1]} x {mask.shape[0]} pixels, but the image is {W} x {H}; a mask must be "
            "of its image's size. Give the annotations of this very image, or leave the item out"
        )
    filled = Image.blend(image, Image.new("RGB", image.size, fill_colour(fill)), amount)
    return Image.composite(image, filled, Image.fromarray(mask))


for _part in ("things", "stuff"):
    manipulation(
        f"Only pixels of {_part}, the rest filled.",
        {"amount": _AMOUNT, "fill": fill_parameter("what replaces the rest")},
        {
            "empty": choice("items whose mask is empty: drop (left out, counted) or keep", "drop", "keep"),
            "unmasked": choice("items without such a mask: refuse or drop (left out, counted)", "refuse", "drop"),
        },
        name=f"{_part}_only",
        masked=_part,
        dose="amount",
        # Version 2: masks are turned with images that have an EXIF orientation.
        version=2,
    )(keep_masked)


@manipulation(
    "Blurred by a Gaussian.",
    {
        "sigma": Parameter(4.0, "standard deviation of the Gaussian", 0, 1000),
        "unit": choice("of sigma: pixels, or percent of the shorter side", "pixels", "percent"),
    },
    dose="sigma",
)
def blur(image: Image.Image, sigma: float = 4.0, unit: str = "pixels") -> Image.Image:
    """The RGB image convolved with a Gaussian of standard deviation `sigma`; pixels at the edges are repeated.

    Equivalent to `PIL.ImageFilter.GaussianBlur`, which approximates a Gaussian by repeated box filters: within 4
    of 255 levels even on noise, except within about 3 sigma of the edges, where it differs more. The unit is "pixels"
    of the image as published, or "percent" of its shorter side, which gives the same blur to images of different sizes
    after a model resizes them.
    """
    radius = sigma if unit == "pixels" else sigma / 100 * min(image.size)
    return image.filter(ImageFilter.GaussianBlur(radius))


@manipulation(
    "Patches in random order.",
    {
        "grid": Parameter(4, "patches a side", 2, 1024),
        "patch": Parameter(0, "pixels a side of square patches, instead of a grid; 0 for the grid", 0, 4096),
    },
    dose="grid",
    moves=True,
)
def patch_shuffle(image: Image.Image, key: Key, grid: int = 4, patch: int = 0) -> Image.Image:
    """The RGB image with its patches in an order drawn for a key; every pixel stays in the image.

    There are `grid` x `grid` patches, or square ones of `patch` pixels a side if that is not 0. If they do not fill the
    image, the remaining pixels at the right and at the bottom (fewer than `grid` or `patch`) do not move.

    Raises:
      ValueError: The image is smaller than the grid, or than two patches.
    """
    W, H = image.size
    height, width = (patch, patch) if patch else (H // grid, W // grid)
    rows, columns = (H // height, W // width) if height and width else (0, 0)
    if rows * columns < 2:
        requested = f"patches of {patch} x {patch} pixels" if patch else f"a grid of {grid} x {grid} patches"
        raise ValueError(f"the image is {W} x {H} pixels, too small for {requested}; use smaller ones")
    pixels_hwc = np.array(image)
    cut = pixels_hwc[: rows * height, : columns * width]
    patches = cut.reshape(rows, height, columns, width, 3).swapaxes(1, 2).reshape(-1, height, width, 3)
    order = permutation((*key, "patch_shuffle"), rows * columns)
    mixed = patches[order].reshape(rows, columns, height, width, 3).swapaxes(1, 2)
    pixels_hwc[: rows * height, : columns * width] = mixed.reshape(cut.shape)
    return Image.fromarray(pixels_hwc)


@manipulation(
    "Random brightness, contrast, saturation and hue.",
    {"strength": Parameter(0.5, "size of the changes, from 0 (none) to 1", 0, 1)},
    dose="strength",
)
def color_jitter(image: Image.Image, key: Key, strength: float = 0.5) -> Image.Image:
    """The RGB image with changes of brightness, contrast, saturation and hue, in this order, drawn for a key.

    With strength s, 0 to 1, the first three are multiplied by factors from 1 - 0.8 s to 1 + 0.8 s, and hue is rotated
    by up to 0.2 s of the circle: the ranges of SimCLR (Chen et al. 2020, appendix A). For one key the draws do not
    depend on the strength, so a stronger jitter goes further in the same direction.
    """
    drawn = [2 * u - 1 for u in uniform((*key, "color_jitter"), 4)]
    enhancers = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
    for enhancer, draw in zip(enhancers, drawn, strict=False):
        image = enhancer(image).enhance(1 + 0.8 * strength * draw)
    turn = round(256 * 0.2 * strength * drawn[3])
    if turn == 0:
        return image
    hsv_hwc = np.array(image.convert("HSV"))
    hsv_hwc[..., 0] += np.uint8(turn % 256)  # hue is a circle of 256 steps, and so is uint8
    return Image.fromarray(hsv_hwc, "HSV").convert("RGB")


@manipulation(
    "Mirrored left to right.",
    {"probability": Parameter(1.0, "share of the items that are mirrored", 0, 1)},
    dose="probability",
    moves=True,
)
def horizontal_flip(image: Image.Image, key: Key, probability: float = 1.0) -> Image.Image:
    """The RGB image mirrored left to right with a probability, else unchanged; the draw is for a key.

    An image that is mirrored at one probability is mirrored at all higher ones.
    """
    return ImageOps.mirror(image) if uniform((*key, "horizontal_flip"), 1)[0] < probability else image.copy()


@manipulation(
    "Random cells of a grid covered.",
    {
        "fraction": Parameter(0.25, "share of the image that is covered", 0, 1),
        "grid": Parameter(8, "cells a side", 1, 256),
        "fill": fill_parameter("what covers the cells"),
    },
    dose="fraction",
)
def occlusion(image: Image.Image, key: Key, fraction: float = 0.25, grid: int = 8, fill: str = "black") -> Image.Image:
    """The RGB image with a fraction of the cells of a grid covered by a fill (see FILLS).

    The number of cells is rounded, and their order is drawn for a key: a larger fraction covers all cells that a
    smaller one covers.

    Raises:
      ValueError: The image is smaller than the grid.
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


def upright_mask(
    mask: Bool[np.ndarray, "h w"], orientation: int, size: tuple[int, int], item: str
) -> Bool[np.ndarray, "H W"]:
    """The mask of an image, turned as its EXIF orientation, 1 (stored upright) to 8, turns the image.

    Masks are of the stored pixels, as COCO's are. One whose size fits the upright image alone, (W, H), is upright
    already.

    Raises:
      ValueError: The mask has the size of neither.
    """
    W, H = size
    turned = _TURNS[orientation](mask)
    if turned.shape == (H, W):
        return np.ascontiguousarray(turned)
    if mask.shape == (H, W):
        return mask
    raise ValueError(
        f"the mask of item {item!r} is {mask.shape[1]} x {mask.shape[0]} pixels, but its image is {W} x {H}"
        + (f" (EXIF orientation {orientation} applied)" if orientation > 1 else "")
        + "; a mask must be of its image's size. Give the annotations of this very image, or leave the item out"
    )


@dataclasses.dataclass(frozen=True)
class ManipulatedImage:
    """An item's image with manipulations that are applied when it is opened; nothing is read before.

    The steps are applied in order, with a key of the random draws, such as (seed, item id), and masks if a step needs
    them.
    """

    item: str
    source: ImageSource
    steps: tuple[Step, ...]
    key: Key
    segmentation: Segmentation | None = None

    def open(self) -> Image.Image:
        """The manipulated image, RGB; a ValueError names the item if its image cannot be read, or a step fails."""
        image = decode_image(self.source, self.item)
        for step in self.steps:
            parameters = dict(step.parameters)
            if step.manipulation.seeded:
                parameters["key"] = self.key
            if step.manipulation.masked:
                part, masks = step.manipulation.masked, self.segmentation
                mask = None if masks is None else item_mask(self.item, self.source, masks, part)
                if mask is None:
                    raise ValueError(f"item {self.item!r} has no mask of {step.manipulation.masked}; leave it out")
                parameters["mask"] = mask
            try:
                image = step.manipulation.apply(image, **parameters)
            except ValueError as error:
                raise ValueError(f"{step.manipulation.name} of item {self.item!r}: {error}") from error
        return image

    def content(self) -> str:
        """SHA-256 of the published image, the steps with parameters and versions, the masks and the draws."""
        is_masked = any(step.manipulation.masked for step in self.steps)
        return canonical_hash(
            {
                "source": source_content(self.source),
                "steps": [step.determines() for step in self.steps],
                "draws": list(self.key) if any(step.manipulation.seeded for step in self.steps) else None,
                "masks": self.segmentation.content() if self.segmentation and is_masked else None,
            }
        )


def item_mask(item: str, source: ImageSource, segmentation: Segmentation, part: str) -> np.ndarray | None:
    """The mask of "things" or "stuff" of an item's upright image, bool [H, W]; None if it has none.

    A ValueError names the item if the image cannot be read, or the mask is of another size.
    """
    mask = segmentation.things() if part == "things" else segmentation.stuff()
    if mask is None:
        return None
    orientation, size = image_orientation(source, item)
    return upright_mask(mask, orientation, size, item)


def source_content(source: ImageSource) -> str:
    """SHA-256 of a published image: of the bytes of its file, whatever its path; an OSError if it cannot be read."""
    return file_hash(source) if isinstance(source, Path) else source.content()
