"""Every image manipulation by name, with its parameters."""

from vla.stimuli.image_manipulations.blur import blur
from vla.stimuli.image_manipulations.cells import occlusion, patch_shuffle
from vla.stimuli.image_manipulations.colour import color_jitter, grayscale
from vla.stimuli.image_manipulations.fills import fill_parameter
from vla.stimuli.image_manipulations.geometry import horizontal_flip, rotation
from vla.stimuli.image_manipulations.masking import keep_masked
from vla.stimuli.manipulation import Manipulation, Parameter

_AMOUNT = Parameter(1.0, "how far it goes, from 0 (unchanged) to 1 (in full)", 0, 1)

_MASKED = {
    "dose": "amount",
    "apply": keep_masked,
    # 2: masks are turned with images that have an EXIF orientation.
    "version": 2,
    "parameters": {
        "amount": _AMOUNT,
        "fill": fill_parameter("what replaces the rest"),
    },
    "policies": {
        "empty": Parameter(
            "drop", "items whose mask is empty: drop (left out, counted) or keep", choices=("drop", "keep")
        ),
        "unmasked": Parameter(
            "refuse", "items without such a mask: refuse or drop (left out, counted)", choices=("refuse", "drop")
        ),
    },
}

IMAGE_MANIPULATIONS = {
    manipulation.name: manipulation
    for manipulation in (
        Manipulation(
            "grayscale",
            "vision",
            "In greys, three equal channels of BT.601 luma.",
            grayscale,
            {"amount": _AMOUNT},
            dose="amount",
        ),
        Manipulation(
            "rotation",
            "vision",
            "Turned about the centre, same size.",
            rotation,
            {
                "angle": Parameter(15.0, "degrees, anticlockwise where positive", -360, 360),
                "corners": fill_parameter("what fills the corners"),
            },
            dose="angle",
            moves=True,
        ),
        Manipulation("things_only", "vision", "Only pixels of things, the rest filled.", masked="things", **_MASKED),
        Manipulation("stuff_only", "vision", "Only pixels of stuff, the rest filled.", masked="stuff", **_MASKED),
        Manipulation(
            "blur",
            "vision",
            "Smoothed by a Gaussian.",
            blur,
            {
                "sigma": Parameter(4.0, "standard deviation of the Gaussian", 0, 1000),
                "unit": Parameter(
                    "pixels", "of sigma: pixels, or percent of the shorter side", choices=("pixels", "percent")
                ),
            },
            dose="sigma",
        ),
        Manipulation(
            "patch_shuffle",
            "vision",
            "Patches in random order.",
            patch_shuffle,
            {
                "grid": Parameter(4, "patches a side", 2, 1024),
                "patch": Parameter(0, "pixels a side of square patches, instead of a grid; 0 for the grid", 0, 4096),
            },
            dose="grid",
            seeded=True,
            moves=True,
        ),
        Manipulation(
            "color_jitter",
            "vision",
            "Other brightness, contrast, saturation and hue.",
            color_jitter,
            {"strength": Parameter(0.5, "size of the changes, from 0 (none) to 1", 0, 1)},
            dose="strength",
            seeded=True,
        ),
        Manipulation(
            "horizontal_flip",
            "vision",
            "Mirrored left to right.",
            horizontal_flip,
            {"probability": Parameter(1.0, "share of the items that are mirrored", 0, 1)},
            dose="probability",
            seeded=True,
            moves=True,
        ),
        Manipulation(
            "occlusion",
            "vision",
            "Random cells of a grid covered.",
            occlusion,
            {
                "fraction": Parameter(0.25, "share of the image that is covered", 0, 1),
                "grid": Parameter(8, "cells a side", 1, 256),
                "fill": fill_parameter("what covers the cells"),
            },
            dose="fraction",
            seeded=True,
        ),
    )
}
