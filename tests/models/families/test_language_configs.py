"""Config readers of language families against transformers' own config classes."""

import dataclasses
import json
from typing import Any

import pytest
import transformers

from tests.language_checkpoints import LANGUAGE
from vla.models.families import FAMILIES
from vla.models.loading import read_config
from vla.models.network_config import DecoderConfig, Rotary

CLASSES = {kind: getattr(transformers, names[0]) for kind, names in LANGUAGE.items()}

# What older versions of transformers saved for published models; long lists shortened.
PUBLISHED: dict[str, dict[str, Any]] = {
    "open_llama_3b": {
        "hidden_act": "silu",
        "hidden_size": 3200,
        "intermediate_size": 8640,
        "max_position_embeddings": 2048,
        "model_type": "llama",
        "num_attention_heads": 32,
        "num_hidden_layers": 26,
        "rms_norm_eps": 1e-06,
        "vocab_size": 32000,
    },
    "llama-7b as first converted": {
        "hidden_act": "silu",
        "hidden_size": 4096,
        "initializer_range": 0.02,
        "intermediate_size": 11008,
        "max_position_embeddings": 2048,
        "max_sequence_length": 2048,
        "model_type": "llama",
        "num_attention_heads": 32,
        "num_hidden_layers": 32,
        "pad_token_id": 0,
        "rms_norm_eps": 1e-06,
        "use_cache": True,
        "vocab_size": 32000,
    },
    "SmolLM2-1.7B": {
        "attention_bias": False,
        "attention_dropout": 0.0,
        "hidden_act": "silu",
        "hidden_size": 2048,
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
        "transformers.js_config": {"dtype": "q4"},
        "vocab_size": 49152,
    },
    "bloom-560m": {
        "apply_residual_connection_post_layernorm": False,
        "attention_dropout": 0.0,
        "attention_softmax_in_fp32": True,
        "bias_dropout_fusion": True,
        "hidden_dropout": 0.0,
        "layer_norm_epsilon": 1e-05,
        "masked_softmax_fusion": True,
        "model_type": "bloom",
        "n_embed": 1024,
        "n_inner": None,
        "n_layer": 24,
        "num_attention_heads": 16,
        "offset_alibi": 100,
        "pretraining_tp": 1,
        "skip_bias_add": True,
        "skip_bias_add_qkv": False,
        "slow_but_exact": False,
        "unk_token_id": 0,
        "vocab_size": 250880,
    },
    "Mistral-7B-v0.2": {
        "hidden_act": "silu",
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "max_position_embeddings": 32768,
        "model_type": "mistral",
        "num_attention_heads": 32,
        "num_hidden_layers": 32,
        "num_key_value_heads": 8,
        "rms_norm_eps": 1e-05,
        "rope_theta": 1000000.0,
        "sliding_window": None,
        "vocab_size": 32000,
    },
    "Mixtral-8x7B": {
        "hidden_act": "silu",
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "max_position_embeddings": 32768,
        "model_type": "mixtral",
        "num_attention_heads": 32,
        "num_experts_per_tok": 2,
        "num_hidden_layers": 32,
        "num_key_value_heads": 8,
        "num_local_experts": 8,
        "output_router_logits": False,
        "rms_norm_eps": 1e-05,
        "rope_theta": 1000000.0,
        "router_aux_loss_coef": 0.02,
        "sliding_window": None,
        "vocab_size": 32000,
    },
    "Qwen2.5-7B-Instruct with yarn": {
        "attention_dropout": 0.0,
        "hidden_act": "silu",
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "max_position_embeddings": 32768,
        "max_window_layers": 28,
        "model_type": "qwen2",
        "num_attention_heads": 28,
        "num_hidden_layers": 28,
        "num_key_value_heads": 4,
        "rms_norm_eps": 1e-06,
        "rope_scaling": {"factor": 4.0, "original_max_position_embeddings": 32768, "type": "yarn"},
        "rope_theta": 1000000.0,
        "sliding_window": 131072,
        "use_mrope": False,
        "use_sliding_window": False,
        "vocab_size": 152064,
    },
    "Qwen2 with windows": {
        "hidden_size": 96,
        "model_type": "qwen2",
        "num_attention_heads": 6,
        "num_hidden_layers": 5,
        "num_key_value_heads": 3,
        "max_window_layers": 3,
        "sliding_window": 512,
        "use_sliding_window": True,
    },
    "Qwen3-8B": {
        "attention_bias": False,
        "head_dim": 128,
        "hidden_act": "silu",
        "hidden_size": 4096,
        "intermediate_size": 12288,
        "max_position_embeddings": 40960,
        "max_window_layers": 36,
        "model_type": "qwen3",
        "num_attention_heads": 32,
        "num_hidden_layers": 36,
        "num_key_value_heads": 8,
        "rms_norm_eps": 1e-06,
        "rope_scaling": None,
        "rope_theta": 1000000,
        "sliding_window": None,
        "use_sliding_window": False,
        "vocab_size": 151936,
    },
    "Phi-3-mini-4k": {
        "attention_bias": False,
        "attention_dropout": 0.0,
        "auto_map": {"AutoConfig": "configuration_phi3.Phi3Config"},
        "embd_pdrop": 0.0,
        "hidden_act": "silu",
        "hidden_size": 3072,
        "intermediate_size": 8192,
        "max_position_embeddings": 4096,
        "model_type": "phi3",
        "num_attention_heads": 32,
        "num_hidden_layers": 32,
        "num_key_value_heads": 32,
        "original_max_position_embeddings": 4096,
        "resid_pdrop": 0.0,
        "rms_norm_eps": 1e-05,
        "rope_scaling": None,
        "rope_theta": 10000.0,
        "sliding_window": 2047,
        "vocab_size": 32064,
    },
    "Phi-3-mini-128k": {
        "hidden_size": 3072,
        "max_position_embeddings": 131072,
        "model_type": "phi3",
        "num_attention_heads": 32,
        "num_hidden_layers": 32,
        "original_max_position_embeddings": 4096,
        "rope_scaling": {"long_factor": [1.0 + i for i in range(48)], "short_factor": [1.05] * 48, "type": "longrope"},
        "sliding_window": 262144,
    },
    "Phi-4-mini": {
        "attention_bias": False,
        "full_attn_mod": 1,
        "hidden_size": 3072,
        "interpolate_factor": 1,
        "lm_head_bias": False,
        "max_position_embeddings": 131072,
        "mlp_bias": False,
        "model_type": "phi3",
        "num_attention_heads": 24,
        "num_hidden_layers": 32,
        "num_key_value_heads": 8,
        "original_max_position_embeddings": 4096,
        "partial_rotary_factor": 0.75,
        "rope_scaling": {"long_factor": [1.0 + i for i in range(48)], "short_factor": [1.0] * 48, "type": "longrope"},
        "sliding_window": 262144,
        "tie_word_embeddings": True,
        "vocab_size": 200064,
    },
    "gemma-2b": {
        "attention_bias": False,
        "attention_dropout": 0.0,
        "head_dim": 256,
        "hidden_act": "gelu",
        "hidden_activation": None,
        "hidden_size": 2048,
        "intermediate_size": 16384,
        "max_position_embeddings": 8192,
        "model_type": "gemma",
        "num_attention_heads": 8,
        "num_hidden_layers": 18,
        "num_key_value_heads": 1,
        "rms_norm_eps": 1e-06,
        "rope_scaling": None,
        "rope_theta": 10000.0,
        "vocab_size": 256000,
    },
    "gemma-2-2b": {
        "attention_bias": False,
        "attn_logit_softcapping": 50.0,
        "cache_implementation": "hybrid",
        "final_logit_softcapping": 30.0,
        "head_dim": 256,
        "hidden_act": "gelu_pytorch_tanh",
        "hidden_activation": "gelu_pytorch_tanh",
        "hidden_size": 2304,
        "intermediate_size": 9216,
        "max_position_embeddings": 8192,
        "model_type": "gemma2",
        "num_attention_heads": 8,
        "num_hidden_layers": 26,
        "num_key_value_heads": 4,
        "query_pre_attn_scalar": 256,
        "rms_norm_eps": 1e-06,
        "rope_theta": 10000.0,
        "sliding_window": 4096,
        "vocab_size": 256000,
    },
    "gemma-2-27b": {
        "_attn_implementation": "eager",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "attn_logit_softcapping": 50.0,
        "cache_implementation": "hybrid",
        "final_logit_softcapping": 30.0,
        "head_dim": 128,
        "hidden_act": "gelu_pytorch_tanh",
        "hidden_activation": "gelu_pytorch_tanh",
        "hidden_size": 4608,
        "intermediate_size": 36864,
        "max_position_embeddings": 8192,
        "model_type": "gemma2",
        "num_attention_heads": 32,
        "num_hidden_layers": 46,
        "num_key_value_heads": 16,
        "query_pre_attn_scalar": 144,
        "rms_norm_eps": 1e-06,
        "rope_theta": 10000.0,
        "sliding_window": 4096,
        "sliding_window_size": 4096,
        "vocab_size": 256000,
    },
    "gemma-3-1b": {
        "attention_bias": False,
        "attn_logit_softcapping": None,
        "cache_implementation": "hybrid",
        "final_logit_softcapping": None,
        "head_dim": 256,
        "hidden_activation": "gelu_pytorch_tanh",
        "hidden_size": 1152,
        "intermediate_size": 6912,
        "max_position_embeddings": 32768,
        "model_type": "gemma3_text",
        "num_attention_heads": 4,
        "num_hidden_layers": 26,
        "num_key_value_heads": 1,
        "query_pre_attn_scalar": 256,
        "rms_norm_eps": 1e-06,
        "rope_local_base_freq": 10000,
        "rope_scaling": None,
        "rope_theta": 1000000,
        "sliding_window": 512,
        "sliding_window_pattern": 6,
        "vocab_size": 262144,
    },
    "gemma 3 with a stretched context": {
        "hidden_size": 2560,
        "model_type": "gemma3_text",
        "num_hidden_layers": 34,
        "rope_local_base_freq": 5000,
        "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
        "rope_theta": 2000000,
        "sliding_window": 1024,
    },
    "OLMo-7B": {
        "attention_bias": False,
        "attention_dropout": 0.0,
        "clip_qkv": None,
        "hidden_act": "silu",
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "max_position_embeddings": 2048,
        "model_type": "olmo",
        "num_attention_heads": 32,
        "num_hidden_layers": 32,
        "num_key_value_heads": 32,
        "pretraining_tp": 1,
        "rope_scaling": None,
        "rope_theta": 10000.0,
        "vocab_size": 50304,
    },
    "OLMo-2-7B": {
        "attention_bias": False,
        "hidden_size": 4096,
        "max_position_embeddings": 4096,
        "model_type": "olmo2",
        "num_attention_heads": 32,
        "num_hidden_layers": 32,
        "num_key_value_heads": 32,
        "rms_norm_eps": 1e-06,
        "rope_scaling": None,
        "rope_theta": 500000,
        "vocab_size": 100352,
    },
    "gpt-neox-20b": {
        "attention_probs_dropout_prob": 0,
        "hidden_act": "gelu_fast",
        "hidden_dropout_prob": 0,
        "hidden_size": 6144,
        "intermediate_size": 24576,
        "layer_norm_eps": 1e-05,
        "max_position_embeddings": 2048,
        "model_type": "gpt_neox",
        "num_attention_heads": 64,
        "num_hidden_layers": 44,
        "rotary_emb_base": 10000,
        "rotary_pct": 0.25,
        "vocab_size": 50432,
    },
    "pythia-410m": {
        "hidden_act": "gelu",
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "layer_norm_eps": 1e-05,
        "max_position_embeddings": 2048,
        "model_type": "gpt_neox",
        "num_attention_heads": 16,
        "num_hidden_layers": 24,
        "rotary_emb_base": 50000,
        "rotary_pct": 0.25,
        "use_parallel_residual": True,
        "vocab_size": 50304,
    },
    "distilgpt2": {
        "_num_labels": 1,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-05,
        "model_type": "gpt2",
        "n_embd": 768,
        "n_head": 12,
        "n_layer": 6,
        "n_positions": 1024,
        "output_past": True,
        "vocab_size": 50257,
    },
    "gpt2-medium": {
        "activation_function": "gelu_new",
        "attn_pdrop": 0.1,
        "embd_pdrop": 0.1,
        "layer_norm_epsilon": 1e-05,
        "model_type": "gpt2",
        "n_ctx": 1024,
        "n_embd": 1024,
        "n_head": 16,
        "n_layer": 24,
        "n_positions": 1024,
        "n_special": 0,
        "predict_special_tokens": True,
        "resid_pdrop": 0.1,
        "summary_activation": None,
        "summary_first_dropout": 0.1,
        "summary_proj_to_labels": True,
        "summary_type": "cls_index",
        "summary_use_proj": True,
        "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}},
        "vocab_size": 50257,
    },
}


