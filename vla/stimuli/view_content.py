"""Puts a view together from its stimuli, with the hash of what a model will see."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from vla.checks import listed
from vla.records import ImageSource, Modality, View, canonical_hash
from vla.stimuli.image_manipulations import source_content

# Hashing and most decoders let other threads run.
_THREADS = 4


def make_view(
    name: str, modality: Modality, ids: Sequence[str], stimuli: Sequence[Any], left_out: Sequence[str] = ()
) -> View:
    """A view of these stimuli.

    `content` covers ids, order, and captions or the bytes of image files, not where these lie: the same photographs in
    another folder are the same view.

    Raises:
      ValueError: an image cannot be read, by item.
    """
    seen = list(stimuli) if modality == "language" else _contents(name, ids, stimuli)
    content = canonical_hash({"modality": modality, "ids": list(ids), "stimuli": seen})
    return View(name, modality, tuple(ids), tuple(stimuli), content, tuple(left_out))


def restricted(view: View, chosen: Mapping[str, str], name: str | None = None) -> View:
    """A view of some ids, each with the stimulus that the view shows for the item that `chosen` gives it.

    Ids that are no longer shown join those that the view left out.
    """
    stimuli = dict(zip(view.ids, view.stimuli, strict=True))
    left_out = (*view.left_out, *(id for id in view.ids if id not in chosen))
    shown = [stimuli[source] for source in chosen.values()]
    return make_view(name or view.name, view.modality, list(chosen), shown, left_out)


def _contents(name: str, ids: Sequence[str], images: Sequence[ImageSource]) -> list[str]:
    """The content hash of each image."""

    def content(image: ImageSource) -> str | OSError:
        try:
            return source_content(image)
        except OSError as error:
            return error

    with ThreadPoolExecutor(_THREADS) as threads:
        found = list(threads.map(content, images))
    hashes = [each for each in found if isinstance(each, str)]
    if len(hashes) < len(images):
        lost = [
            f"{id} ({error.filename or image}: {error.strerror or error})"
            for id, image, error in zip(ids, images, found, strict=True)
            if isinstance(error, OSError)
        ]
        raise ValueError(
            f"{len(lost)} of the {len(images)} images of {name} cannot be opened: {listed(lost)}. Put the files there, "
            "or leave these items out"
        )
    return hashes
