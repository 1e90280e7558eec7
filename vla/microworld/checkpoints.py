"""Writes two tiny untrained models in Hugging Face layout: a DINOv2 image encoder, a LLaMA decoder.

Axis letters: D width, P patch side.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from vla.microworld.once import make_once
from vla.records import canonical_hash

# Raised whenever the same captions and seed would give other files.
VERSION = 1
WIDTH, DEPTH, HEADS, KV_HEADS = 96, 6, 6, 3
IMAGE, PATCH = 64, 8
VISION_HIDDEN, LANGUAGE_HIDDEN = 4 * WIDTH, 256
VOCABULARY = 512
BOS, EOS = "<s>", "</s>"

Tensors = dict[str, np.ndarray]


class UntrainedCheckpoints(NamedTuple):
    """Where the two checkpoints are, each a folder in Hugging Face layout."""

    vision: Path
    language: Path


def write_untrained_checkpoints(
    folder: str | os.PathLike[str], captions: Sequence[str], seed: int
) -> UntrainedCheckpoints:
    """A vision and a language checkpoint with random weights and a tokenizer made from the captions.

    Architectures: DINOv2 (`Dinov2Model`, width 96, 6 blocks, 6 heads, 64 × 64 pixels in patches of 8) and
    LLaMA (`LlamaForCausalLM`, width 96, 6 blocks, 6 heads with 3 key-value heads, tied embeddings) with a
    byte-level BPE tokenizer that puts `<s>` first and can read any text. Matrices are drawn at
    1/sqrt(inputs), norm scales are 1, biases 0. What was already written is used again.

    Args:
      folder: Where they shall be, in `untrained-dinov2` and `untrained-llama`.
      captions: Text the tokenizer is made from.
      seed: Which weights.

    Raises:
      ValueError: there are no captions; `seed` is negative; or the folder holds something else.
    """
    if not captions:
        raise ValueError("no captions given; expected the captions that the tokenizer is to be made from")
    if seed < 0:
        raise ValueError(f"seed={seed} cannot be used; expected a whole number of 0 or more")

    def fill(draft: Path) -> None:
        _write_vision(draft / "untrained-dinov2", np.random.default_rng([seed, 0]))
        _write_language(draft / "untrained-llama", captions, np.random.default_rng([seed, 1]))

    recipe = {"what": "untrained checkpoints", "seed": seed, "version": VERSION}
    recipe["captions"] = canonical_hash(list(captions))
    place = make_once(folder, recipe, fill)
    return UntrainedCheckpoints(place / "untrained-dinov2", place / "untrained-llama")


def _write_vision(folder: Path, rng: np.random.Generator) -> None:
    """Config, image processor and weights of the image encoder."""
    config = {
        "architectures": ["Dinov2Model"],
        "attention_probs_dropout_prob": 0.0,
        "drop_path_rate": 0.0,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "hidden_size": WIDTH,
        "image_size": IMAGE,
        "initializer_range": 0.02,
        "layer_norm_eps": 1e-6,
        "layerscale_value": 1.0,
        "mlp_ratio": VISION_HIDDEN // WIDTH,
        "model_type": "dinov2",
        "num_attention_heads": HEADS,
        "num_channels": 3,
        "num_hidden_layers": DEPTH,
        "patch_size": PATCH,
        "qkv_bias": True,
        "torch_dtype": "float32",
        "use_swiglu_ffn": False,
    }
    processor = {
        "crop_size": {"height": IMAGE, "width": IMAGE},
        "do_center_crop": True,
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.485, 0.456, 0.406],
        "image_processor_type": "BitImageProcessor",
        "image_std": [0.229, 0.224, 0.225],
        "resample": 3,
        "rescale_factor": 1 / 255,
        "size": {"shortest_edge": IMAGE},
    }
    tensors: Tensors = {
        "embeddings.cls_token": _normal(rng, (1, 1, WIDTH), 0.5),
        "embeddings.mask_token": np.zeros((1, WIDTH), np.float32),
        "embeddings.position_embeddings": _normal(rng, (1, 1 + (IMAGE // PATCH) ** 2, WIDTH), 0.5),
        "embeddings.patch_embeddings.projection.bias": np.zeros(WIDTH, np.float32),
        "embeddings.patch_embeddings.projection.weight": _matrix(rng, WIDTH, 3 * PATCH**2).reshape(
            WIDTH, 3, PATCH, PATCH
        ),
    }
    for i in range(DEPTH):
        block = f"encoder.layer.{i}"
        for name, outputs, inputs in (
            ("attention.attention.query", WIDTH, WIDTH),
            ("attention.attention.key", WIDTH, WIDTH),
            ("attention.attention.value", WIDTH, WIDTH),
            ("attention.output.dense", WIDTH, WIDTH),
            ("mlp.fc1", VISION_HIDDEN, WIDTH),
            ("mlp.fc2", WIDTH, VISION_HIDDEN),
        ):
            tensors[f"{block}.{name}.weight"] = _matrix(rng, outputs, inputs)
            tensors[f"{block}.{name}.bias"] = np.zeros(outputs, np.float32)
        for scale in ("layer_scale1", "layer_scale2"):
            tensors[f"{block}.{scale}.lambda1"] = np.ones(WIDTH, np.float32)
        for norm in ("norm1", "norm2"):
            tensors |= _layer_norm(f"{block}.{norm}")
    tensors |= _layer_norm("layernorm")
    _write(folder, {"config.json": config, "preprocessor_config.json": processor}, tensors)


def _write_language(folder: Path, captions: Sequence[str], rng: np.random.Generator) -> None:
    """Config, tokenizer and weights of the decoder."""
    tokenizer = _tokenizer(captions)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": tokenizer.token_to_id(BOS),
        "eos_token_id": tokenizer.token_to_id(EOS),
        "head_dim": WIDTH // HEADS,
        "hidden_act": "silu",
        "hidden_size": WIDTH,
        "initializer_range": 0.02,
        "intermediate_size": LANGUAGE_HIDDEN,
        "max_position_embeddings": 256,
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": HEADS,
        "num_hidden_layers": DEPTH,
        "num_key_value_heads": KV_HEADS,
        "pretraining_tp": 1,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "tie_word_embeddings": True,
        "torch_dtype": "float32",
        "use_cache": True,
        "vocab_size": tokenizer.get_vocab_size(),
    }
    tokens = {
        "bos_token": BOS,
        "clean_up_tokenization_spaces": False,
        "eos_token": EOS,
        "model_max_length": config["max_position_embeddings"],
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    keys = KV_HEADS * WIDTH // HEADS
    # At deviation 1 the words are not drowned by what the blocks add to them.
    tensors: Tensors = {"model.embed_tokens.weight": _normal(rng, (config["vocab_size"], WIDTH), 1.0)}
    for i in range(DEPTH):
        block = f"model.layers.{i}"
        for name, outputs, inputs in (
            ("self_attn.q_proj", WIDTH, WIDTH),
            ("self_attn.k_proj", keys, WIDTH),
            ("self_attn.v_proj", keys, WIDTH),
            ("self_attn.o_proj", WIDTH, WIDTH),
            ("mlp.gate_proj", LANGUAGE_HIDDEN, WIDTH),
            ("mlp.up_proj", LANGUAGE_HIDDEN, WIDTH),
            ("mlp.down_proj", WIDTH, LANGUAGE_HIDDEN),
        ):
            tensors[f"{block}.{name}.weight"] = _matrix(rng, outputs, inputs)
        for norm in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"{block}.{norm}.weight"] = np.ones(WIDTH, np.float32)
    tensors["model.norm.weight"] = np.ones(WIDTH, np.float32)
    _write(folder, {"config.json": config, "tokenizer_config.json": tokens}, tensors)
    tokenizer.save(str(folder / "tokenizer.json"))


def _tokenizer(captions: Sequence[str]) -> Tokenizer:
    """Byte-level BPE over the captions; every text begins with BOS."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore
    tokenizer.decoder = decoders.ByteLevel()  # pyright: ignore
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=[BOS, EOS], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(captions, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(  # pyright: ignore
        single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
    )
    return tokenizer


def _normal(rng: np.random.Generator, shape: tuple[int, ...], deviation: float) -> np.ndarray:
    return (deviation * rng.standard_normal(shape)).astype(np.float32)


def _matrix(rng: np.random.Generator, outputs: int, inputs: int) -> np.ndarray:
    """A matrix that keeps the deviation of what it multiplies."""
    return _normal(rng, (outputs, inputs), inputs**-0.5)


def _layer_norm(name: str) -> Tensors:
    return {f"{name}.weight": np.ones(WIDTH, np.float32), f"{name}.bias": np.zeros(WIDTH, np.float32)}


def _write(folder: Path, texts: dict[str, dict], tensors: Tensors) -> None:
    """One checkpoint's files."""
    folder.mkdir()
    for name, value in texts.items():
        (folder / name).write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    # Hugging Face's own loader refuses a file that does not say which framework wrote its layout.
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
