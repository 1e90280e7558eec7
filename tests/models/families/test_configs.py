"""Config readers of vision families against transformers' own config classes."""

import dataclasses
import json
from typing import Any

import pytest
import transformers

from vla.models.families import FAMILIES
from vla.models.linear import NONLINEARITIES
from vla.models.loading import read_config

CLASSES = {
    "clip": transformers.CLIPConfig,
    "clip_vision_model": transformers.CLIPVisionConfig,
    "deit": transformers.DeiTConfig,
    "dinov2": transformers.Dinov2Config,
    "dinov2_with_registers": transformers.Dinov2WithRegistersConfig,
    "dinov3_vit": transformers.DINOv3ViTConfig,
    "siglip": transformers.SiglipConfig,
    "siglip_vision_model": transformers.SiglipVisionConfig,
    "vit": transformers.ViTConfig,
    "vit_mae": transformers.ViTMAEConfig,
}
TWO_TOWERS = ("clip", "siglip")

# what transformers 4 wrote into every section of a config
OLD_SECTION: dict[str, Any] = {
    "_name_or_path": "",
    "add_cross_attention": False,
    "architectures": None,
    "bad_words_ids": None,
    "chunk_size_feed_forward": 0,
    "cross_attention_hidden_size": None,
    "decoder_start_token_id": None,
    "diversity_penalty": 0.0,
    "do_sample": False,
    "dropout": 0.0,
    "early_stopping": False,
    "encoder_no_repeat_ngram_size": 0,
    "finetuning_task": None,
    "forced_bos_token_id": None,
    "forced_eos_token_id": None,
    "gradient_checkpointing": False,
    "id2label": {"0": "LABEL_0", "1": "LABEL_1"},
    "is_decoder": False,
    "is_encoder_decoder": False,
    "label2id": {"LABEL_0": 0, "LABEL_1": 1},
    "length_penalty": 1.0,
    "max_length": 20,
    "min_length": 0,
    "no_repeat_ngram_size": 0,
    "num_beam_groups": 1,
    "num_beams": 1,
    "num_return_sequences": 1,
    "output_attentions": False,
    "output_hidden_states": False,
    "output_scores": False,
    "pad_token_id": None,
    "prefix": None,
    "problem_type": None,
    "pruned_heads": {},
    "remove_invalid_values": False,
    "repetition_penalty": 1.0,
    "return_dict": True,
    "return_dict_in_generate": False,
    "sep_token_id": None,
    "task_specific_params": None,
    "temperature": 1.0,
    "tie_encoder_decoder": False,
    "tie_word_embeddings": True,
    "tokenizer_class": None,
    "top_k": 50,
    "top_p": 1.0,
    "torch_dtype": None,
    "torchscript": False,
    "transformers_version": "4.16.0.dev0",
    "use_bfloat16": False,
}

