"""The checkpoints of the register: what they are, how large they are, which version of them is meant."""

import dataclasses
import difflib
import functools
import re
import tomllib
from pathlib import Path
from typing import Any

from vla.files import register_path

REGISTER = register_path("checkpoints.toml")

# Bytes of one number as published.
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
      parameters: Number of all that is published, with heads that no readout needs.
      dtype: As which they are published.
      licence: SPDX identifier, or the publisher's terms in words.
      origin: Its page.
      revision: The commit that is meant; "main" where none is pinned.
      note: What it is.
      config: What its config.json says of shapes.
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
        """About how many bytes its weights take as they are published."""
        return self.parameters * _WIDTHS[self.dtype]


def checkpoints() -> tuple[Checkpoint, ...]:
    """All checkpoints of the register, in its order.

    Raises:
      ValueError: The register is not there.
    """
    return _read(REGISTER)


def pinned(id: str) -> str | None:
    """The commit of a checkpoint that the register pins; None where it pins none, or does not know it.

    Raises:
      ValueError: The register is not there.
    """
    revisions = {checkpoint.id: checkpoint.revision for checkpoint in checkpoints()}
    revision = revisions.get(id, "main")
    return revision if re.fullmatch("[0-9a-f]{40}", revision) else None


def alike(id: str) -> tuple[str, ...]:
    """Up to three ids of the register that are spelt like one that it does not know, the likest first.

    An id without its owner is compared with ids without theirs; capitals count as small letters.

    Raises:
      ValueError: The register is not there.
    """
    known = [checkpoint.id for checkpoint in checkpoints()]
    if id in known:
        return ()
    asked = id.lower().strip("/")
    spelt = {(name if "/" in asked else name.partition("/")[2]).lower(): name for name in reversed(known)}
    return tuple(spelt[name] for name in difflib.get_close_matches(asked, spelt, 3, 0.7))


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
