"""Config readers against transformers' own config classes."""

import dataclasses
import json
from typing import Any

import pytest
from transformers.models.dinov2.configuration_dinov2 import Dinov2Config
from transformers.models.dinov2_with_registers.configuration_dinov2_with_registers import Dinov2WithRegistersConfig
from transformers.models.llama.configuration_llama import LlamaConfig
from transformers.models.vit.configuration_vit import ViTConfig

from vla.models.families import FAMILIES
from vla.models.loading import read_config
from vla.models.rotary import Rotary

CLASSES = {
    "vit": ViTConfig,
    "dinov2": Dinov2Config,
    "dinov2_with_registers": Dinov2WithRegistersConfig,
    "llama": LlamaConfig,
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
    "llama, transformers 4.30": {
        "architectures": ["LlamaForCausalLM"],
        "bos_token_id": 1,
        "eos_token_id": 2,
        "hidden_act": "silu",
        "hidden_size": 3200,
        "initializer_range": 0.02,
        "intermediate_size": 8640,
        "max_position_embeddings": 2048,
        "model_type": "llama",
        "num_attention_heads": 32,
        "num_hidden_layers": 26,
        "pad_token_id": 0,
        "rms_norm_eps": 1e-06,
        "tie_word_embeddings": False,
        "torch_dtype": "float16",
        "transformers_version": "4.30.0.dev0",
        "use_cache": True,
        "vocab_size": 32000,
    },
    "smollm2, transformers 4.42": {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "hidden_act": "silu",
        "hidden_size": 2048,
        "initializer_range": 0.02,
        "intermediate_size": 8192,
        "max_position_embeddings": 8192,
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": 32,
        "num_hidden_layers": 24,
        "num_key_value_heads": 32,
        "pretraining_tp": 1,
        "rms_norm_eps": 1e-05,
        "rope_interleaved": False,
        "rope_scaling": None,
        "rope_theta": 130000,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "transformers.js_config": {"dtype": "q4"},
        "transformers_version": "4.42.3",
        "use_cache": True,
        "vocab_size": 49152,
    },
}


def read(tmp_path, fields: dict[str, Any]):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(fields))
    return read_config(path)[1]


@pytest.mark.parametrize("model_type", FAMILIES)
def test_an_empty_config_is_the_default_of_transformers(model_type, tmp_path):
    theirs = json.loads(CLASSES[model_type]().to_json_string(use_diff=False))
    assert read(tmp_path, {"model_type": model_type}) == read(tmp_path, theirs)


@pytest.mark.parametrize("model_type", FAMILIES)
def test_every_field_that_transformers_has_is_known(model_type, tmp_path):
    # read_config raises on any it does not know, and the values say that they were read
    theirs = CLASSES[model_type](hidden_size=48, num_attention_heads=6)
    config = read(tmp_path, json.loads(theirs.to_json_string(use_diff=False)))
    assert (config.width, config.heads) == (48, 6)


@pytest.mark.parametrize("name", PUBLISHED)
def test_configs_of_older_transformers_are_read(name, tmp_path):
    fields = PUBLISHED[name]
    config = read(tmp_path, fields)
    assert config.width == fields["hidden_size"]
    assert config.depth == fields["num_hidden_layers"]
    if name.startswith("smollm2"):
        assert config.rotary == Rotary(130_000.0)


def test_an_unknown_architecture_lists_the_known_ones(tmp_path):
    with pytest.raises(
        ValueError, match="model_type 'mamba' is not supported; .*: dinov2, dinov2_with_registers, llama, vit"
    ):
        read(tmp_path, {"model_type": "mamba"})
    with pytest.raises(ValueError, match="model_type None is not supported"):
        read(tmp_path, {"hidden_size": 3})


