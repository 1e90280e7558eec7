"""Draws untrained networks from a seed, and writes networks as Hugging Face checkpoints.

Axes: L blocks.
"""

import json
import os
import shutil
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx
from safetensors import safe_open
from safetensors.numpy import save_file

from vla.files import file_hash
from vla.microworld.make_once import make_once
from vla.microworld.shipped import WEIGHTS, checkpoint_name, shipped, training_report
from vla.models.decoder import Decoder
from vla.models.families import FAMILIES, TOWERS
from vla.models.loading import read_config
from vla.models.network_config import DecoderConfig
from vla.models.tensor import Row
from vla.models.vision_encoder import VisionEncoder

Tensors = dict[str, np.ndarray]
# Files of a shipped model that its state before training does not share.
_NOT_COPIED = ("losses.csv", "losses.png", "model.safetensors", "training.json")
# Prefix of the names of the network's tensors in a model with a head, by `model_type`; Dinov2Model has no head.
PREFIXES = {"bloom": "transformer.", "clip": "vision_model.", "dinov2": "", "llama": "model.", "vit": "vit."}
# Scale of token embeddings: small, so that tied logits start near zero.
_EMBEDDING = 0.2
# Scale of position embeddings and of the class token; patch embeddings are of order one.
_POSITION = 0.2


def untrained(folder: Path, seed: int, tower: str | None = None) -> VisionEncoder | Decoder:
    """The network of the config.json in `folder`, with random weights from a seed.

    Initialised as by the constructors, except embeddings, and except the last matrix of each residual branch: it is
    divided by sqrt(2 L), so that the sum of all branches is of order one (Radford et al. 2019, GPT-2).
    """
    _, config = read_config(folder / "config.json", tower)
    rngs = nnx.Rngs(seed)
    if isinstance(config, DecoderConfig):
        network: Any = Decoder(config, rngs=rngs)
        _scale(network.embedding, _EMBEDDING)
        if network.positions is not None:
            _scale(network.positions, _POSITION)
    else:
        network = VisionEncoder(config, rngs=rngs)
        _scale(network.embedding.positions, _POSITION / 0.02)
        _scale(network.embedding.cls, _POSITION / 0.02)
    for branch in (network.blocks.attention.out, network.blocks.feed_forward.down):
        _scale(branch.weight, (2 * config.depth) ** -0.5)
    return network


def _scale(parameter: nnx.Param, factor: float) -> None:
    parameter[...] = parameter[...] * factor


def tensors_of(network: VisionEncoder | Decoder, model_type: str, tower: str | None = None) -> Tensors:
    """All tensors of a network, in float32, by their names in a Hugging Face file: the inverse of loading.

    The model type is one of `PREFIXES`, the tower is "text" for CLIP's text encoder.
    """
    family = FAMILIES[model_type] if tower is None else TOWERS[model_type][tower]
    prefix = PREFIXES[model_type] if tower is None else f"{tower}_model."
    parts: dict[str, list[tuple[Row, np.ndarray]]] = defaultdict(list)
    for row in family.table(network.config):
        value: Any = network
        for attribute in row.path.split("."):
            value = getattr(value, attribute)
        array = np.asarray(value[...], np.float32)
        if row.path.startswith("blocks."):
            for i, block in enumerate(array):
                parts[row.name.format(i)].append((row, block))
        else:
            parts[row.name].append((row, array))
    return {prefix + name: _joined(of_tensor) for name, of_tensor in parts.items()}


def _joined(parts: list[tuple[Row, np.ndarray]]) -> np.ndarray:
    """One tensor of the file from the parameters that are its equal parts, interleaved by head."""
    parts = sorted(parts, key=lambda part: part[0].part)
    row, first = parts[0]
    assert len(parts) == row.part[1] and not row.transposed and not row.shares and not row.experts and row.axis == 0
    if len(parts) == 1:
        return first.reshape((1,) * row.ones + first.shape)
    heads = [array.reshape(row.heads, -1, *array.shape[1:]) for _, array in parts]
    return np.concatenate(heads, axis=1).reshape(-1, *first.shape[1:])


def save_tensors(folder: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Write model.safetensors in float16, half the size of float32, beside an existing config.json."""
    assert json.loads((folder / "config.json").read_text(encoding="utf-8"))
    rounded = {name: np.asarray(tensor, np.float16, order="C") for name, tensor in sorted(tensors.items())}
    for name, tensor in rounded.items():
        if not np.isfinite(tensor).all():
            raise ValueError(f"{folder}: {name} is not finite in float16; the training has diverged")
    # Hugging Face's loader refuses a file without the framework in its metadata.
    save_file(rounded, folder / "model.safetensors", metadata={"format": "pt"})


def write_step_zero(model: str, folder: str | os.PathLike[str], weights: Path = WEIGHTS) -> Path:
    """Write a shipped model in its state before training, drawn again from its seed, to `folder/<model>-step0`.

    An existing checkpoint is reused; its folder is returned. A ValueError for an unknown model, or if the folder holds
    something else.
    """
    source, seed = shipped(model, weights=weights), training_report(model, weights)["settings"]["seed"]
    if model == "micro-clip":
        raise ValueError("micro-clip is not studied and has no step 0; expected one of the studied models")

    def fill(draft: Path) -> None:
        for file in source.iterdir():
            if file.name not in _NOT_COPIED:
                shutil.copyfile(file, draft / file.name)
        tensors = tensors_of(untrained(draft, seed), model.removeprefix("micro-"))
        with safe_open(str(source / "model.safetensors"), framework="numpy") as trained:
            for name in trained.keys():
                # Tensors of heads and DINOv2's mask token, which the network does not have, are zeros.
                if name not in tensors:
                    tensors[name] = np.zeros(trained.get_slice(name).get_shape(), np.float32)
        save_tensors(draft, tensors)

    recipe = {"what": "untrained model", "model": model, "seed": seed, "config": file_hash(source / "config.json")}
    return make_once(Path(folder) / checkpoint_name(model, 0), recipe, fill)
