"""A network of ours to the tensors of a Hugging Face checkpoint: the weight tables read the other way round.

Axes: L blocks.
"""

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from vla.models.families import FAMILIES, TOWERS
from vla.models.families.family import Row

Tensors = dict[str, np.ndarray]
# How a model with a head calls the part that is the network, by `model_type`; Dinov2Model has no head.
PREFIXES = {"bloom": "transformer.", "clip": "vision_model.", "dinov2": "", "llama": "model.", "vit": "vit."}


def tensors_of(network: Any, model_type: str, tower: str | None = None) -> Tensors:
    """All tensors of a network by their names in the file, in float32.

    Args:
      network: A `VisionEncoder` or a `Decoder`.
      model_type: One of `PREFIXES`.
      tower: "text" for CLIP's text encoder.
    """
    family = FAMILIES[model_type] if tower is None else TOWERS[model_type][tower]
    prefix = PREFIXES[model_type] if tower is None else f"{tower}_model."
    found: dict[str, list[tuple[Row, np.ndarray]]] = defaultdict(list)
    for row in family.table(network.config):
        value: Any = network
        for part in row.path.split("."):
            value = getattr(value, part)
        array = np.asarray(value[...], np.float32)
        if row.path.startswith("blocks."):
            for i, block in enumerate(array):
                found[row.name.format(i)].append((row, block))
        else:
            found[row.name].append((row, array))
    return {prefix + name: _joined(parts) for name, parts in found.items()}


def _joined(parts: list[tuple[Row, np.ndarray]]) -> np.ndarray:
    """One tensor of the file from the parameters that are parts of it: equal parts, head by head."""
    parts = sorted(parts, key=lambda part: part[0].part)
    row, first = parts[0]
    assert len(parts) == row.part[1] and not row.transposed and not row.shares and not row.experts and row.axis == 0
    if len(parts) == 1:
        return first.reshape((1,) * row.ones + first.shape)
    heads = [array.reshape(row.heads, -1, *array.shape[1:]) for _, array in parts]
    return np.concatenate(heads, axis=1).reshape(-1, *first.shape[1:])


def save_tensors(folder: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Write model.safetensors in float16, half the size at three digits, beside a config.json that is there."""
    assert json.loads((folder / "config.json").read_text(encoding="utf-8"))
    rounded = {name: np.asarray(tensor, np.float16, order="C") for name, tensor in sorted(tensors.items())}
    for name, tensor in rounded.items():
        if not np.isfinite(tensor).all():
            raise ValueError(f"{folder}: {name} is not finite in float16; the training has diverged")
    # Hugging Face's own loader refuses a file that does not say which framework wrote its layout.
    save_file(rounded, folder / "model.safetensors", metadata={"format": "pt"})