def read(tmp_path, fields: dict[str, Any]) -> DecoderConfig:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(fields))
    config = read_config(path)[1]
    assert isinstance(config, DecoderConfig)
    return config


def as_saved_now(config: transformers.PreTrainedConfig) -> dict[str, Any]:
    """What today's transformers writes for it, every default included."""
    return json.loads(config.to_json_string(use_diff=False))


def test_every_language_family_is_tested():
    assert {name for name, family in FAMILIES.items() if family.tokenizer is not None} >= CLASSES.keys()


@pytest.mark.parametrize("kind", CLASSES)
def test_an_empty_config_is_the_default_of_transformers(kind, tmp_path):
    theirs = as_saved_now(CLASSES[kind]())
    assert read(tmp_path, {"model_type": kind}) == read(tmp_path, theirs)


@pytest.mark.parametrize("kind", CLASSES)
def test_every_field_that_transformers_has_is_known(kind, tmp_path):
    # read_config raises on any it does not know, and the values say that they were read
    sizes = {"hidden_size": 480, "num_attention_heads": 6, "num_hidden_layers": 5}
    if hasattr(CLASSES[kind](), "num_key_value_heads"):
        sizes["num_key_value_heads"] = 3
    config = read(tmp_path, as_saved_now(CLASSES[kind](**sizes)))
    assert (config.width, config.heads, config.depth) == (480, 6, 5)


