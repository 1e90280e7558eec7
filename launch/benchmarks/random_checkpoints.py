"""Checkpoints of published shapes with random weights, in Hugging Face's layout."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModel

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


def _network(config: dict[str, Any], dtype: str) -> Any:
    """Hugging Face's network of that config, with random weights."""
    return AutoModel.from_config(AutoConfig.for_model(**config), dtype=getattr(torch, dtype))


def size(config: dict[str, Any], dtype: str = "float32") -> int:
    """Bytes of all weights of that config."""
    with torch.device("meta"):
        return sum(tensor.numel() * tensor.element_size() for tensor in _network(config, dtype).state_dict().values())


def write(folder: Path, config: dict[str, Any], dtype: str = "float32") -> Path:
    """Write a checkpoint, in place of another one in that folder, unless it exists; returns the folder.

    Raises:
      ValueError: The disk has less free space than it needs.
    """
    done = folder / "config.json"
    if done.is_file() and json.loads(done.read_text()) == config:
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    needed, free = size(config, dtype), shutil.disk_usage(folder).free
    if needed > free:
        raise ValueError(
            f"the weights need {needed / 1e9:.1f} GB, but {folder} has {free / 1e9:.1f} GB free; make room there, or "
            "name a folder of a larger disk as --workdir="
        )
    for file in folder.iterdir():
        file.unlink()
    torch.manual_seed(0)
    _network(config, dtype).save_pretrained(folder, max_shard_size="2GB")
    if config["model_type"] == "dinov2":
        (folder / "preprocessor_config.json").write_text(json.dumps(_PIXELS))
    # Last, because a folder with this config is complete.
    done.write_text(json.dumps(config))
    return folder
