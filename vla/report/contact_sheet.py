"""A contact sheet: the images and captions of some items in several views, as the models will see them."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from PIL import Image

from vla.records import Dataset, Modality, View
from vla.stimuli import CAPTION_MANIPULATIONS, IMAGE_MANIPULATIONS, decode_image, view

ALL = "all"

_THREADS = 4


def choose_views(
    dataset: Dataset, image_views: Any = ALL, caption_views: Any = ALL, seed: int = 42, tagger: Any = None
) -> tuple[list[View], dict[str, str]]:
    """The views to show of a dataset.

    Args:
      dataset: The items.
      image_views: Specs as of `vla.stimuli.view`; or "all" for the original and every manipulation that the dataset
        has what is needed for; items without a mask are left out of the views that need one.
      caption_views: The same for captions.
      seed: Of what is drawn at random.
      tagger: As of `vla.stimuli.caption_view`; None for its default.

    Returns:
      The views; and, where all were asked for, those that cannot be shown, with the reason.

    Raises:
      ValueError: A view that was asked for by its spec cannot be shown, or none can; as `vla.stimuli.view`.
    """
    options = {"seed": seed} if tagger is None else {"seed": seed, "tagger": tagger}
    views, absent = [], {}
    asked: tuple[tuple[Modality, Any, Mapping[str, Any]], ...] = (
        ("vision", image_views, IMAGE_MANIPULATIONS),
        ("language", caption_views, CAPTION_MANIPULATIONS),
    )
    for modality, specs, known in asked:
        if specs != ALL:
            listed = [specs] if isinstance(specs, str | Mapping) else specs
            views += [view(dataset, modality, spec, **options) for spec in listed]
            continue
        views.append(view(dataset, modality, **options))
        for name, manipulation in known.items():
            spec = {"name": name, **({"unmasked": "drop"} if "unmasked" in manipulation.policies else {})}
            try:
                views.append(view(dataset, modality, spec, **options))
            except ValueError as error:
                absent[name] = str(error)
    return views, absent


@dataclasses.dataclass(frozen=True)
class Sheet:
    """What a contact sheet shows.

    Attributes:
      title: Of the sheet.
      views: The views, of either modality, in order.
      items: Ids of the items shown.
      spoken: Of each item what is said of its image to those who cannot see it.
      images: Thumbnails by (name of view, id); an item that its view left out has none.
      absent: Why views that were looked for cannot be shown, by what was asked for.
    """

    title: str
    views: tuple[View, ...]
    items: tuple[str, ...]
    spoken: Mapping[str, str]
    images: Mapping[tuple[str, str], Image.Image]
    absent: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def shown(self, view: View, id: str) -> Any:
        """The caption or the thumbnail of an item in a view; None where the view left it out."""
        if view.modality == "vision":
            return self.images.get((view.name, id))
        return dict(zip(view.ids, view.stimuli, strict=True)).get(id)

    def of(self, modality: str) -> list[View]:
        """The views of a modality."""
        return [view for view in self.views if view.modality == modality]


def contact_sheet(
    dataset: Dataset,
    views: Sequence[View],
    n_shown: int = 8,
    side: int = 192,
    preprocess: Callable[[Sequence[Any]], list[np.ndarray]] | None = None,
    absent: Mapping[str, str] | None = None,
) -> Sheet:
    """Open the images of the first items of a dataset in every view.

    Args:
      dataset: Of which the views are.
      views: Views of both modalities; images are manipulated as for a model.
      n_shown: How many items.
      side: Longer side of a thumbnail in pixels.
      preprocess: A vision model's own preprocessing, `model.preprocess`: images are shown resized and cut as it does,
        its change of the values' scale undone. Without it they are shown as they are given to every model.
      absent: As of `Sheet`.

    Raises:
      ValueError: no views; two of one name; an image that cannot be read or manipulated, by item.
    """
    if not views:
        raise ValueError("There are no views to show: give at least one")
    names = [view.name for view in views]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"The view {twice[0]} is given twice; show each once")
    items = dataset.ids[:n_shown]
    wanted = [
        (view.name, id, image)
        for view in views
        if view.modality == "vision"
        for id, image in zip(view.ids, view.stimuli, strict=True)
        if id in set(items)
    ]

    def thumbnail(task: tuple[str, str, Any]) -> Image.Image:
        image = decode_image(task[2], task[1])
        if preprocess is not None:
            image = _as_preprocessed(image, preprocess)
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
        return image

    with ThreadPoolExecutor(_THREADS) as threads:
        images = dict(zip([task[:2] for task in wanted], threads.map(thumbnail, wanted), strict=True))
    spoken = {item.id: item.captions[0] for item in dataset.items[:n_shown]}
    title = f"{dataset.name}: {len(items)} of {len(dataset)} items"
    return Sheet(title, tuple(views), items, spoken, images, absent or {})


def counts(sheet: Sheet) -> dict[str, list[str]]:
    """Names of views by how many items they show and how many they left out, in words."""
    names: dict[str, list[str]] = {}
    for shown in sheet.views:
        words = f"{len(shown.ids)} items" + (f", {len(shown.left_out)} left out" if shown.left_out else "")
        names.setdefault(words, []).append(shown.name)
    return names


def _as_preprocessed(image: Image.Image, preprocess: Callable[[Sequence[Any]], list[np.ndarray]]) -> Image.Image:
    """What a model's preprocessing makes of an image, on the scale 0..255 again."""
    # Scaling and normalising are the same line for all pixels of a channel: black and white tell which.
    black, white = (Image.new("RGB", image.size, (level,) * 3) for level in (0, 255))
    pixels, low, high = preprocess([image, black, white])
    levels = 255 * (pixels - low) / (high - low)
    return Image.fromarray(np.clip(np.rint(levels), 0, 255).astype(np.uint8).transpose(1, 2, 0))
