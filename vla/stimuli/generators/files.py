"""Files that are there whole or not at all, under names that any item id can bear."""

import hashlib
import os
import urllib.parse
import uuid
from pathlib import Path

# File systems take names of 255 bytes; endings and temporary names need some of them.
_LONGEST = 150


def safe_name(item_id: str) -> str:
    """An id as a file name: letters, digits and `_.-~ ` stay, everything else is percent-encoded.

    Ids that would be too long end in a hash; `.` and `..` are encoded as well, so that no id leads out of a folder.
    """
    name = urllib.parse.quote(item_id, safe=" ")
    if not name.strip(". "):
        name = name.replace(".", "%2E").replace(" ", "%20")
    if len(name) > _LONGEST:
        name = f"{name[:_LONGEST]}~{hashlib.sha256(item_id.encode()).hexdigest()[:16]}"
    return name


def write_whole(path: Path, data: bytes) -> None:
    """Put a file in place in one step; a kill leaves at most a `.tmp` file beside it.

    Raises:
      ValueError: the file system does not take it.
    """
    unfinished = path.parent / f".{uuid.uuid4().hex}.tmp"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            unfinished.write_bytes(data)
            os.replace(unfinished, path)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise ValueError(
            f"{path} cannot be written: {error.strerror}. Make room or permit writing, then run again: what is "
            "finished is kept"
        ) from error