# config.json files as older transformers wrote them, with what was then saved
PUBLISHED: dict[str, dict[str, Any]] = {
    "dinov2, transformers 4.32": {
        "apply_layernorm": True,
        "architectures": ["Dinov2Model"],
        "attention_probs_dropout_prob": 0.0,
        "drop_path_rate": 0.0,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "hidden_size": 768,
        "image_size": 518,
        "initializer_range": 0.02,
        "layer_norm_eps": 1e-06,
        "layerscale_value": 1.0,
        "mlp_ratio": 4,
        "model_type": "dinov2",
        "num_attention_heads": 12,
        "num_channels": 3,
        "num_hidden_layers": 12,
        "out_features": ["stage12"],
        "out_indices": [12],
        "patch_size": 14,
        "qkv_bias": True,
        "reshape_hidden_states": True,
        "stage_names": ["stem", "stage1"],
        "torch_dtype": "float32",
        "transformers_version": "4.32.0.dev0",
        "use_swiglu_ffn": False,
    },
    "dinov2 with registers, transformers 4.48": {
        "apply_layernorm": True,
        "hidden_act": "gelu",
        "hidden_size": 768,
        "image_size": 518,
        "interpolate_antialias": True,
        "interpolate_offset": 0.0,
        "layer_norm_eps": 1e-06,
        "layerscale_value": 1.0,
        "mlp_ratio": 4,
        "model_type": "dinov2_with_registers",
        "num_attention_heads": 12,
        "num_hidden_layers": 12,
        "num_register_tokens": 4,
        "patch_size": 14,
        "qkv_bias": True,
        "use_swiglu_ffn": False,
    },
    "clip, transformers 4.16": {
        "architectures": ["CLIPModel"],
        "initializer_factor": 1.0,
        "logit_scale_init_value": 2.6592,
        "model_type": "clip",
        "projection_dim": 512,
        "text_config": {**OLD_SECTION, "hidden_size": 512, "eos_token_id": 2, "bos_token_id": 0},
        "text_config_dict": None,
        "torch_dtype": "float32",
        "transformers_version": None,
        "vision_config": {
            **OLD_SECTION,
            "attention_dropout": 0.0,
            "hidden_act": "quick_gelu",
            "hidden_size": 768,
            "image_size": 224,
            "initializer_factor": 1.0,
            "initializer_range": 0.02,
            "intermediate_size": 3072,
            "layer_norm_eps": 1e-05,
            "model_type": "clip_vision_model",
            "num_attention_heads": 12,
            "num_hidden_layers": 12,
            "patch_size": 32,
            "projection_dim": 512,
        },
        "vision_config_dict": None,
    },
    "siglip, transformers 4.37": {
        "architectures": ["SiglipModel"],
        "initializer_factor": 1.0,
        "model_type": "siglip",
        "text_config": {"model_type": "siglip_text_model"},
        "torch_dtype": "float32",
        "transformers_version": "4.37.0.dev0",
        "vision_config": {"model_type": "siglip_vision_model"},
    },
    "mae, transformers 4.16": {
        "architectures": ["ViTMAEForPreTraining"],
        "attention_probs_dropout_prob": 0.0,
        "decoder_hidden_size": 512,
        "decoder_intermediate_size": 2048,
        "decoder_num_attention_heads": 16,
        "decoder_num_hidden_layers": 8,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "hidden_size": 1280,
        "image_size": 224,
        "initializer_range": 0.02,
        "intermediate_size": 5120,
        "layer_norm_eps": 1e-12,
        "mask_ratio": 0.75,
        "model_type": "vit_mae",
        "norm_pix_loss": False,
        "num_attention_heads": 16,
        "num_channels": 3,
        "num_hidden_layers": 32,
        "patch_size": 14,
        "qkv_bias": True,
        "torch_dtype": "float32",
        "transformers_version": "4.16.0.dev0",
    },
    "vit, transformers 4.13": {
        "_name_or_path": "google/vit-base-patch16-224-in21k",
        "architectures": ["ViTModel"],
        "attention_probs_dropout_prob": 0.0,
        "encoder_stride": 16,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "hidden_size": 768,
        "id2label": {"0": "cat"},
        "image_size": 224,
        "initializer_range": 0.02,
        "intermediate_size": 3072,
        "label2id": {"cat": 0},
        "layer_norm_eps": 1e-12,
        "model_type": "vit",
        "num_attention_heads": 12,
        "num_channels": 3,
        "num_hidden_layers": 12,
        "patch_size": 16,
        "qkv_bias": True,
        "transformers_version": "4.13.0.dev0",
    },
}


def read(tmp_path, fields: dict[str, Any]):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(fields))
    return read_config(path)[1]


@pytest.mark.parametrize("model_type", CLASSES)
def test_an_empty_config_is_the_default_of_transformers(model_type, tmp_path):
    theirs = json.loads(CLASSES[model_type]().to_json_string(use_diff=False))
    assert read(tmp_path, {"model_type": model_type}) == read(tmp_path, theirs)


