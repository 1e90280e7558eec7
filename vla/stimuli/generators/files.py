"""Writes files in one step, and turns any item id into a file name."""

import hashlib
import os
import urllib.parse
import uuid
from pathlib import Path

# File systems allow names of 255 bytes; suffixes and temporary names need a part of them.
_LONGEST = 150


def safe_name(item_id: str) -> str:
    """An id as a file name: everything except letters, digits, spaces and `_.-~` is percent-encoded.

    Ids that are too long are cut and end in a hash. `.` and `..` are encoded too, so no id leads out of a folder.
    """
    name = urllib.parse.quote(item_id, safe=" ")
    if not name.strip(". "):
        name = name.replace(".", "%2E").replace(" ", "%20")
    if len(name) > _LONGEST:
        name = f"{name[:_LONGEST]}~{hashlib.sha256(item_id.encode()).hexdigest()[:16]}"
    return name


def write_whole(path: Path, data: bytes) -> None:
    """Write a file in one step; an interrupted run leaves at most a `.tmp` file beside it.

    Raises:
      ValueError: The file cannot be written.
    """
    draft = path.parent / f".{uuid.uuid4().hex}.tmp"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            draft.write_bytes(data)
            os.replace(draft, path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise ValueError(
            f"{path} cannot be written: {error.strerror}. Free disk space or allow writing, then run again: finished "
            "items are kept"
        ) from error
