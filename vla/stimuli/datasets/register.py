"""Reads the register of published datasets: where their files are, and which bytes they must have."""

import dataclasses
import functools
import tomllib
from pathlib import Path

from vla.files import register_path

REGISTER = register_path("datasets.toml")


@dataclasses.dataclass(frozen=True)
class PublishedFile:
    """One file to fetch.

    Attributes:
      name: What to call it.
      url: Where it is published.
      sha256: Its SHA-256, where that is published.
      md5: Its MD5, where only that is.
      bytes: Its size, where that is published.
    """

    name: str
    url: str
    sha256: str | None = None
    md5: str | None = None
    bytes: int | None = None


@dataclasses.dataclass(frozen=True)
class Published:
    """A dataset of the register.

    Attributes:
      id: Its name in this library.
      name: Its name among people.
      origin: Its publisher's page.
      licence: Under which terms.
      citation: What to cite.
      revision: Of a Hugging Face dataset, the version meant.
      files: What to fetch, by name.
    """

    id: str
    name: str
    origin: str
    licence: str
    citation: str
    revision: str
    files: dict[str, PublishedFile]


def published(id: str) -> Published:
    """What the register says of a dataset.

    Raises:
      ValueError: it has no such dataset, or the register is not there.
    """
    register = _read(REGISTER)
    if id not in register:
        raise ValueError(f"{REGISTER} has no dataset {id!r}; it has {', '.join(sorted(register))}")
    return register[id]


@functools.cache
def _read(path: Path) -> dict[str, Published]:
    """All datasets of the register by id."""
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8"))["dataset"]
    except OSError as error:
        raise ValueError(
            f"the register of datasets {path} cannot be read: {error.strerror}. Install vla "
            "again, or name a directory with the dataset's files"
        ) from error
    return {
        entry["id"]: Published(
            **{field: entry[field] for field in ("id", "name", "origin", "licence", "citation")},
            revision=entry.get("revision", ""),
            files={file["name"]: PublishedFile(**file) for file in entry.get("file", ())},
        )
        for entry in entries
    }
