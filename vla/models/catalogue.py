"""The register of checkpoints: their sizes, licences and pinned revisions."""

import dataclasses
import difflib
import functools
import re
import tomllib
from pathlib import Path
from typing import Any

from vla.files import register_path

REGISTER = register_path("checkpoints.toml")

# Bytes of a number as published.
_WIDTHS = {"bfloat16": 2, "float16": 2, "float32": 4}


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """One checkpoint of the register.

    Attributes:
      id: On the Hub.
      family: Its `model_type`, or "timm".
      modality: "vision" or "language".
      depth: Number of blocks.
      width: Units of the residual stream.
      heads: Attention heads of a block.
      input: Side of the images in pixels, or most tokens of a caption.
      parameters: Number of published parameters, including heads that no readout needs.
      dtype: Of the published weights.
      licence: SPDX identifier, or the publisher's terms in words.
      origin: Its page.
      revision: The pinned commit; "main" for none.
      note: What it is.
      config: The fields of its config.json that determine shapes.
    """

    id: str
    family: str
    modality: str
    depth: int
    width: int
    heads: int
    input: int
    parameters: int
    dtype: str
    licence: str
    origin: str
    revision: str
    note: str
    config: dict[str, Any]

    @property
    def disk_bytes(self) -> int:
        """Approximate bytes of the published weights."""
        return self.parameters * _WIDTHS[self.dtype]


def checkpoints() -> tuple[Checkpoint, ...]:
    """All checkpoints of the register, in its order; a ValueError if the register is missing."""
    return _read(REGISTER)


def pinned(id: str) -> str | None:
    """The commit that the register pins for a checkpoint; None if it pins none or does not know the checkpoint."""
    revisions = {checkpoint.id: checkpoint.revision for checkpoint in checkpoints()}
    revision = revisions.get(id, "main")
    return revision if re.fullmatch("[0-9a-f]{40}", revision) else None


def similar_ids(id: str) -> tuple[str, ...]:
    """Up to three ids of the register with a spelling similar to an unknown one, the most similar first.

    An id without an owner is compared with ids without theirs, ignoring case.
    """
    known = [checkpoint.id for checkpoint in checkpoints()]
    if id in known:
        return ()
    query = id.lower().strip("/")
    names = {(name if "/" in query else name.partition("/")[2]).lower(): name for name in reversed(known)}
    return tuple(names[name] for name in difflib.get_close_matches(query, names, 3, 0.7))


@functools.cache
def _read(path: Path) -> tuple[Checkpoint, ...]:
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8"))["checkpoint"]
    except OSError as error:
        raise ValueError(
            f"the register of checkpoints {path} cannot be read: {error.strerror}. Install vla again, or name a "
            "directory instead of a Hub id"
        ) from error
    return tuple(Checkpoint(**entry) for entry in entries)
