"""Files of a store, local or behind a URL, that are there whole or not at all."""

import os
import uuid
from pathlib import Path
from typing import Any

import fsspec.core
from fsspec.implementations.local import LocalFileSystem


def open_root(root: str | os.PathLike[str], what: str) -> tuple[Any, str, str]:
    """The file system of a store, the store's root in it, and that root as it is named from anywhere.

    Args:
      root: A local path, or a URL such as `gs://bucket/folder`; nothing is created.
      what: The kind of store, for the message.

    Raises:
      ValueError: A kind of URL that fsspec does not know, or whose package is not installed.
    """
    given = os.fspath(root)
    try:
        fs, base = fsspec.core.url_to_fs(given)
    except (ImportError, ValueError) as error:
        raise ValueError(f"{what} {given!r}: {error}. Expected a local path or a URL that fsspec knows.") from error
    # A local root is kept as an absolute path, so that a location stays true wherever it is read.
    return fs, base, (base if isinstance(fs, LocalFileSystem) else given).rstrip("/")


def put_whole(fs: Any, path: str, data: bytes, stem: str) -> None:
    """Put a file in place whole or not at all; folders are made.

    Args:
      fs: From `open_root`.
      path: In that file system.
      data: The whole file.
      stem: How the path of what is on its way begins, on the same local disk; `.<random>.tmp` follows.

    Raises:
      OSError: The file system does not take it.
    """
    if not isinstance(fs, LocalFileSystem):
        fs.pipe_file(path, data)
        return
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(f"{stem}.{uuid.uuid4().hex}.tmp")
    try:
        unfinished.write_bytes(data)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
