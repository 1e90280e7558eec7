"""Says whether a file is the one that was published: by its published checksum, else by the one first seen."""

import dataclasses
import hashlib
import os
import re
import uuid
from pathlib import Path

HEX_DIGITS = {"sha256": 64, "md5": 32}


@dataclasses.dataclass(frozen=True)
class Checksum:
    """What is known of a file's bytes.

    Attributes:
      kind: "sha256" or "md5".
      digest: Lower-case hex digits.
      origin: Who says so, for messages.
    """

    kind: str
    digest: str
    origin: str


def known(path: Path, sha256: str | None = None, md5: str | None = None) -> Checksum | None:
    """The checksum a file at `path` must have: the published one, else the one recorded when it was first fetched.

    Raises:
      ValueError: a checksum that is none.
    """
    for kind, digest in (("sha256", sha256), ("md5", md5)):
        if digest is not None:
            if not re.fullmatch(f"[0-9a-f]{{{HEX_DIGITS[kind]}}}", digest):
                raise ValueError(
                    f"{kind}={digest!r} of {path.name}; expected {HEX_DIGITS[kind]} hex digits in lower case"
                )
            return Checksum(kind, digest, "published")
    record = record_of(path)
    if not record.is_file():
        return None
    digest = record.read_text(encoding="utf-8").split(" ")[0]
    if not re.fullmatch("[0-9a-f]{64}", digest):
        raise ValueError(f"{record} does not begin with a SHA-256 of 64 hex digits. Delete it to record a new one")
    return Checksum("sha256", digest, f"recorded in {record} when the file was first fetched")


def record_of(path: Path) -> Path:
    """Where the checksum of a file that has none published is recorded; `sha256sum -c` reads it too."""
    return path.with_name(f"{path.name}.sha256")


def remember(path: Path, digest: str) -> None:
    """Record the SHA-256 of the file that is to lie at `path`."""
    record = record_of(path)
    draft = record.with_name(f".{record.name}.{uuid.uuid4().hex}")
    draft.write_text(f"{digest}  {path.name}\n", encoding="utf-8")
    os.replace(draft, record)


def digest_of(path: Path, kind: str) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(kind, usedforsecurity=False)).hexdigest()
