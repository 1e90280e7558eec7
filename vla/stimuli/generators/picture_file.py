"""A PNG file that says in a text chunk named `vla` what it was drawn from."""

import io
import json
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

from vla.stimuli.generators.files import write_whole

CHUNK = "vla"


def write_picture(path: Path, image: Image.Image, record: dict[str, Any]) -> None:
    """Put a picture in place with its record, a JSON object.

    Raises:
      ValueError: the file system does not take it.
    """
    text = PngImagePlugin.PngInfo()
    text.add_itxt(CHUNK, json.dumps(record, ensure_ascii=False))
    data = io.BytesIO()
    image.convert("RGB").save(data, "PNG", pnginfo=text)
    write_whole(path, data.getvalue())


def read_record(path: Path) -> dict[str, Any] | None:
    """What a picture says that it was drawn from; None for one that does not say.

    Raises:
      ValueError: the file is no image.
    """
    try:
        with Image.open(path) as image:
            text = image.info.get(CHUNK)
        record = json.loads(text) if isinstance(text, str) else None
    except (OSError, SyntaxError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} cannot be read as an image: {error}. Make it again, or delete it") from error
    return record if isinstance(record, dict) else None
