"""A picture that is manipulated when it is opened."""

import dataclasses
from pathlib import Path

import numpy as np
from PIL import Image

from vla.records import ImageSource, Segmentation, canonical_hash, file_hash
from vla.stimuli.draws import Key
from vla.stimuli.image_manipulations.masking import upright_mask
from vla.stimuli.images import decode_image, image_orientation
from vla.stimuli.manipulation import Step


@dataclasses.dataclass(frozen=True)
class ManipulatedPicture:
    """An item's image after some manipulations; nothing is read before it is opened.

    Attributes:
      item: The item's id, for messages.
      source: The image as published.
      steps: What is done to it, in this order.
      key: What is drawn at random is drawn for, such as (seed, item id).
      segmentation: Masks of the image, if a step needs them.
    """

    item: str
    source: ImageSource
    steps: tuple[Step, ...]
    key: Key
    segmentation: Segmentation | None = None

    def open(self) -> Image.Image:
        """The manipulated image, RGB.

        Raises:
          ValueError: the image cannot be read, or a step cannot be done to it; the message names the item.
        """
        image = decode_image(self.source, self.item)
        for step in self.steps:
            given = dict(step.parameters)
            if step.manipulation.seeded:
                given["key"] = self.key
            if step.manipulation.masked:
                mask = self.mask(step.manipulation.masked)
                if mask is None:
                    raise ValueError(f"item {self.item!r} has no mask of {step.manipulation.masked}; leave it out")
                given["mask"] = mask
            try:
                image = step.manipulation.apply(image, **given)
            except ValueError as error:
                raise ValueError(f"{step.manipulation.name} of item {self.item!r}: {error}") from error
        return image

    def content(self) -> str:
        """SHA-256 of the published image, the steps with their parameters and versions, the masks and the draws."""
        return canonical_hash(
            {
                "source": source_content(self.source),
                "steps": [step.determines() for step in self.steps],
                "draws": list(self.key) if any(step.manipulation.seeded for step in self.steps) else None,
                "masks": self.segmentation.content()
                if self.segmentation and any(step.manipulation.masked for step in self.steps)
                else None,
            }
        )

    def mask(self, kind: str) -> np.ndarray | None:
        """The mask of "things" or "stuff" of the upright image, bool [H, W]; None if it has none."""
        return None if self.segmentation is None else item_mask(self.item, self.source, self.segmentation, kind)


def item_mask(item: str, source: ImageSource, segmentation: Segmentation, kind: str) -> np.ndarray | None:
    """The mask of "things" or "stuff" of an item's upright image, bool [H, W]; None if it has none.

    Raises:
      ValueError: The image cannot be read, or the mask is of another size; the message names the item.
    """
    mask = segmentation.things() if kind == "things" else segmentation.stuff()
    if mask is None:
        return None
    orientation, size = image_orientation(source, item)
    return upright_mask(mask, orientation, size, item)


def source_content(source: ImageSource) -> str:
    """SHA-256 of an image as it was published: of the bytes of its file, wherever it lies.

    Raises:
      OSError: the file cannot be read.
    """
    return file_hash(source) if isinstance(source, Path) else source.content()
