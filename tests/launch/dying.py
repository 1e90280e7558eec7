"""What a process of its own is given to do, some of which it does not survive."""

import os
from pathlib import Path


def killed(where: Path) -> None:
    """As the kernel ends a process that wants too much memory."""
    os._exit(9)


def written(where: Path, config: dict[str, object], dtype: str) -> None:
    """A checkpoint in name alone."""
    where.mkdir(parents=True)
    (where / "model.safetensors").touch()


def files(where: Path) -> dict[str, float]:
    """How many files of weights there are."""
    return {"files": len(list(where.glob("*.safetensors")))}