@pytest.mark.parametrize("model_type", CLASSES)
def test_every_field_that_transformers_has_is_known(model_type, tmp_path):
    # read_config raises on any it does not know, and the values say that they were read
    changes = {"hidden_size": 48, "num_attention_heads": 6}
    theirs = CLASSES[model_type](**{"vision_config": changes} if model_type in TWO_TOWERS else changes)
    config = read(tmp_path, json.loads(theirs.to_json_string(use_diff=False)))
    assert (config.width, config.heads) == (48, 6)


@pytest.mark.parametrize("name", PUBLISHED)
def test_configs_of_older_transformers_are_read(name, tmp_path):
    fields = PUBLISHED[name]
    config = read(tmp_path, fields)
    tower = fields.get("vision_config", fields)
    assert config.width == tower.get("hidden_size", 768)
    assert config.depth == tower.get("num_hidden_layers", 12)


def test_an_unknown_architecture_lists_the_known_ones(tmp_path):
    with pytest.raises(ValueError, match=f"model_type 'mamba' is not supported; .*: {', '.join(sorted(FAMILIES))}"):
        read(tmp_path, {"model_type": "mamba"})
    with pytest.raises(ValueError, match="model_type None is not supported"):
        read(tmp_path, {"hidden_size": 3})


REFUSED = {
    "an unknown field": ("vit", {"per_layer_config": {}}, "per_layer_config"),
    "an unknown nonlinearity": (
        "vit",
        {"hidden_act": "mish"},
        f"hidden_act 'mish' is not known; known are: {', '.join(sorted(NONLINEARITIES))}",
    ),
    "an image that is no square": ("dinov2", {"image_size": [224, 196]}, "'image_size' is .*only squares"),
    "a patch that is no square": ("vit", {"patch_size": [16, 8]}, "'patch_size' is .*only squares"),
    "an image below one patch": ("vit", {"image_size": 8}, "image_size 8 is smaller than patch_size 16"),
    "heads of a vit": ("vit", {"num_attention_heads": 7}, "hidden_size 768 does not divide by .* 7"),
    "heads of a dinov2": ("dinov2", {"num_attention_heads": 7}, "hidden_size 768 does not divide by .* 7"),
    "heads of a clip": (
        "clip",
        {"vision_config": {"num_attention_heads": 7}},
        "'vision_config': hidden_size 768 does not divide by .* 7",
    ),
    "heads too narrow to turn": ("dinov3_vit", {"hidden_size": 36}, "leaves 6 units per head; .* multiple of 4"),
    "a field of siglip's tower": (
        "siglip",
        {"vision_config": {"return_dict_": 2, "per_layer_config": {}}},
        "'vision_config' has fields .*: per_layer_config",
    ),
    "siglip of any resolution": ("siglip2", {}, "model_type 'siglip2' is not supported"),
    "another kernel": ("dinov2_with_registers", {"interpolate_antialias": False}, "'interpolate_antialias' is False"),
    "an offset": ("dinov2_with_registers", {"interpolate_offset": 0.1}, "'interpolate_offset' is 0.1"),
    "no registers": ("dinov2_with_registers", {"num_register_tokens": 0}, "'num_register_tokens' is 0; .* at least 1"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_supported_is_refused_by_name(case, tmp_path):
    model_type, fields, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        read(tmp_path, {"model_type": model_type, **fields})


def test_swiglu_is_two_thirds_as_wide_and_silu(tmp_path):
    giant = {"model_type": "dinov2", "hidden_size": 1536, "num_attention_heads": 24, "use_swiglu_ffn": True}
    config = read(tmp_path, giant)
    # 4096 is what DINOv2 giant has
    assert (config.inner, config.gated, config.nonlinearity) == (4096, True, "silu")


@pytest.mark.parametrize("model_type", CLASSES)
def test_configs_hold_plain_values(model_type, tmp_path):
    config = read(tmp_path, {"model_type": model_type})
    assert hash(config) == hash(dataclasses.replace(config))