@pytest.mark.parametrize("name", PUBLISHED)
def test_old_configs_say_what_transformers_reads_in_them(name, tmp_path):
    fields = PUBLISHED[name]
    theirs = as_saved_now(CLASSES[fields["model_type"]].from_dict(dict(fields)))
    ours = read(tmp_path, fields)
    assert "rope_scaling" not in theirs
    assert ours == read(tmp_path, theirs)
    assert ours.width == fields.get("hidden_size", fields.get("n_embd", fields.get("n_embed")))
    assert ours.depth == fields.get("num_hidden_layers", fields.get("n_layer"))
    assert hash(ours) == hash(dataclasses.replace(ours))


def test_what_matters_is_read(tmp_path):
    """Against values worked out by hand, where a reader and transformers could forget the same field."""
    assert read(tmp_path, PUBLISHED["SmolLM2-1.7B"]).rotary == Rotary(130_000.0)
    assert not any(read(tmp_path, PUBLISHED["Mistral-7B-v0.2"]).sliding)
    assert read(tmp_path, PUBLISHED["Qwen2 with windows"]).sliding == (False, False, False, True, True)
    assert read(tmp_path, PUBLISHED["gemma-2-2b"]).sliding == (True, False) * 13
    # which the models were trained with, whatever their first configs say
    assert read(tmp_path, PUBLISHED["gemma-2b"]).nonlinearity == "gelu_pytorch_tanh"
    gemma = read(tmp_path, PUBLISHED["gemma-3-1b"])
    assert gemma.sliding == (*(True,) * 5, False) * 4 + (True, True)
    assert (gemma.rotary, gemma.local_rotary) == (Rotary(1e6), Rotary(1e4))
    stretched = read(tmp_path, PUBLISHED["gemma 3 with a stretched context"])
    assert (stretched.rotary, stretched.local_rotary) == (Rotary(2e6, "linear", 8.0), Rotary(5e3))
    bloom = read(tmp_path, PUBLISHED["bloom-560m"])
    assert (bloom.heads, bloom.inner, bloom.length) == (16, 4096, 2048)
    assert read(tmp_path, PUBLISHED["pythia-410m"]).rotary == Rotary(50_000.0, share=0.25)
    long = read(tmp_path, PUBLISHED["Phi-3-mini-128k"]).rotary
    # sqrt(1 + ln(131072 / 4096) / ln(4096)) = sqrt(1 + 5 / 12)
    assert long is not None and long.gain == pytest.approx((17 / 12) ** 0.5)
    # what its first version called itself, which today's transformers no longer takes
    first = {**PUBLISHED["Phi-3-mini-128k"]["rope_scaling"], "type": "su"}
    assert read(tmp_path, {**PUBLISHED["Phi-3-mini-128k"], "rope_scaling": first}).rotary == long
    yarn = read(tmp_path, PUBLISHED["Qwen2.5-7B-Instruct with yarn"]).rotary
    # 0.1 ln 4 + 1
    assert yarn is not None and yarn.gain == pytest.approx(1.1386294)


