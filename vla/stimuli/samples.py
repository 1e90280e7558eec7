"""Keeps what the first items of some views look like, small images and captions in one JSON file, for reports.

{"name", "image_views": [name], "caption_views": [name], "n_items", "left_out",
 "items": [{"id", "images": [base64 of a JPEG or PNG], "captions": [text]}]}
"""

import base64
import io
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from vla.files import write_file
from vla.records import View
from vla.stimuli.images import decode_image

_THREADS = 4
_QUALITY = 82
# The first few of many exemplars show what they are.
_MOST_EXEMPLARS = 4


def write_samples(
    folder: Path, name: str, image_views: Sequence[View], caption_views: Sequence[View], n: int = 8, side: int = 96
) -> Path:
    """Write `folder/name.json` with what the views show of their first common items, in the order of the first view.

    Args:
      folder: Created if absent.
      name: Name of the file; "/" and the like become "-".
      image_views: What a vision model sees: one view, or several exemplars that are averaged, of which the first four
        are kept. A view of shuffled items shows for an id what the model is shown for it.
      caption_views: The same for a language model.
      n: Number of items.
      side: Longest side of a thumbnail in pixels; smaller images are not enlarged.

    Returns:
      The file. It holds the same bytes whenever the views are the same.

    Raises:
      ValueError: No view of images or of captions; an image that cannot be read, by item.
    """
    views = [*image_views, *caption_views]
    if not image_views or not caption_views:
        raise ValueError(f"samples {name!r} need at least one view of images and one of captions")
    shared = set(views[0].ids).intersection(*(view.ids for view in views))
    ids = [id for id in views[0].ids if id in shared][:n]
    images, captions = (
        [dict(zip(view.ids, view.stimuli, strict=True)) for view in several[:_MOST_EXEMPLARS]]
        for several in (image_views, caption_views)
    )
    with ThreadPoolExecutor(_THREADS) as threads:
        tasks = [[threads.submit(_thumbnail, id, of_view[id], side) for of_view in images] for id in ids]
    content = {
        "name": name,
        "image_views": [view.name for view in image_views],
        "caption_views": [view.name for view in caption_views],
        "n_items": len(shared),
        "left_out": len({id for view in views for id in (*view.ids, *view.left_out)} - shared),
        "items": [
            {"id": id, "images": [task.result() for task in of_item], "captions": [of_view[id] for of_view in captions]}
            for id, of_item in zip(ids, tasks, strict=True)
        ],
    }
    file_name = "".join(letter if letter.isalnum() or letter in "._-+=," else "-" for letter in name)
    return write_file(folder / f"{file_name}.json", json.dumps(content, ensure_ascii=False, indent=1))


def _thumbnail(id: str, source: object, side: int) -> str:
    """The image as base64 of a small file: PNG where that is smaller, as for drawings and masks."""
    image = decode_image(source, id)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    files = []
    for form, options in (("JPEG", {"quality": _QUALITY}), ("PNG", {"optimize": True})):
        file = io.BytesIO()
        image.save(file, form, **options)
        files.append(file.getvalue())
    return base64.b64encode(min(files, key=len)).decode()
