"""Whether files are still those that would be made again, so that making them can be left out."""

import functools
import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

import vla.records
from vla.files import file_hash, write_file
from vla.records import canonical_hash

_SOURCES = (".py", ".toml", ".csv", ".j2", ".css", ".json")


@functools.cache
def code() -> str:
    """SHA-256 of the package's own sources, templates and tables."""
    root, found = Path(vla.records.__file__).parent, hashlib.sha256()
    for path in sorted(path for path in root.rglob("*") if path.suffix in _SOURCES):
        found.update(f"{path.relative_to(root)}\0{file_hash(path)}\n".encode())
    return found.hexdigest()


def unchanged(record: Path, made_from: object) -> bool:
    """Whether a record says that its files were made from the same, and each is there as it was made.

    Args:
      record: As written by `write_record`; one that cannot be read counts as none.
      made_from: All that determines the files apart from the package's code: a JSON value.
    """
    try:
        said = json.loads(record.read_text(encoding="utf-8"))
        return said["made_from"] == _key(made_from) and all(
            file_hash(record.parent / name) == before for name, before in said["files"].items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def still_made(record: Path) -> list[Path]:
    """The files of a record that are as they were made; none of one that cannot be read."""
    try:
        hashes = json.loads(record.read_text(encoding="utf-8"))["files"]
        there = {record.parent / name: before for name, before in hashes.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []
    return [path for path, before in there.items() if path.is_file() and file_hash(path) == before]


def remove_made(record: Path) -> None:
    """Remove a record with its files, those apart that others have written since."""
    for path in still_made(record):
        path.unlink()
    record.unlink(missing_ok=True)


def write_record(record: Path, made_from: object, files: Iterable[Path]) -> None:
    """Keep what files were made from, and how they were.

    Args:
      record: Where; files are named from its folder.
      made_from: As of `unchanged`.
      files: All of them.
    """
    root = record.parent.absolute()
    hashes = {os.path.relpath(path.absolute(), root): file_hash(path) for path in sorted(files)}
    text = json.dumps({"made_from": _key(made_from), "files": hashes}, indent=1, ensure_ascii=False)
    write_file(record, f"{text}\n".encode())


def _key(made_from: object) -> str:
    return canonical_hash([code(), made_from])