REFUSED = {
    "an unknown field": ("vit", {"relative_positions": True}, "relative_positions"),
    "an unknown nonlinearity": (
        "vit",
        {"hidden_act": "mish"},
        "hidden_act 'mish' is not known; known are: gelu, gelu_new, gelu_pytorch_tanh, quick_gelu, relu, silu",
    ),
    "an image that is no square": ("dinov2", {"image_size": [224, 196]}, "'image_size' is .*only squares"),
    "a patch that is no square": ("vit", {"patch_size": [16, 8]}, "'patch_size' is .*only squares"),
    "an image below one patch": ("vit", {"image_size": 8}, "image_size 8 is smaller than patch_size 16"),
    "heads of a vit": ("vit", {"num_attention_heads": 7}, "hidden_size 768 does not divide by .* 7"),
    "heads of a dinov2": ("dinov2", {"num_attention_heads": 7}, "hidden_size 768 does not divide by .* 7"),
    "heads of a llama": ("llama", {"num_attention_heads": 3}, "hidden_size 4096 does not divide by .* 3"),
    "groups": ("llama", {"num_key_value_heads": 5}, "num_attention_heads 32 does not divide by num_key_value_heads 5"),
    "an odd head": ("llama", {"head_dim": 7}, "heads are 7 wide"),
    "an unknown rope": (
        "llama",
        {"rope_scaling": {"type": "yarn", "factor": 2.0}},
        "type 'yarn' is not known; known are: default, linear, llama3",
    ),
    "an unknown rope of transformers 5": (
        "llama",
        {"rope_parameters": {"rope_type": "longrope", "rope_theta": 1.0}},
        "rope_type 'longrope' is not known; known are: default, linear, llama3",
    ),
    "a rope without its factor": ("llama", {"rope_scaling": {"type": "linear"}}, "has no field 'factor'"),
    "a rope with a field too many": (
        "llama",
        {"rope_scaling": {"type": "linear", "factor": 2.0, "beta": 1}},
        "'rope_scaling' has fields .*: beta",
    ),
    "two ropes": (
        "llama",
        {"rope_scaling": {"type": "linear", "factor": 2.0}, "rope_parameters": {"rope_type": "default"}},
        "both 'rope_parameters' and 'rope_scaling'",
    ),
    "llama3 upside down": (
        "llama",
        {"rope_scaling": {"type": "llama3", "factor": 2.0, "low_freq_factor": 4.0, "high_freq_factor": 1.0}},
        "low_freq_factor 4.0 must be below high_freq_factor 1.0",
    ),
    "no registers": ("dinov2_with_registers", {"num_register_tokens": 0}, "'num_register_tokens' is 0; .* at least 1"),
    "interleaved rope": ("llama", {"rope_interleaved": True}, "'rope_interleaved' is True"),
    "partial rope": ("llama", {"partial_rotary_factor": 0.5}, "'partial_rotary_factor' is 0.5"),
    "partial rope of transformers 5": (
        "llama",
        {"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}},
        "'partial_rotary_factor' is 0.5",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_supported_is_refused_by_name(case, tmp_path):
    model_type, fields, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        read(tmp_path, {"model_type": model_type, **fields})


def test_llama3_without_an_original_length_takes_the_models(tmp_path):
    rope = {"type": "llama3", "factor": 2.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    config = read(tmp_path, {"model_type": "llama", "rope_scaling": rope, "max_position_embeddings": 512})
    assert config.rotary == Rotary(10_000.0, "llama3", 2.0, 1.0, 4.0, 512)
    theirs = LlamaConfig(rope_scaling=rope, max_position_embeddings=512).rope_parameters
    assert theirs["original_max_position_embeddings"] == 512


def test_swiglu_is_two_thirds_as_wide_and_silu(tmp_path):
    giant = {"model_type": "dinov2", "hidden_size": 1536, "num_attention_heads": 24, "use_swiglu_ffn": True}
    config = read(tmp_path, giant)
    # 4096 is what DINOv2 giant has
    assert (config.inner, config.gated, config.nonlinearity) == (4096, True, "silu")


@pytest.mark.parametrize("model_type", FAMILIES)
def test_configs_hold_plain_values(model_type, tmp_path):
    config = read(tmp_path, {"model_type": model_type})
    assert hash(config) == hash(dataclasses.replace(config))
