"""Keeps what the first items of some views look like: small images and captions in one file, for readers of a report.

The file is JSON:
    {"name", "image_views": [name], "caption_views": [name], "n_items", "left_out",
     "items": [{"id", "images": [base64 of a JPEG or PNG], "captions": [text]}]}
"""

import base64
import io
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from PIL import Image

from vla.files import write_file
from vla.records import View
from vla.stimuli.images import decode_image

_THREADS = 4
_QUALITY = 82
# Of many exemplars the first few say what they are.
_MOST_EXEMPLARS = 4


def write_samples(
    folder: Path, name: str, image_views: Sequence[View], caption_views: Sequence[View], n: int = 8, side: int = 96
) -> Path:
    """Write `folder/name.json` with what the views show of their first common items.

    Args:
      folder: Where; made if absent.
      name: Of the file; "/" and the like become "-".
      image_views: What a vision model sees: one view, or several exemplars that are averaged; of these the first
        four are kept. A view of shuffled items shows for an id what the model is shown for it.
      caption_views: The same for a language model.
      n: How many items; they are the first that all views show, in the order of the first view.
      side: Longest side of a thumbnail in pixels; smaller images are kept as they are.

    Returns:
      The file. It holds the same bytes whenever the views are the same.

    Raises:
      ValueError: no views, or one without stimuli; an image that cannot be read, by item.
    """
    views = [*image_views, *caption_views]
    if not image_views or not caption_views:
        raise ValueError(f"samples {name!r} need at least one view of images and one of captions")
    shared = set(views[0].ids).intersection(*(view.ids for view in views))
    kept = [id for id in views[0].ids if id in shared]
    shown = kept[:n]
    seen = [dict(zip(view.ids, view.stimuli, strict=True)) for view in image_views[:_MOST_EXEMPLARS]]
    read = [dict(zip(view.ids, view.stimuli, strict=True)) for view in caption_views[:_MOST_EXEMPLARS]]
    tasks = [(id, images[id], side) for id in shown for images in seen]
    with ThreadPoolExecutor(_THREADS) as threads:
        thumbnails = iter(list(threads.map(lambda task: _thumbnail(*task), tasks)))
    content = {
        "name": name,
        "image_views": [view.name for view in image_views],
        "caption_views": [view.name for view in caption_views],
        "n_items": len(kept),
        "left_out": len({id for view in views for id in (*view.ids, *view.left_out)} - shared),
        "items": [
            {
                "id": id,
                "images": [next(thumbnails) for _ in seen],
                "captions": [captions[id] for captions in read],
            }
            for id in shown
        ],
    }
    return write_file(folder / f"{_file_name(name)}.json", json.dumps(content, ensure_ascii=False, indent=1))


def _file_name(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "._-+=," else "-" for letter in name)


def _thumbnail(id: str, source: Any, side: int) -> str:
    """The image as base64 of a small file: PNG where that is smaller, as of drawings and masks."""
    image = decode_image(source, id)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    files = []
    for form, options in (("JPEG", {"quality": _QUALITY}), ("PNG", {"optimize": True})):
        file = io.BytesIO()
        image.save(file, form, **options)
        files.append(file.getvalue())
    return base64.b64encode(min(files, key=len)).decode()
