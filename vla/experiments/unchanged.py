"""Records of what files were made from, so that unchanged files need not be made again."""

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
    """SHA-256 of the sources, templates and tables of the package."""
    root, digest = Path(vla.records.__file__).parent, hashlib.sha256()
    for path in sorted(path for path in root.rglob("*") if path.suffix in _SOURCES):
        digest.update(f"{path.relative_to(root)}\0{file_hash(path)}\n".encode())
    return digest.hexdigest()


def unchanged(record: Path, made_from: object) -> bool:
    """Whether the files of a record were made from the same things and have not changed.

    `made_from` is a JSON value that determines the files apart from the code of the package. An unreadable record
    counts as missing.
    """
    try:
        content = json.loads(record.read_text(encoding="utf-8"))
        return content["made_from"] == _key(made_from) and all(
            file_hash(record.parent / name) == before for name, before in content["files"].items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def still_made(record: Path) -> list[Path]:
    """The files of a record that have not changed; none for an unreadable record."""
    try:
        hashes = json.loads(record.read_text(encoding="utf-8"))["files"]
        made = {record.parent / name: before for name, before in hashes.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []
    return [path for path, before in made.items() if path.is_file() and file_hash(path) == before]


def remove_made(record: Path) -> None:
    """Remove a record and its files, except files that have changed since."""
    for path in still_made(record):
        path.unlink()
    record.unlink(missing_ok=True)


def write_record(record: Path, made_from: object, files: Iterable[Path]) -> None:
    """Record what files were made from, as of `unchanged`, and their hashes by paths from the record's folder."""
    root = record.parent.absolute()
    hashes = {os.path.relpath(path.absolute(), root): file_hash(path) for path in sorted(files)}
    text = json.dumps({"made_from": _key(made_from), "files": hashes}, indent=1, ensure_ascii=False)
    write_file(record, f"{text}\n".encode())


def _key(made_from: object) -> str:
    return canonical_hash([code(), made_from])
