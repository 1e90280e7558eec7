"""Masks of things and stuff from COCO's annotations: COCO-Stuff's pixel maps, or polygons and run lengths.

Axis letters: H height, W width.
"""

import contextlib
import dataclasses
import hashlib
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import ExifTags, Image

from vla.checks import listed
from vla.files import is_git_lfs_pointer
from vla.records import canonical_hash


@dataclasses.dataclass(frozen=True)
class Labels:
    """The labels of things, of stuff and of unlabelled pixels in a pixel map."""

    things: range
    stuff: range
    unlabelled: int

    def __str__(self) -> str:
        things, stuff = (f"{of[0]}..{of[-1]}" if len(of) > 1 else str(of[0]) for of in (self.things, self.stuff))
        return f"{things} (things), {stuff} (stuff) and {self.unlabelled} (unlabelled)"


# COCO-Stuff is published in two formats. Labels of `stuffthingmaps` are category ids minus one (things are 1..90, stuff
# is 92..182). Labels of `stuff_*_pixelmaps` are the ids, with one id, 183, for all things, and 0 for unlabelled
# (cocodataset.org/#format-data, "Stuff Segmentation").
LABELS = {
    "stuffthingmaps": Labels(range(0, 91), range(91, 182), 255),
    "stuff_pixelmaps": Labels(range(183, 184), range(92, 183), 0),
}


@dataclasses.dataclass(frozen=True)
class PixelMap:
    """Masks from an image of labels, a PNG file or its bytes, as COCO-Stuff publishes them.

    The map covers the stored pixels of the image, which has this height and width. They may be exchanged: that is a map
    of the upright image whose EXIF orientation is a quarter turn. `labels` is a key of `LABELS`.
    """

    item: str
    png: Path | bytes
    height: int
    width: int
    labels: str = "stuffthingmaps"

    def things(self) -> Bool[np.ndarray, "H W"]:
        """True where a thing is."""
        return self._within(LABELS[self.labels].things)

    def stuff(self) -> Bool[np.ndarray, "H W"]:
        """True where stuff is."""
        return self._within(LABELS[self.labels].stuff)

    def _within(self, labels: range) -> Bool[np.ndarray, "H W"]:
        label_hw = self._labels()
        return (label_hw >= labels[0]) & (label_hw <= labels[-1])

    def content(self) -> str:
        """SHA-256 of the file, and of the name of its labels if these are not those of stuffthingmaps."""
        digest = hashlib.sha256(self._bytes()).hexdigest()
        return digest if self.labels == "stuffthingmaps" else canonical_hash([self.labels, digest])

    def encoded(self) -> tuple[str, bytes]:
        """The name of the format and the file, as `decode_masks` takes them."""
        return next(form for form, labels in _FORMS.items() if labels == self.labels), self._bytes()

    def _bytes(self) -> bytes:
        if isinstance(self.png, bytes):
            return self.png
        try:
            return self.png.read_bytes()
        except OSError as error:
            raise ValueError(
                f"pixel map of item {self.item!r} ({self.png}) cannot be opened: {error.strerror}"
            ) from error

    def _labels(self) -> UInt8[np.ndarray, "H W"]:
        label = f"pixel map of item {self.item!r}" + (f" ({self.png})" if isinstance(self.png, Path) else "")
        mode, orientation, label_hw = _read_map(label, self._bytes())
        meaning = LABELS[self.labels]
        known = {*meaning.things, *meaning.stuff, meaning.unlabelled}
        unknown = [str(each) for each in np.unique(label_hw).tolist() if each not in known]
        fault = ""
        if mode not in ("L", "P"):
            fault = (
                f"has pixels of PIL's mode {mode!r}; expected one byte a pixel, its label, as in COCO-Stuff's "
                "stuffthingmaps (not the coloured images made of them)"
            )
        elif orientation != 1:
            fault = (
                f"has an EXIF orientation of its own ({orientation}); save it without: masks are of the image's stored "
                "pixels"
            )
        elif label_hw.shape not in ((self.height, self.width), (self.width, self.height)):
            fault = (
                f"is {label_hw.shape[1]} x {label_hw.shape[0]} pixels, but its image is {self.width} x {self.height}; "
                "a mask must be of its image's size. Give the published map of this very image"
            )
        elif unknown:
            fault = f"has the labels {listed(unknown)}; expected {meaning}, as in COCO-Stuff's {self.labels}"
        if fault:
            raise ValueError(f"{label} {fault}")
        return label_hw


def label_convention(maps: Sequence[Path]) -> str:
    """The key of `LABELS` that the pixel maps of a folder follow, from the first map with a label of only one of them.

    A ValueError if neither a map nor the name of the folder decides it.
    """
    only = {"stuffthingmaps": {*range(1, 92), 255}, "stuff_pixelmaps": {182, 183}}
    for path in maps:
        with contextlib.suppress(ValueError, OSError):  # reported when the masks of the item are read
            present = {*np.unique(_read_map(str(path), path.read_bytes())[2]).tolist()}
            for convention, labels in only.items():
                if present & labels:
                    return convention
    for convention, word in (("stuff_pixelmaps", "pixelmaps"), ("stuffthingmaps", "stuffthing")):
        if not maps or any(word in part for part in maps[0].parts[-3:-1]):
            return convention
    raise ValueError(
        f"the pixel maps in {maps[0].parent} have no label but 0 and 92..181, which mean one thing in COCO-Stuff's "
        "stuffthingmaps and another in its stuff_*_pixelmaps (where 0 is unlabelled). Rename the folder to "
        "stuffthingmaps or stuff_pixelmaps, whichever it is"
    )


