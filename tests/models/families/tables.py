"""What the weight table of a family finds in the files of a checkpoint."""

from pathlib import Path

import numpy as np
import torch

from vla.models.checkpoint import open_tensors
from vla.models.loading import read_config


def parameters(directory: Path, block: int = 1, tower: str | None = None) -> dict[str, np.ndarray]:
    """Every parameter by its path, those of the stacked blocks of one block alone."""
    family, config = read_config(directory / "config.json", tower)
    tensors = open_tensors(directory)
    for table in (family.table, *family.other_tables):
        for prefix in family.prefixes:
            rows = {row: [prefix + name for name in row.names(block)] for row in table(config)}
            if all(name in tensors for names in rows.values() for name in names):
                break
        else:
            continue
        break
    else:
        raise AssertionError("no table fits")
    found = {}
    for row, names in rows.items():
        axes = len(tensors[names[0]].shape) - row.ones + bool(row.experts)
        found[row.path] = row.read([tensors[name] for name in names], (slice(None),) * axes)
    return found


def applied(found: dict[str, np.ndarray], path: str, x: torch.Tensor) -> np.ndarray:
    """x Wᵀ + b by the linear map at that path."""
    bias = found.get(f"{path}.bias", np.float32(0))
    return x.numpy() @ found[f"{path}.weight"].T + bias


def some(width: int) -> torch.Tensor:
    """Hidden states [1, 5, D]."""
    return torch.randn(1, 5, width, generator=torch.Generator().manual_seed(3))
