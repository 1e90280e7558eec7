"""Tiny random checkpoints of every vision family beyond ViT and DINOv2, saved by Hugging Face's own classes."""

import copy
import json
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedModel
from transformers.models.siglip import modeling_siglip

from tests.checkpoints import WORDS, sharpen, write_image_processor

_VISION = {
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "image_size": 28,
    "patch_size": 7,
}
_TEXT = {
    "hidden_size": 20,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 40,
    "vocab_size": len(WORDS) + 3,
    "max_position_embeddings": 20,
    "bos_token_id": len(WORDS) + 1,
    "eos_token_id": len(WORDS) + 2,
    "pad_token_id": 0,
}
_DECODER = {"decoder_hidden_size": 16, "decoder_num_hidden_layers": 1, "decoder_num_attention_heads": 2}

# The class of the config, that of the model, and fields that only this family has.
VISION_FAMILIES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "clip_vision": (transformers.CLIPVisionConfig, transformers.CLIPVisionModel, {}),
    "clip_vision_projected": (transformers.CLIPVisionConfig, transformers.CLIPVisionModelWithProjection, {}),
    "deit": (transformers.DeiTConfig, transformers.DeiTModel, {}),
    "deit_teacher": (transformers.DeiTConfig, transformers.DeiTForImageClassificationWithTeacher, {}),
    "dinov3": (transformers.DINOv3ViTConfig, transformers.DINOv3ViTModel, {"num_register_tokens": 4}),
    "mae": (transformers.ViTMAEConfig, transformers.ViTMAEModel, {"mask_ratio": 0.0}),
    "mae_whole": (transformers.ViTMAEConfig, transformers.ViTMAEForPreTraining, {"mask_ratio": 0.0, **_DECODER}),
    "siglip_vision": (transformers.SiglipVisionConfig, modeling_siglip.SiglipVisionModel, {}),
}
# Models of two towers, whose changes go to the vision tower.
TWO_TOWERS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "clip": (transformers.CLIPConfig, transformers.CLIPModel, {"projection_dim": 10}),
    "siglip": (transformers.SiglipConfig, transformers.SiglipModel, {}),
}


def write_vision_family(
    directory: Path,
    kind: str,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    text: dict[str, Any] | None = None,
    **changes: Any,
) -> PreTrainedModel:
    """Write a tiny vision checkpoint with its image processor; return Hugging Face's model, eager, in float32.

    Args:
      directory: Made if need be.
      kind: Key of VISION_FAMILIES or TWO_TOWERS; the latter come with a tokenizer of WORDS too.
      seed: Of the weights.
      dtype: Of the file; the model returned has the rounded weights.
      text: Changes of the text tower's config.
      **changes: Fields of the vision config; 24 wide, 3 deep, 3 heads, image 28, patch 7 otherwise.
    """
    config_class, model_class, special = {**VISION_FAMILIES, **TWO_TOWERS}[kind]
    vision = {**_VISION, **changes}
    if kind in TWO_TOWERS:
        config = config_class(text_config={**_TEXT, **(text or {})}, vision_config=vision, **special)
        write_clip_tokenizer(directory)
    else:
        config = config_class(**{**vision, **special, **changes})
    config._attn_implementation = "eager"
    model = sharpen(model_class(config), seed)
    write_image_processor(directory, vision["image_size"])
    copy.deepcopy(model).to(dtype).save_pretrained(directory)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(weight.to(dtype))
    return model


def write_clip_tokenizer(directory: Path) -> None:
    """Write a tokenizer of one id per word that opens and ends a text with a token each, the highest ids, as CLIP's."""
    directory.mkdir(parents=True, exist_ok=True)
    start, end = len(WORDS) + 1, len(WORDS) + 2
    vocabulary = {word: i for i, word in enumerate(["<unk>", *WORDS, "<|startoftext|>", "<|endoftext|>"])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()  # type: ignore[assignment]
    tokenizer.add_special_tokens(["<unk>", "<|startoftext|>", "<|endoftext|>"])
    tokenizer.post_processor = processors.TemplateProcessing(  # type: ignore[assignment]
        single="<|startoftext|> $A <|endoftext|>", special_tokens=[("<|startoftext|>", start), ("<|endoftext|>", end)]
    )
    tokenizer.save(str(directory / "tokenizer.json"))
    fields = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": "<unk>",
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
    }
    (directory / "tokenizer_config.json").write_text(json.dumps(fields))
