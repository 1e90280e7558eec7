"""Puts a file or folder in place whole, or not at all."""

import shutil
from collections.abc import Callable
from pathlib import Path


def whole(path: Path, write_to: Callable[[Path], object]) -> None:
    """Write a file or folder under another name, then put it in place, so that it is never half there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".unfinished-{path.name}")
    _remove(unfinished)
    write_to(unfinished)
    if path.is_dir():
        _remove(path)
    unfinished.replace(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