def _read_map(label: str, data: bytes) -> tuple[str, int, np.ndarray]:
    """PIL's mode, the EXIF orientation and the values of a pixel map."""
    if is_git_lfs_pointer(data):
        raise ValueError(f"{label} is a Git LFS pointer, not the map itself: run `git lfs pull` in its repository")
    try:
        with Image.open(io.BytesIO(data)) as image:
            orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
            return image.mode, orientation, np.asarray(image)
    # Decoders raise errors of many types on a broken file: OSError, SyntaxError, struct.error, ...
    except Exception as error:
        raise ValueError(f"{label} cannot be read: {error}. Fetch or unpack the file again") from error


@dataclasses.dataclass(frozen=True)
class InstanceMasks:
    """A mask of things from outlines of instances; the rest of the image is unknown.

    The mask is the union of all instances, crowds included; it is empty for an image without instances. `segmentations`
    is a JSON list with one entry per instance, as published: polygons `[[x0, y0, x1, y1, ...], ...]`, or run lengths
    `{"size": [H, W], "counts": [...] or "..."}`.
    """

    item: str
    height: int
    width: int
    segmentations: str

    def things(self) -> Bool[np.ndarray, "H W"]:
        """True where a thing is; pycocotools draws and merges the instances."""
        from pycocotools import mask

        runs = []
        for index, segmentation in enumerate(json.loads(self.segmentations)):
            is_outline = isinstance(segmentation, list)
            checked: Any = (self._polygons if is_outline else self._counts)(segmentation, index)
            drawn: Any = mask.frPyObjects(checked, self.height, self.width)
            runs += drawn if is_outline else [drawn]
        if not runs:
            return np.zeros((self.height, self.width), bool)
        return mask.decode(mask.merge(runs)).astype(bool)

    def stuff(self) -> None:
        """None: instances do not show stuff."""
        return None

    def content(self) -> str:
        """SHA-256 of the annotations and the size of the image."""
        return canonical_hash([self.height, self.width, json.loads(self.segmentations)])

    def encoded(self) -> tuple[str, bytes]:
        """The name of the format, "instances", and the JSON, as `decode_masks` takes them."""
        return "instances", self.segmentations.encode()

    def _polygons(self, polygons: list[Any], index: int) -> list[list[int | float]]:
        # pycocotools reads four numbers as a box and draws lines of any length; both are errors here.
        most, fault = 2 * max(self.height, self.width), ""
        if not polygons:
            fault = "has no polygon; expected at least one, [x0, y0, x1, y1, x2, y2, ...]"
        for polygon in polygons:
            if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
                fault = f"has a polygon {str(polygon)[:60]}; expected three points or more, x and y each"
            elif not all(isinstance(v, int | float) and math.isfinite(v) and abs(v) <= most for v in polygon):
                fault = f"has points that are no numbers or far outside {self.width} x {self.height}"
        self._refuse(index, fault)
        return polygons

    def _counts(self, run_lengths: dict[str, Any], index: int) -> dict[str, Any]:
        """The run lengths, uncompressed and checked to add up to the image."""
        size, counts = [self.height, self.width], run_lengths.get("counts")
        if isinstance(counts, str):
            counts = _uncompressed(counts)
        is_valid = isinstance(counts, list) and all(type(count) is int and count >= 0 for count in counts)
        if run_lengths.get("size") != size:
            self._refuse(
                index,
                f"has run lengths of the size {run_lengths.get('size')}, but its image is {self.height} high and "
                f"{self.width} wide; a mask must be of its image's size",
            )
        if not is_valid or sum(counts or ()) != self.height * self.width:
            n_pixels = self.height * self.width
            self._refuse(index, f"has damaged run lengths; expected whole numbers that add up to {n_pixels} pixels")
        return {"size": size, "counts": counts}

    def _refuse(self, index: int, fault: str) -> None:
        if fault:
            raise ValueError(
                f"instance {index} of item {self.item!r} {fault}. Fetch the annotations again, or delete the instance"
            )


# Formats of packed pixel maps, and the keys of their labels.
_FORMS = {"pixel_map": "stuffthingmaps", "stuff_pixel_map": "stuff_pixelmaps"}


def decode_masks(form: str, data: bytes, item: str, height: int, width: int) -> PixelMap | InstanceMasks:
    """The masks of which `encoded()` returned `form` and `data`; a ValueError for an unknown format."""
    if form in _FORMS:
        return PixelMap(item, data, height, width, _FORMS[form])
    if form == "instances":
        return InstanceMasks(item, height, width, data.decode())
    raise ValueError(f"masks of item {item!r} are of the form {form!r}; expected instances, {' or '.join(_FORMS)}")


def _uncompressed(text: str) -> list[int] | None:
    """Run lengths from COCO's compressed format; None if it is damaged.

    A character has six bits: five bits of value, lowest first, and one that says whether more follow. From the fourth
    run on, the value is the difference to the run two before. (pycocotools' maskApi.c does not check its input and
    reads past the end of damaged strings.)
    """
    counts, value, shift = [], 0, 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            return None
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value, shift = 0, 0
    return None if shift else counts
