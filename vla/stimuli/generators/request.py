"""The words in which a language model is asked for paraphrases: a template and the captions put into it."""

import importlib.resources
import os
import re
from collections.abc import Sequence
from pathlib import Path

TEMPLATE = "paraphrase_request.txt"
_PLACE = re.compile(r"\{(captions|count)\}")


def read_template(path: str | os.PathLike[str] = "") -> str:
    """The template in the file `path`, or the package's own.

    Raises:
      ValueError: no such file; it is not UTF-8; it has no place `{captions}`.
    """
    if not os.fspath(path):
        return importlib.resources.files("vla.stimuli.generators").joinpath(TEMPLATE).read_text(encoding="utf-8")
    try:
        template = Path(path).expanduser().read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ValueError(f"template {path} cannot be read: {error.strerror}. Name a text file") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"template {path} is not UTF-8 (byte {error.start}); save it in the encoding UTF-8") from error
    if "{captions}" not in template:
        raise ValueError(
            f"template {path} has no place for the captions; write {{captions}} where they are to stand, and "
            "{count} where the number of new captions is"
        )
    return template


def write_request(template: str, captions: Sequence[str], count: int) -> str:
    """The template with `{captions}` as a list, one `- caption` a line, and `{count}` as a number.

    Braces within a caption stay as they are.
    """
    lines = "\n".join(f"- {' '.join(caption.split())}" for caption in captions)
    return _PLACE.sub(lambda place: lines if place[1] == "captions" else str(count), template)
