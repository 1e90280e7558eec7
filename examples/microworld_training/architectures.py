"""The five architectures as Hugging Face files: configs, image processors and tokenizers.

Letters: D width, L blocks, H heads.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

D, L, H = 64, 6, 4
IMAGE, PATCH = 64, 8
LENGTH = 128
# Depth of CLIP's towers, and width of their common embedding space.
CLIP_DEPTH, CLIP_SPACE = 4, 64
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

VISION = ("micro-dinov2", "micro-vit", "micro-clip")
LANGUAGE = ("micro-llama", "micro-bloom", "micro-clip")

BOS, EOS, PAD = "<s>", "</s>", "<pad>"
# Size of the vocabulary: 256 bytes, three special tokens, and merges.
VOCABULARY = 640


def write_description(
    folder: Path, model: str, tokenizer: Tokenizer | None = None, labels: tuple[str, ...] = ()
) -> None:
    """Write all files of a checkpoint except its weights.

    Args:
      folder: Folder of the checkpoint.
      model: Key of `settings.MODELS`.
      tokenizer: Tokenizer of a model that reads text.
      labels: Labels of micro-vit's classifier, in order.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "config.json", _config(model, tokenizer, labels))
    if model in VISION:
        _write(folder / "preprocessor_config.json", _image_processor(model))
    if model in LANGUAGE:
        assert tokenizer is not None
        _write(folder / "tokenizer_config.json", _tokenizer_config())
        tokenizer.save(str(folder / "tokenizer.json"))


def _config(model: str, tokenizer: Tokenizer | None, labels: tuple[str, ...]) -> dict[str, Any]:
    """The content of config.json. The weights are float16; `torch_dtype` makes Hugging Face compute in float32."""
    vision = {
        "attention_probs_dropout_prob": 0.0,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "hidden_size": D,
        "image_size": IMAGE,
        "initializer_range": 0.02,
        "layer_norm_eps": 1e-6,
        "num_attention_heads": H,
        "num_channels": 3,
        "num_hidden_layers": L,
        "patch_size": PATCH,
        "qkv_bias": True,
        "torch_dtype": "float32",
    }
    if model == "micro-dinov2":
        dinov2 = {"drop_path_rate": 0.0, "layerscale_value": 1.0, "mlp_ratio": 4, "use_swiglu_ffn": False}
        return {"architectures": ["Dinov2Model"], "model_type": "dinov2", **vision, **dinov2}
    if model == "micro-vit":
        names = {str(i): name for i, name in enumerate(labels)}
        return {
            "architectures": ["ViTForImageClassification"],
            "model_type": "vit",
            **vision,
            "intermediate_size": 4 * D,
            "id2label": names,
            "label2id": {name: int(i) for i, name in names.items()},
        }
    assert tokenizer is not None
    special = {
        "bos_token_id": tokenizer.token_to_id(BOS),
        "eos_token_id": tokenizer.token_to_id(EOS),
        "pad_token_id": tokenizer.token_to_id(PAD),
    }
    vocabulary = tokenizer.get_vocab_size()
    if model == "micro-llama":
        return {
            "architectures": ["LlamaForCausalLM"],
            "attention_bias": False,
            "attention_dropout": 0.0,
            "head_dim": D // H,
            "hidden_act": "silu",
            "hidden_size": D,
            "initializer_range": 0.02,
            "intermediate_size": 2 * D,
            "max_position_embeddings": LENGTH,
            "mlp_bias": False,
            "model_type": "llama",
            "num_attention_heads": H,
            "num_hidden_layers": L,
            "num_key_value_heads": H // 2,
            "pretraining_tp": 1,
            "rms_norm_eps": 1e-6,
            "rope_theta": 10000.0,
            "tie_word_embeddings": True,
            "torch_dtype": "float32",
            "use_cache": True,
            "vocab_size": vocabulary,
            **special,
        }
    if model == "micro-bloom":
        return {
            "apply_residual_connection_post_layernorm": False,
            "architectures": ["BloomForCausalLM"],
            "attention_dropout": 0.0,
            "hidden_dropout": 0.0,
            "hidden_size": D,
            "initializer_range": 0.02,
            "layer_norm_epsilon": 1e-5,
            "model_type": "bloom",
            "n_head": H,
            "n_layer": L,
            "seq_length": LENGTH,
            "tie_word_embeddings": True,
            "torch_dtype": "float32",
            "vocab_size": vocabulary,
            **special,
        }
    tower = {
        "hidden_act": "quick_gelu",
        "hidden_size": D,
        "intermediate_size": 4 * D,
        "layer_norm_eps": 1e-5,
        "num_attention_heads": H,
        "num_hidden_layers": CLIP_DEPTH,
        "projection_dim": CLIP_SPACE,
    }
    return {
        "architectures": ["CLIPModel"],
        "model_type": "clip",
        "projection_dim": CLIP_SPACE,
        "text_config": {
            **tower,
            "max_position_embeddings": 64,
            "model_type": "clip_text_model",
            "vocab_size": vocabulary,
            **special,
        },
        "torch_dtype": "float32",
        "vision_config": {
            **tower,
            "image_size": IMAGE,
            "model_type": "clip_vision_model",
            "num_channels": 3,
            "patch_size": PATCH,
        },
    }


def _image_processor(model: str) -> dict[str, Any]:
    return {
        "crop_size": {"height": IMAGE, "width": IMAGE},
        "do_center_crop": True,
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": list(MEAN),
        "image_processor_type": "CLIPImageProcessor" if model == "micro-clip" else "BitImageProcessor",
        "image_std": list(DEVIATION),
        "resample": 3,
        "rescale_factor": 1 / 255,
        "size": {"shortest_edge": IMAGE},
    }


def _tokenizer_config() -> dict[str, Any]:
    return {
        "bos_token": BOS,
        "clean_up_tokenization_spaces": False,
        "eos_token": EOS,
        "model_max_length": LENGTH,
        "pad_token": PAD,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def make_tokenizer(captions: Iterable[str], ends: bool = False) -> Tokenizer:
    """Train a byte-level BPE tokenizer on captions: common words become few tokens, and it can encode any text.

    It adds BOS at the start of each text and, with `ends`, EOS at its end.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore
    tokenizer.decoder = decoders.ByteLevel()  # pyright: ignore
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[BOS, EOS, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(captions, trainer)
    special = [(token, tokenizer.token_to_id(token)) for token in (BOS, EOS)]
    end = f" {EOS}" if ends else ""
    tokenizer.post_processor = processors.TemplateProcessing(  # pyright: ignore
        single=f"{BOS} $A{end}", pair=f"{BOS} $A{end} {BOS} $B{end}", special_tokens=special
    )
    return tokenizer
