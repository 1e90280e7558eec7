"""Tiny random checkpoints, saved by Hugging Face's own classes, whose weights make differences visible."""

import copy
import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedModel
from transformers.models.dinov2.configuration_dinov2 import Dinov2Config
from transformers.models.dinov2.modeling_dinov2 import Dinov2ForImageClassification, Dinov2Model
from transformers.models.dinov2_with_registers.configuration_dinov2_with_registers import Dinov2WithRegistersConfig
from transformers.models.dinov2_with_registers.modeling_dinov2_with_registers import Dinov2WithRegistersModel
from transformers.models.llama.configuration_llama import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaForCausalLM, LlamaModel
from transformers.models.vit.configuration_vit import ViTConfig
from transformers.models.vit.modeling_vit import ViTForImageClassification, ViTModel

from tests.sharp_weights import sharpen

VISION = {
    "vit": (ViTConfig, ViTModel),
    "vit_classifier": (ViTConfig, ViTForImageClassification),
    "dinov2": (Dinov2Config, Dinov2Model),
    "dinov2_classifier": (Dinov2Config, Dinov2ForImageClassification),
    "dinov2_with_registers": (Dinov2WithRegistersConfig, Dinov2WithRegistersModel),
}
LANGUAGE = {"llama": LlamaForCausalLM, "llama_base": LlamaModel}

WORDS = "a an the dog cat boat house red blue runs sleeps sails on in near water grass two small old".split()


def write_vision(
    directory: Path,
    kind: str = "dinov2",
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    shard: str = "10GB",
    **changes: Any,
) -> PreTrainedModel:
    """Write a tiny vision checkpoint with its image processor; return Hugging Face's model, eager, in float32.

    Args:
      directory: Made if need be.
      kind: Key of VISION.
      seed: Of the weights.
      dtype: Of the file; the model returned has the rounded weights.
      shard: Largest size of one file.
      **changes: Fields of the config; 24 wide, 3 deep, 3 heads, image 28, patch 7 otherwise.
    """
    config_class, model_class = VISION[kind]
    fields = {
        "hidden_size": 24,
        "num_hidden_layers": 3,
        "num_attention_heads": 3,
        "image_size": 28,
        "patch_size": 7,
        "attn_implementation": "eager",
    }
    if config_class is ViTConfig:
        fields["intermediate_size"] = 40
    model = sharpen(model_class(config_class(**{**fields, **changes})), seed)
    write_image_processor(directory, changes.get("image_size", 28))
    return _save(model, directory, dtype, shard)


def write_language(
    directory: Path,
    kind: str = "llama",
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    shard: str = "10GB",
    bos: bool = True,
    **changes: Any,
) -> PreTrainedModel:
    """Write a tiny language checkpoint with its tokenizer of WORDS; return Hugging Face's model, eager, in float32.

    Args:
      directory: Made if need be.
      kind: Key of LANGUAGE.
      seed: Of the weights.
      dtype: Of the file; the model returned has the rounded weights.
      shard: Largest size of one file.
      bos: Whether the tokenizer opens every caption with a token of its own.
      **changes: Fields of the config; 24 wide, 3 deep, 4 heads, 2 key-value heads otherwise.
    """
    fields = {
        "vocab_size": len(WORDS) + 3,
        "hidden_size": 24,
        "intermediate_size": 40,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 6,
        "max_position_embeddings": 64,
        "attn_implementation": "eager",
    }
    model = sharpen(LANGUAGE[kind](LlamaConfig(**{**fields, **changes})), seed)
    write_tokenizer(directory, bos=bos)
    return _save(model, directory, dtype, shard)


def _save(model: PreTrainedModel, directory: Path, dtype: torch.dtype, shard: str) -> PreTrainedModel:
    # Rounding a copy, and then the parameters alone: model.to(dtype) would round rotary's frequencies as well.
    copy.deepcopy(model).to(dtype).save_pretrained(directory, max_shard_size=shard)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(weight.to(dtype))
    return model


def write_image_processor(directory: Path, side: int, **changes: Any) -> None:
    """Write the preprocessor_config.json of a square resize with ImageNet's mean and deviation."""
    directory.mkdir(parents=True, exist_ok=True)
    fields = {
        "image_processor_type": "BitImageProcessor",
        "do_resize": True,
        "size": {"shortest_edge": side},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": {"height": side, "width": side},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
        "do_convert_rgb": True,
    }
    (directory / "preprocessor_config.json").write_text(json.dumps({**fields, **changes}))


def write_tokenizer(directory: Path, words: list[str] = WORDS, *, bos: bool = True) -> None:
    """Write a tokenizer with one id per word: <unk> 0, <s> 1, </s> 2, then the words in order."""
    directory.mkdir(parents=True, exist_ok=True)
    vocabulary = {word: i for i, word in enumerate(["<unk>", "<s>", "</s>", *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()  # type: ignore[assignment]
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    fields = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "<unk>", "eos_token": "</s>"}
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(  # type: ignore[assignment]
            single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
        )
        fields["bos_token"] = "<s>"
    tokenizer.save(str(directory / "tokenizer.json"))
    (directory / "tokenizer_config.json").write_text(json.dumps(fields))


def edit_config(directory: Path, **changes: Any) -> None:
    """Change fields of a checkpoint's config.json; a field set to `...` is removed."""
    path = directory / "config.json"
    fields = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({name: value for name, value in fields.items() if value is not ...}))
