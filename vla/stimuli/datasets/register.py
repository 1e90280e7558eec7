"""The register of published datasets, and where prepared datasets are kept."""

import dataclasses
import functools
import os
import tomllib
from pathlib import Path

from vla.files import register_path

REGISTER = register_path("datasets.toml")

# In a prepared dataset: the file that TensorFlow Datasets writes last, and our one split.
MARK = "dataset_info.json"
SPLIT = "items"


def default_data_dir() -> Path:
    """The default folder of datasets: `~/.cache/vla/datasets`, or under XDG_CACHE_HOME."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vla" / "datasets"


def is_prepared(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder holds a dataset that TensorFlow Datasets prepared."""
    return (Path(folder).expanduser() / MARK).is_file()


@dataclasses.dataclass(frozen=True)
class PublishedFile:
    """A file to fetch, with its published checksum and size in bytes, if any."""

    name: str
    url: str
    sha256: str | None = None
    md5: str | None = None
    bytes: int | None = None


@dataclasses.dataclass(frozen=True)
class Published:
    """A dataset of the register: `id` is its name in this library, `origin` the publisher's page.

    `revision` is the pinned one of a Hugging Face dataset, `files` are those to download, by name.
    """

    id: str
    name: str
    origin: str
    licence: str
    citation: str
    revision: str
    files: dict[str, PublishedFile]


def published(id: str) -> Published:
    """The entry of a dataset in the register; a ValueError if there is none."""
    register = _read(REGISTER)
    if id not in register:
        raise ValueError(f"{REGISTER} has no dataset {id!r}; it has {', '.join(sorted(register))}")
    return register[id]


@functools.cache
def _read(path: Path) -> dict[str, Published]:
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
