"""Masks of things and stuff from COCO's annotations: COCO-Stuff's pixel maps, or polygons and run lengths.

Axis letters: H height, W width.
"""

import dataclasses
import hashlib
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from vla.records import canonical_hash

# COCO-Stuff's labels are category ids less one: things are 1..90, stuff is 92..182.
LAST_THING, LAST_STUFF, UNLABELLED = 90, 181, 255


@dataclasses.dataclass(frozen=True)
class PixelMap:
    """Masks from an image of labels, as COCO-Stuff publishes them in `stuffthingmaps`.

    A pixel's label is 0..90 where a thing is, 91..181 where stuff is, 255 where neither is known: such a pixel
    is in neither mask.

    Attributes:
      item: The item's id, for messages.
      png: The file, or its bytes.
      height: Pixels of the photograph.
      width: Pixels of the photograph.
    """

    item: str
    png: Path | bytes
    height: int
    width: int

    def things(self) -> Bool[np.ndarray, "H W"]:
        """True where a thing is."""
        return self._labels() <= LAST_THING

    def stuff(self) -> Bool[np.ndarray, "H W"]:
        """True where stuff is."""
        label_hw = self._labels()
        return (label_hw > LAST_THING) & (label_hw <= LAST_STUFF)

    def content(self) -> str:
        """SHA-256 of the file's bytes."""
        return hashlib.sha256(self._bytes()).hexdigest()

    def encoded(self) -> tuple[str, bytes]:
        """The form's name, "pixel_map", and the file's bytes: what `decode_masks` takes."""
        return "pixel_map", self._bytes()

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
        """The label of each pixel, checked."""
        label = f"pixel map of item {self.item!r}" + (f" ({self.png})" if isinstance(self.png, Path) else "")
        data = self._bytes()
        try:
            with Image.open(io.BytesIO(data)) as image:
                mode, label_hw = image.mode, np.asarray(image)
        # Decoders raise whatever a broken file drives them into: OSError, SyntaxError, struct.error, ...
        except Exception as error:
            raise ValueError(f"{label} cannot be read: {error}. Fetch or unpack the file again") from error
        if mode not in ("L", "P"):
            raise ValueError(
                f"{label} has pixels of PIL's mode {mode!r}; expected one byte a pixel, its label, as in COCO-Stuff's "
                "stuffthingmaps (not the coloured pictures made of them)"
            )
        if label_hw.shape != (self.height, self.width):
            raise ValueError(
                f"{label} is {label_hw.shape[1]} x {label_hw.shape[0]} pixels, but its image is {self.width} x "
                f"{self.height}; a mask must be of its image's size. Give the published map of this very image"
            )
        unknown = np.unique(label_hw[(label_hw > LAST_STUFF) & (label_hw != UNLABELLED)])
        if unknown.size:
            raise ValueError(
                f"{label} has the labels {', '.join(map(str, unknown))}; expected 0..{LAST_THING} (things), "
                f"{LAST_THING + 1}..{LAST_STUFF} (stuff) and {UNLABELLED} (unlabelled)"
            )
        return label_hw


@dataclasses.dataclass(frozen=True)
class InstanceMasks:
    """The mask of things from the outlines of single instances; what the rest of the image shows is not known.

    The mask is the union of all instances, crowds included; an image without instances has an empty one.

    Attributes:
      item: The item's id, for messages.
      height: Pixels of the photograph.
      width: Pixels of the photograph.
      segmentations: JSON of a list with one entry an instance, as published: polygons
        `[[x0, y0, x1, y1, ...], ...]`, or run lengths `{"size": [H, W], "counts": [...] or "..."}`.
    """

    item: str
    height: int
    width: int
    segmentations: str

    def things(self) -> Bool[np.ndarray, "H W"]:
        """True where a thing is, drawn and merged by pycocotools."""
        from pycocotools import mask

        runs = []
        for place, segmentation in enumerate(json.loads(self.segmentations)):
            if isinstance(segmentation, list):
                drawable: Any = self._polygons(segmentation, place)
                runs += mask.frPyObjects(drawable, self.height, self.width)
            else:
                drawable = {"size": [self.height, self.width], "counts": self._counts(segmentation, place)}
                runs.append(mask.frPyObjects(drawable, self.height, self.width))
        if not runs:
            return np.zeros((self.height, self.width), bool)
        return mask.decode(mask.merge(runs)).astype(bool)

    def stuff(self) -> None:
        """None: instances say nothing of stuff."""
        return None

    def content(self) -> str:
        """SHA-256 of the annotations and the size they are drawn in."""
        return canonical_hash([self.height, self.width, json.loads(self.segmentations)])

    def encoded(self) -> tuple[str, bytes]:
        """The form's name, "instances", and the JSON as bytes: what `decode_masks` takes."""
        return "instances", self.segmentations.encode()

    def _fault(self, place: int, why: str) -> ValueError:
        return ValueError(
            f"instance {place} of item {self.item!r} {why}. Fetch the annotations again, or delete the instance"
        )

    def _polygons(self, polygons: list[Any], place: int) -> list[list[int | float]]:
        """Polygons that can be drawn."""
        if not polygons:
            raise self._fault(place, "has no polygon; expected at least one, [x0, y0, x1, y1, x2, y2, ...]")
        # pycocotools takes four numbers for a box and draws lines of any length: neither is meant here.
        most = 2 * max(self.height, self.width)
        for polygon in polygons:
            if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
                raise self._fault(
                    place, f"has a polygon {str(polygon)[:60]}; expected three points or more, x and y each"
                )
            if not all(isinstance(v, int | float) and math.isfinite(v) and abs(v) <= most for v in polygon):
                raise self._fault(place, f"has points that are no numbers or far outside {self.width} x {self.height}")
        return polygons

    def _counts(self, run_lengths: dict[str, Any], place: int) -> list[int]:
        """Run lengths that add up to the image."""
        if run_lengths.get("size") != [self.height, self.width]:
            raise self._fault(
                place,
                f"has run lengths of the size {run_lengths.get('size')}, but its image is {self.height} high and "
                f"{self.width} wide; a mask must be of its image's size",
            )
        counts: Any = run_lengths.get("counts")
        if isinstance(counts, str):
            counts = _uncompressed(counts)
        whole = isinstance(counts, list) and all(type(count) is int and count >= 0 for count in counts)
        if not whole or sum(counts) != self.height * self.width:
            raise self._fault(
                place,
                f"has damaged run lengths; expected whole numbers that add up to {self.height * self.width} pixels",
            )
        return counts


def decode_masks(form: str, data: bytes, item: str, height: int, width: int) -> PixelMap | InstanceMasks:
    """The masks whose `encoded()` gave `form` and `data`.

    Raises:
      ValueError: the form is neither "pixel_map" nor "instances".
    """
    if form == "pixel_map":
        return PixelMap(item, data, height, width)
    if form == "instances":
        return InstanceMasks(item, height, width, data.decode())
    raise ValueError(f"masks of item {item!r} are of the form {form!r}; expected instances or pixel_map")


def _uncompressed(text: str) -> list[int] | None:
    """Run lengths from COCO's compressed form; None where it is damaged.

    Six bits a character, five of them value and one saying that more follow, lowest first; from the fourth
    run on the difference to the run two before (pycocotools' maskApi.c, which trusts its input: damage here
    would be read past its end).
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