LINEAR = {"type": "linear", "factor": 2.0}
LONG = {"type": "longrope", "long_factor": [2.0] * 48, "short_factor": [1.0] * 48}

REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "an unknown field": ("gpt2", {"per_layer_config": {}}, "per_layer_config"),
    "an unknown nonlinearity": ("mistral", {"hidden_act": "mish"}, "hidden_act 'mish' is not known"),
    "heads of a llama": ("llama", {"num_attention_heads": 3}, "hidden_size 4096 does not divide by .* 3"),
    "heads of a gpt2": ("gpt2", {"n_head": 7}, "hidden_size 768 does not divide by .* 7"),
    "heads of a bloom": ("bloom", {"n_head": 7}, "hidden_size 64 does not divide by .* 7"),
    "heads of a pythia": ("gpt_neox", {"num_attention_heads": 7}, "hidden_size 6144 does not divide by .* 7"),
    "groups": ("llama", {"num_key_value_heads": 5}, "num_attention_heads 32 does not divide by num_key_value_heads 5"),
    "an odd head": ("llama", {"head_dim": 7}, "heads are 7 wide and 7 of their units rotate"),
    "half a pair": ("gpt_neox", {"rotary_pct": 0.27}, "heads are 96 wide and 25 of their units rotate"),
    "no pair": ("gpt_neox", {"rotary_pct": 0.01}, "0 of their units rotate"),
    "more than a head": ("gpt_neox", {"rotary_pct": 1.5}, "partial_rotary_factor is 1.5"),
    "a rope of another family": (
        "llama",
        {"rope_scaling": LONG},
        "type 'longrope' is not known; known are: default, dynamic, linear, llama3, yarn",
    ),
    "a rope of another family, transformers 5": (
        "llama",
        {"rope_parameters": {"rope_type": "longrope", "rope_theta": 1.0}},
        "rope_type 'longrope' is not known; known are: default, dynamic, linear, llama3, yarn",
    ),
    "a rope that phi3 has not": ("phi3", {"rope_scaling": LINEAR}, "type 'linear' is not known"),
    "a rope without its factor": ("llama", {"rope_scaling": {"type": "linear"}}, "has no field 'factor'"),
    "a yarn without its factor": ("qwen2", {"rope_scaling": {"type": "yarn"}}, "has no field 'factor'"),
    "a rope with a field too many": (
        "llama",
        {"rope_scaling": {**LINEAR, "beta_fast": 1}},
        "has fields .*ignore_fields=rope_scaling.beta_fast",
    ),
    "two ropes": (
        "llama",
        {"rope_scaling": LINEAR, "rope_parameters": {"rope_type": "default"}},
        "both 'rope_parameters' and 'rope_scaling'",
    ),
    "two ropes of a gemma": (
        "gemma3_text",
        {"rope_scaling": LINEAR, "rope_parameters": {"full_attention": {"rope_type": "default"}}},
        "both 'rope_parameters' and 'rope_scaling'",
    ),
    "one rope for both kinds of blocks": (
        "gemma3_text",
        {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}},
        "'rope_parameters' has fields .*: rope_theta, rope_type",
    ),
    "llama3 upside down": (
        "llama",
        {"rope_scaling": {"type": "llama3", "factor": 2.0, "low_freq_factor": 4.0, "high_freq_factor": 1.0}},
        "low_freq_factor 4.0 must be below high_freq_factor 1.0",
    ),
    "yarn upside down": (
        "qwen2",
        {"rope_scaling": {"type": "yarn", "factor": 2.0, "beta_fast": 1, "beta_slow": 2}},
        "beta_fast 1.0 must not be below beta_slow 2.0",
    ),
    "too few factors": ("phi3", {"rope_scaling": {**LONG, "long_factor": [2.0] * 3}}, "'long_factor' has 3 .* 48"),
    "factors that are none": ("phi3", {"rope_scaling": {**LONG, "short_factor": ["a"] * 48}}, "'short_factor' is"),
    "interleaved rope": ("llama", {"rope_interleaved": True}, "'rope_interleaved' is True"),
    "partial rope": ("llama", {"partial_rotary_factor": 0.5}, "'partial_rotary_factor' is 0.5"),
    "partial rope of transformers 5": (
        "llama",
        {"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}},
        "'partial_rotary_factor' is 0.5",
    ),
    "positions of pictures": ("qwen2", {"use_mrope": True}, "'use_mrope' is True"),
    "windows without a width": (
        "qwen2",
        {"num_hidden_layers": 2, "layer_types": ["full_attention", "sliding_attention"]},
        "'layer_types' has sliding blocks, but",
    ),
    "too few layer types": ("qwen3", {"layer_types": ["full_attention"]}, "'layer_types' has 1 entries; expected 32"),
    "an unknown layer type": (
        "qwen3",
        {"layer_types": ["full_attention", "linear_attention"]},
        "layer_types 'linear_attention' is not known; known are: full_attention, sliding_attention",
    ),
    "no window": ("gemma2", {"sliding_window": None}, "'sliding_window' is None"),
    "attention both ways": ("gemma2", {"use_bidirectional_attention": True}, "under one attention implementation"),
    "windows of two widths": (
        "gemma3_text",
        {"use_bidirectional_attention": True, "is_causal": False},
        "different widths",
    ),
    "another mask, whoever reads it": ("llama", {"bidirectional": True}, "has fields .*: bidirectional"),
    "a cap that the code ignores": ("gemma3_text", {"attn_logit_softcapping": 50.0}, "'attn_logit_softcapping' is 50"),
    "two functions of gemma": (
        "gemma",
        {"hidden_act": "relu", "hidden_activation": "silu"},
        "'hidden_act' is 'relu' and 'hidden_activation' is 'silu'",
    ),
    "a gemma without its text": ("gemma3", {"vision_config": {}}, "no 'text_config'"),
    "a field of the text": (
        "gemma3",
        {"text_config": {"per_layer_config": {}}},
        "'text_config' has fields .*: per_layer",
    ),
    "biases of phi3": ("phi3", {"attention_bias": True}, "'attention_bias' is True"),
    "more experts than there are": ("mixtral", {"num_experts_per_tok": 9}, "num_experts_per_tok 9 is more than .* 8"),
    "a width of bloom": ("bloom", {"n_inner": 100}, "'n_inner' is 100"),
    "two widths of bloom": ("bloom", {"n_embed": 64, "hidden_size": 32}, "'n_embed' is 64 and 'hidden_size' is 32"),
    "cross attention": ("gpt2", {"add_cross_attention": True}, "'add_cross_attention' is True"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_supported_is_refused_by_name(case, tmp_path):
    kind, fields, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        read(tmp_path, {"model_type": kind, **fields})


@pytest.mark.parametrize("kind", ["llama3", "yarn"])
def test_a_stretched_rope_without_an_original_length_takes_the_models(kind, tmp_path):
    rope = {"type": kind, "factor": 2.0}
    rope |= {"low_freq_factor": 1.0, "high_freq_factor": 4.0} if kind == "llama3" else {}
    rotary = read(tmp_path, {"model_type": "llama", "rope_scaling": rope, "max_position_embeddings": 512}).rotary
    assert rotary is not None and rotary.original_length == 512
    theirs = transformers.LlamaConfig(rope_scaling=rope, max_position_embeddings=512).rope_parameters
    assert theirs is not None and theirs["original_max_position_embeddings"] == 512
