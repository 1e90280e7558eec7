"""Checkpoints of published shapes with random weights, in Hugging Face's layout."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from safetensors.numpy import save_file

# Names, with `{}` for the number of the block, and shapes.
Shapes = list[tuple[str, tuple[int, ...]]]

_FILE_BLOCKS = 4

BLOOM_560M = {
    "model_type": "bloom",
    "architectures": ["BloomModel"],
    "hidden_size": 1024,
    "n_layer": 24,
    "n_head": 16,
    "vocab_size": 250880,
    "layer_norm_epsilon": 1e-5,
}
LLAMA_1B = {
    "model_type": "llama",
    "architectures": ["LlamaModel"],
    "hidden_size": 2048,
    "intermediate_size": 5632,
    "num_hidden_layers": 22,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-5,
    "vocab_size": 32000,
}
LLAMA_7B = LLAMA_1B | {
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_key_value_heads": 32,
}
DINOV2_BASE = {
    "model_type": "dinov2",
    "architectures": ["Dinov2Model"],
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "image_size": 518,
    "patch_size": 14,
    "layerscale_value": 1.0,
}
_PIXELS = {
    "image_processor_type": "BitImageProcessor",
    "size": {"shortest_edge": 256},
    "resample": 3,
    "crop_size": {"height": 224, "width": 224},
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
}


def size(config: dict[str, Any], dtype: str = "float32") -> int:
    """Bytes of all weights of that config."""
    ends, block, depth = _PARTS[config["model_type"]](config)
    numbers = sum(math.prod(shape) for _, shape in ends) + depth * sum(math.prod(shape) for _, shape in block)
    return numbers * (4 if dtype == "float32" else 2)


def write(folder: Path, config: dict[str, Any], dtype: str = "float32") -> Path:
    """The checkpoint of that config, four blocks per file; an existing checkpoint is reused.

    Raises:
      ValueError: The disk has no room for it.
    """
    if (folder / "config.json").is_file() and json.loads((folder / "config.json").read_text()) == config:
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    needed, free = size(config, dtype), shutil.disk_usage(folder).free
    if needed > free:
        raise ValueError(
            f"the weights need {needed / 1e9:.1f} GB, but {folder} has {free / 1e9:.1f} GB free; make room there, or "
            "name a folder of a larger disk as --workdir="
        )
    # what another config has left there is not its own
    for file in folder.iterdir():
        file.unlink()
    rng = np.random.default_rng(0)
    number_type = np.dtype(np.float32) if dtype == "float32" else np.dtype(ml_dtypes.bfloat16)
    ends, block, depth = _PARTS[config["model_type"]](config)
    blocks = [[(name.format(i), shape) for name, shape in block] for i in range(depth)]
    parts = [ends, *(sum(blocks[i : i + _FILE_BLOCKS], []) for i in range(0, depth, _FILE_BLOCKS))]
    index = {}
    for number, tensors in enumerate(parts, start=1):
        file = f"model-{number:05d}-of-{len(parts):05d}.safetensors"
        save_file({name: _draw(rng, name, shape, number_type) for name, shape in tensors}, folder / file)
        index |= {name: file for name, _ in tensors}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    if config["model_type"] == "dinov2":
        (folder / "preprocessor_config.json").write_text(json.dumps(_PIXELS))
    # last: a folder with a config is whole
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def _draw(rng: np.random.Generator, name: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Maps at 1/sqrt(inputs), vectors about 1 for scales and small for biases, tables of order one."""
    normal = rng.standard_normal(shape, np.float32)
    if name.endswith("bias"):
        normal *= 0.1
    elif len(shape) == 1:
        normal = 1 + 0.1 * normal
    elif "embed" not in name:
        normal /= np.sqrt(np.prod(shape[1:]))
    return normal.astype(dtype)


def _linear(name: str, outputs: int, inputs: int, bias: bool = True) -> Shapes:
    return [(f"{name}.weight", (outputs, inputs)), *([(f"{name}.bias", (outputs,))] if bias else [])]


def _norm(name: str, width: int) -> Shapes:
    return [(f"{name}.weight", (width,)), (f"{name}.bias", (width,))]


def _bloom(config: dict[str, Any]) -> tuple[Shapes, Shapes, int]:
    D = config["hidden_size"]
    ends = [("word_embeddings.weight", (config["vocab_size"], D))]
    ends += _norm("word_embeddings_layernorm", D) + _norm("ln_f", D)
    block = _norm("h.{}.input_layernorm", D) + _norm("h.{}.post_attention_layernorm", D)
    block += _linear("h.{}.self_attention.query_key_value", 3 * D, D) + _linear("h.{}.self_attention.dense", D, D)
    block += _linear("h.{}.mlp.dense_h_to_4h", 4 * D, D) + _linear("h.{}.mlp.dense_4h_to_h", D, 4 * D)
    return ends, block, config["n_layer"]


def _llama(config: dict[str, Any]) -> tuple[Shapes, Shapes, int]:
    D, F = config["hidden_size"], config["intermediate_size"]
    K = D // config["num_attention_heads"] * config["num_key_value_heads"]
    ends = [("embed_tokens.weight", (config["vocab_size"], D)), ("norm.weight", (D,))]
    block: Shapes = [("layers.{}.input_layernorm.weight", (D,))]
    block.append(("layers.{}.post_attention_layernorm.weight", (D,)))
    for name, outputs, inputs in (("q", D, D), ("k", K, D), ("v", K, D), ("o", D, D)):
        block += _linear(f"layers.{{}}.self_attn.{name}_proj", outputs, inputs, bias=False)
    for name, outputs, inputs in (("gate", F, D), ("up", F, D), ("down", D, F)):
        block += _linear(f"layers.{{}}.mlp.{name}_proj", outputs, inputs, bias=False)
    return ends, block, config["num_hidden_layers"]


def _dinov2(config: dict[str, Any]) -> tuple[Shapes, Shapes, int]:
    D, P = config["hidden_size"], config["patch_size"]
    ends = [("embeddings.cls_token", (1, 1, D)), ("embeddings.mask_token", (1, D))]
    ends += [("embeddings.position_embeddings", (1, (config["image_size"] // P) ** 2 + 1, D))]
    ends += [("embeddings.patch_embeddings.projection.weight", (D, 3, P, P))]
    ends += [("embeddings.patch_embeddings.projection.bias", (D,)), *_norm("layernorm", D)]
    names = "encoder.layer.{}"
    block = _norm(f"{names}.norm1", D) + _norm(f"{names}.norm2", D)
    for name in ("query", "key", "value"):
        block += _linear(f"{names}.attention.attention.{name}", D, D)
    block += _linear(f"{names}.attention.output.dense", D, D)
    block += [(f"{names}.layer_scale1.lambda1", (D,)), (f"{names}.layer_scale2.lambda1", (D,))]
    block += _linear(f"{names}.mlp.fc1", 4 * D, D) + _linear(f"{names}.mlp.fc2", D, 4 * D)
    return ends, block, config["num_hidden_layers"]


_PARTS = {"bloom": _bloom, "dinov2": _dinov2, "llama": _llama}
