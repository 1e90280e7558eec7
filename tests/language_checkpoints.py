"""Tiny random checkpoints of every language family, saved by Hugging Face's own classes."""

import copy
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import PreTrainedModel

from tests.checkpoints import WORDS, sharpen, write_tokenizer

# The names of the config's class and of the model's, and fields that only this family has.
LANGUAGE: dict[str, tuple[str, str, dict[str, Any]]] = {
    "bloom": ("BloomConfig", "BloomForCausalLM", {}),
    "gemma": ("GemmaConfig", "GemmaForCausalLM", {}),
    "gemma2": ("Gemma2Config", "Gemma2ForCausalLM", {"sliding_window": 6, "query_pre_attn_scalar": 9}),
    "gemma3_text": (
        "Gemma3TextConfig",
        "Gemma3ForCausalLM",
        {"sliding_window": 6, "query_pre_attn_scalar": 9, "sliding_window_pattern": 2},
    ),
    "gpt2": ("GPT2Config", "GPT2LMHeadModel", {}),
    "gpt_neox": ("GPTNeoXConfig", "GPTNeoXForCausalLM", {"rotary_pct": 0.5}),
    "llama": ("LlamaConfig", "LlamaForCausalLM", {}),
    "mistral": ("MistralConfig", "MistralForCausalLM", {"sliding_window": 6}),
    "mixtral": ("MixtralConfig", "MixtralForCausalLM", {"num_local_experts": 5}),
    "olmo": ("OlmoConfig", "OlmoForCausalLM", {}),
    "olmo2": ("Olmo2Config", "Olmo2ForCausalLM", {}),
    "phi3": ("Phi3Config", "Phi3ForCausalLM", {}),
    "qwen2": ("Qwen2Config", "Qwen2ForCausalLM", {}),
    "qwen3": ("Qwen3Config", "Qwen3ForCausalLM", {}),
}

_SIZES = {
    "bloom": {"hidden_size": 32, "n_layer": 3, "n_head": 4},
    "gpt2": {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 64},
}
_OTHER_SIZES = {
    "hidden_size": 32,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
# Families whose default heads are too wide for this.
_HEADS = ("gemma", "gemma2", "gemma3_text", "qwen3")


def make_language(kind: str, *, seed: int = 0, base: bool = False, **changes: Any) -> PreTrainedModel:
    """Hugging Face's model with sharp weights, eager, in float32.

    Args:
      kind: Key of LANGUAGE.
      seed: Of the weights.
      base: Without a head.
      **changes: Fields of the config; 32 wide, 3 deep, 4 heads, 2 key-value heads where there are, otherwise.
    """
    config_name, model_name, special = LANGUAGE[kind]
    fields = dict(_SIZES.get(kind, _OTHER_SIZES))
    if kind in _HEADS:
        fields["head_dim"] = 8
    if kind == "gpt_neox":
        del fields["num_key_value_heads"]
    tokens = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "vocab_size": len(WORDS) + 3}
    config = getattr(transformers, config_name)(
        **{**fields, **tokens, **special, "attn_implementation": "eager", **changes}
    )
    model = getattr(transformers, model_name)(config)
    model = sharpen(getattr(model, model.base_model_prefix) if base else model, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 3:  # one matrix per expert, each with a fan-in of its own
                weight.copy_(torch.randn(weight.shape, generator=generator) / weight.shape[-1] ** 0.5)
    return model


def write_family(
    directory: Path,
    kind: str,
    *,
    seed: int = 0,
    base: bool = False,
    dtype: torch.dtype = torch.float32,
    bos: bool = True,
    **changes: Any,
) -> PreTrainedModel:
    """Write a tiny checkpoint of `make_language` with its tokenizer of WORDS; return Hugging Face's model.

    Args:
      directory: Made if need be.
      kind: Key of LANGUAGE.
      seed: Of the weights.
      base: Without a head.
      dtype: Of the file; the model returned has the rounded weights.
      bos: Whether the tokenizer opens every caption with a token of its own.
      **changes: Fields of the config.
    """
    model = make_language(kind, seed=seed, base=base, **changes)
    write_tokenizer(directory, bos=bos)
    # Rounding a copy, and then the parameters alone: model.to(dtype) would round rotary's frequencies as well.
    copy.deepcopy(model).to(dtype).save_pretrained(directory)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(weight.to(dtype))
    return model
