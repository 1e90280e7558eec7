"""Every language family against Hugging Face on torch: every token of every layer, and configs that must not pass."""

import dataclasses
import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers
from flax import nnx
from safetensors.torch import load_file, save_file

from tests.checkpoints import WORDS, edit_config, write_tokenizer
from tests.language_checkpoints import LANGUAGE, make_language, write_family
from tests.models.language_reference import bare_layers, decoder_layers, torch_decoder_layers
from tests.models.reference import TOLERANCE, distance, network_layers, worst
from vla.models import Model, load_model
from vla.models.decoder import Decoder
from vla.models.loading import read_config
from vla.models.network_config import DecoderConfig, Rotary

YARN = {"rope_type": "yarn", "rope_theta": 100.0, "factor": 4.0, "original_max_position_embeddings": 16}
LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 100.0,
    "short_factor": [1.1, 1.2, 1.3, 1.4],
    "long_factor": [1.5, 3.0, 6.0, 12.0],
}
LINEAR = {"rope_type": "linear", "rope_theta": 100.0, "factor": 3.0}
SLIDING = {"layer_types": ["full_attention", "sliding_attention", "sliding_attention"]}

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    **{kind: (kind, {}) for kind in LANGUAGE},
    "bloom, 3 heads": ("bloom", {"n_head": 3, "hidden_size": 24}),
    "bloom, 12 heads": ("bloom", {"n_head": 12, "hidden_size": 24}),
    "bloom, residual after the norm": ("bloom", {"apply_residual_connection_post_layernorm": True}),
    "bloom, no head": ("bloom", {"base": True}),
    "bloom, large epsilon": ("bloom", {"layer_norm_epsilon": 1e-2}),
    "gemma, biases": ("gemma", {"attention_bias": True, "num_key_value_heads": 1}),
    "gemma2, no cap": ("gemma2", {"attn_logit_softcapping": None}),
    "gemma2, low cap": ("gemma2", {"attn_logit_softcapping": 0.5}),
    "gemma2, biases": ("gemma2", {"attention_bias": True}),
    "gemma2, named layers": ("gemma2", SLIDING),
    "gemma2, wide heads": ("gemma2", {"head_dim": 12}),
    "gemma3_text, two ropes": (
        "gemma3_text",
        {
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "rope_theta": 500.0, "factor": 8.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 50.0},
            }
        },
    ),
    "gpt2, scaled by block": ("gpt2", {"scale_attn_by_inverse_layer_idx": True}),
    "gpt2, not scaled": ("gpt2", {"scale_attn_weights": False}),
    "gpt2, inner width": ("gpt2", {"n_inner": 36}),
    "gpt2, no head": ("gpt2", {"base": True}),
    "gpt2, upcast": ("gpt2", {"reorder_and_upcast_attn": True}),
    "gpt_neox, in sequence": ("gpt_neox", {"use_parallel_residual": False}),
    "gpt_neox, every unit turns": ("gpt_neox", {"rotary_pct": 1.0, "rotary_emb_base": 100}),
    "gpt_neox, no biases": ("gpt_neox", {"attention_bias": False}),
    "gpt_neox, fast gelu": ("gpt_neox", {"hidden_act": "gelu_fast", "base": True}),
    "gpt_neox, stretched": ("gpt_neox", {"rope_parameters": {**LINEAR, "partial_rotary_factor": 0.5}}),
    "mistral, no window": ("mistral", {"sliding_window": None}),
    "mistral, window of one": ("mistral", {"sliding_window": 1}),
    "mistral, wide heads": ("mistral", {"head_dim": 12}),
    "mixtral, window": ("mixtral", {"sliding_window": 5}),
    "mixtral, three experts": ("mixtral", {"num_experts_per_tok": 3}),
    "olmo, clipped": ("olmo", {"clip_qkv": 0.7}),
    "olmo, biases": ("olmo", {"attention_bias": True}),
    "olmo2, one group": ("olmo2", {"num_key_value_heads": 1}),
    "phi3, longrope": (
        "phi3",
        {"rope_parameters": LONGROPE, "original_max_position_embeddings": 16, "max_position_embeddings": 64},
    ),
    "phi3, partial longrope": (
        "phi3",
        {
            "rope_parameters": {
                **LONGROPE,
                "partial_rotary_factor": 0.75,
                "short_factor": [1.1, 1.2, 1.3],
                "long_factor": [1.5, 3.0, 6.0],
            },
            "original_max_position_embeddings": 16,
        },
    ),
    "phi3, longrope of one length": (
        "phi3",
        {"rope_parameters": LONGROPE, "original_max_position_embeddings": 64, "max_position_embeddings": 64},
    ),
    "phi3, window": ("phi3", {"sliding_window": 5}),
    "qwen2, windows": ("qwen2", {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1}),
    "qwen2, yarn": ("qwen2", {"rope_parameters": YARN}),
    "qwen2, yarn with all its fields": (
        "qwen2",
        {
            "rope_parameters": {
                **YARN,
                "beta_fast": 4.0,
                "beta_slow": 0.5,
                "truncate": False,
                "mscale": 0.8,
                "mscale_all_dim": 0.5,
            }
        },
    ),
    "qwen2, yarn with a gain": ("qwen2", {"rope_parameters": {**YARN, "attention_factor": 1.3}}),
    "qwen2, dynamic": ("qwen2", {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 100.0, "factor": 4.0}}),
    "qwen3, named layers": ("qwen3", {"use_sliding_window": True, "sliding_window": 5, **SLIDING}),
    "qwen3, wide heads": ("qwen3", {"head_dim": 12}),
    "qwen3, biases": ("qwen3", {"attention_bias": True}),
}

# Without the causal mask, as `is_causal` asks: one family with each kind of positions and of windows.
CASES |= {
    f"{kind}, not causal": (kind, {"is_causal": False}) for kind in ("bloom", "gemma2", "gpt2", "llama", "mistral")
}
CASES |= {
    "gemma3_text, both ways": ("gemma3_text", {"use_bidirectional_attention": True, "sliding_window": 8}),
    "qwen2, windows, not causal": (
        "qwen2",
        {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1, "is_causal": False},
    ),
}

# On both sides of every window, of longrope's switch at 16, and as long as the config allows.
LENGTHS = (64, 17, 16, 5)


def captions_of(lengths: tuple[int, ...] = LENGTHS, seed: int = 1) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, len(WORDS) + 3, size=length).astype(np.int32) for length in lengths]


def ragged(captions: list[np.ndarray], fill: int = 10**6) -> tuple[np.ndarray, np.ndarray]:
    """One batch of all captions, padded on the left and on the right in turn with an id that no table has."""
    longest = max(map(len, captions))
    tokens, mask = np.full((len(captions), longest), fill, np.int32), np.zeros((len(captions), longest), bool)
    for row, caption in enumerate(captions):
        place = slice(0, len(caption)) if row % 2 else slice(longest - len(caption), longest)
        tokens[row, place], mask[row, place] = caption, True
    return tokens, mask


Layers = list[dict[str, np.ndarray]]


def read_by_torch(reference: torch.nn.Module) -> Layers:
    """Every layer of Hugging Face's model, caption by caption."""
    return [torch_decoder_layers(reference, caption[None]) for caption in captions_of()]


def off(network: Any, theirs: Layers, names: tuple[str, ...], compiled: bool = False) -> float:
    """The largest distance over layers and captions, ours in one padded batch."""
    tokens, mask = ragged(captions_of())
    # One operation after another, experts would take their tiles one after another too.
    ours = bare_layers(network, names, tokens, mask, compiled or network.config.experts > 0)
    assert all(np.isfinite(layer).all() for layer in ours.values())
    distances = []
    for row, layers in enumerate(theirs):
        assert tuple(layers) == names
        distances.append(worst({name: layer[row, mask[row]][None] for name, layer in ours.items()}, layers))
    return max(distances)


@pytest.fixture(scope="module")
def read_case(tmp_path_factory) -> Callable[[str], tuple[Model, Layers]]:
    """Our model of a case, and every layer of Hugging Face's, each made once. Tests do not change the model."""

    @functools.cache
    def read(case: str) -> tuple[Model, Layers]:
        kind, changes = CASES[case]
        folder = tmp_path_factory.mktemp("case")
        reference = write_family(folder, kind, **changes)
        return load_model(folder), read_by_torch(reference)

    return read


@pytest.mark.parametrize("case", CASES)
def test_every_token_of_every_layer_is_hugging_faces(case, read_case):
    model, theirs = read_case(case)
    assert model.max_length is not None and model.max_length >= max(LENGTHS)
    assert off(model.network, theirs, model.layer_names, compiled=case in LANGUAGE or "heads" in case) < TOLERANCE


@pytest.mark.parametrize("kind", LANGUAGE)
def test_every_family_reads_whether_it_is_causal(kind, tmp_path):
    path = tmp_path / "config.json"
    config = make_language(kind).config.to_dict()
    for fields, causal in (({}, True), ({"is_causal": True}, True), ({"is_causal": False}, False)):
        path.write_text(json.dumps({**config, **fields}))
        decoder = read_config(path)[1]
        assert isinstance(decoder, DecoderConfig) and decoder.causal == causal


def with_config(network: Any, **changes: Any) -> Decoder:
    """The same weights under another config."""
    config = dataclasses.replace(network.config, **changes)
    graph, _ = nnx.split(jax.eval_shape(lambda: Decoder(config, rngs=nnx.Rngs(0))))
    return nnx.merge(graph, nnx.split(network)[1])


def turned(**changes: Any) -> Any:
    """A change of one attribute of the rotary embedding."""
    return lambda config: {"rotary": dataclasses.replace(config.rotary, **changes)}


# What the checkpoint is, and one thing that the config says wrongly about it.
WRONG: dict[str, tuple[str, Any]] = {
    "bloom, not causal: causal": ("bloom, not causal", {"causal": True}),
    "gpt2, not causal: causal": ("gpt2, not causal", {"causal": True}),
    "llama, not causal: causal": ("llama, not causal", {"causal": True}),
    "gemma3, both ways: causal": ("gemma3_text, both ways", {"causal": True, "window": 5}),
    "llama: not causal": ("llama", {"causal": False}),
    "mistral, not causal: one token less": ("mistral, not causal", {"window": 5}),
    "gemma3, both ways: one token more": ("gemma3_text, both ways", {"window": 5}),
    "bloom: exact gelu": ("bloom", {"nonlinearity": "gelu"}),
    "bloom: no alibi": ("bloom", {"alibi": False}),
    "bloom: epsilon": ("bloom, large epsilon", {"norm_epsilon": 1e-5}),
    "bloom: residual before the norm": ("bloom, residual after the norm", {"residual_of_norm": False}),
    "bloom: residual after the norm": ("bloom", {"residual_of_norm": True}),
    "gemma: no offset": ("gemma", {"norm": "rms_wide"}),
    "gemma: another embedding scale": ("gemma", {"embedding_scale": 32**0.5 * 1.001}),
    "gemma2: no offset": ("gemma2", {"norm": "rms_wide"}),
    "gemma2: exact gelu": ("gemma2", {"nonlinearity": "gelu"}),
    "gemma2: embeddings as they are": ("gemma2", {"embedding_scale": 1.0}),
    "gemma2: scale of the heads": ("gemma2", {"attention_scale": None}),
    "gemma2: another cap": ("gemma2, low cap", {"score_cap": 0.51}),
    "gemma2: no cap": ("gemma2", {"score_cap": None}),
    "gemma2: other blocks slide": ("gemma2", {"sliding": (False, True, False)}),
    "gemma2: one token more": ("gemma2", {"window": 7}),
    "gemma3: one rope": ("gemma3_text", {"local_rotary": None}),
    "gemma3: ropes the wrong way round": ("gemma3_text", {"rotary": Rotary(1e4), "local_rotary": Rotary(1e6)}),
    "gpt2: exact gelu": ("gpt2", {"nonlinearity": "gelu"}),
    "gpt2: scores not divided": ("gpt2, scaled by block", {"scale_by_block": False}),
    "gpt2: scores scaled": ("gpt2, not scaled", {"attention_scale": None}),
    "gpt_neox: tanh gelu": ("gpt_neox", {"nonlinearity": "gelu_new"}),
    "gpt_neox: in sequence": ("gpt_neox", {"parallel": False}),
    "gpt_neox: side by side": ("gpt_neox, in sequence", {"parallel": True}),
    "gpt_neox: every unit turns": ("gpt_neox", turned(share=1.0)),
    "mistral: no window": ("mistral", {"window": None}),
    "mistral: one token less": ("mistral", {"window": 5}),
    "mixtral: one expert": ("mixtral", {"experts_per_token": 1}),
    "mixtral: base": ("mixtral", {"rotary": Rotary(1e4)}),
    "olmo: epsilon": ("olmo", {"norm_epsilon": 1e-2}),
    "olmo: not clipped": ("olmo, clipped", {"qkv_clip": None}),
    "olmo: clipped": ("olmo", {"qkv_clip": 0.7}),
    "phi3: never long": ("phi3, longrope", turned(original_length=64)),
    "phi3: long too early": ("phi3, longrope", turned(original_length=15)),
    "phi3: long too late": ("phi3, longrope", turned(original_length=17)),
    "phi3: no gain": ("phi3, longrope", turned(gain=1.0)),
    "phi3: other units": ("phi3, partial longrope", turned(share=1.0, scaling="default")),
    "qwen2: no window": ("qwen2, windows", {"sliding": ()}),
    "qwen2: windows everywhere": ("qwen2, windows", {"sliding": (True,) * 3}),
    "qwen2: yarn as linear": ("qwen2, yarn", turned(scaling="linear")),
    "qwen2: no gain": ("qwen2, yarn", turned(gain=1.0)),
    "qwen2: whole pairs": ("qwen2, yarn with all its fields", turned(truncate=True)),
    "qwen3: epsilon": ("qwen3", {"norm_epsilon": 1e-3}),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_config_is_seen(case, read_case):
    right, wrong = WRONG[case]
    model, theirs = read_case(right)
    changed = with_config(model.network, **(wrong(model.network.config) if callable(wrong) else wrong))
    assert off(changed, theirs, model.layer_names) > 10 * TOLERANCE


def pack(captions: list[np.ndarray], length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[list[int]]]:
    """All captions in one row, the tokens of a common beginning only once: tokens, positions, reach, places."""
    tokens, positions = np.zeros((1, length), np.int32), np.zeros((1, length), np.int32)
    reach, places, made = np.zeros((1, length, length), bool), [], {}
    for caption in captions:
        path: list[int] = []
        for t, token in enumerate(caption):
            beginning = tuple(caption[: t + 1])
            if beginning not in made:
                made[beginning] = place = len(made)
                tokens[0, place], positions[0, place] = token, t
                reach[0, place, [*path, place]] = True
            path.append(made[beginning])
        places.append(path)
    return tokens, positions, reach, places


@pytest.mark.parametrize(
    "case", ["bloom", "gemma3_text", "gpt2", "gpt_neox", "mixtral", "phi3, longrope", "qwen2, windows"]
)
def test_captions_that_share_a_row_are_read_as_if_alone(case, tmp_path):
    kind, changes = CASES[case]
    reference = write_family(tmp_path, kind, **changes)
    model = load_model(tmp_path)
    beginning, *captions = captions_of((9, 5, 4, 7), seed=2)
    captions = [np.concatenate([beginning, caption]) for caption in captions] + [captions[0]]
    tokens, positions, reach, places = pack(captions, 40)
    assert reach.any(axis=(0, 2)).sum() == 9 + 5 + 4 + 7 + 5
    ours = network_layers(model.network, model.layer_names, tokens, positions, reach)
    for caption, path in zip(captions, places, strict=True):
        theirs = torch_decoder_layers(reference, caption[None])
        assert worst({name: layer[:, path] for name, layer in ours.items()}, theirs) < TOLERANCE


@pytest.mark.parametrize("kind", ["bloom", "gemma2", "gpt2", "gpt_neox", "llama", "olmo2", "qwen3"])
def test_bfloat16_is_no_further_off_than_torchs(kind, tmp_path):
    """Both from the same rounded weights, against torch in float32; wide enough that the errors are averages."""
    width = {"n_embd" if kind == "gpt2" else "hidden_size": 96}
    reference = write_family(tmp_path, kind, dtype=torch.bfloat16, **width)
    rounded = type(reference).from_pretrained(tmp_path, dtype=torch.bfloat16, attn_implementation="eager").eval()
    model = load_model(tmp_path, dtype="bfloat16")
    assert all(leaf.dtype == jnp.bfloat16 for leaf in jax.tree.leaves(model.network))
    tokens = np.stack(captions_of((40,) * 4))
    exact = torch_decoder_layers(reference, tokens)
    theirs, ours = torch_decoder_layers(rounded, tokens), decoder_layers(model, tokens)
    for name in exact:
        limit = np.linalg.norm(theirs[name] - exact[name])
        assert np.linalg.norm(ours[name] - exact[name]) <= limit, name
        # and it is not float32 under another name
        assert distance(ours[name], exact[name]) > 1e-4 or name == "embed"


def rewrite(directory: Path, change: Any) -> dict[str, torch.Tensor]:
    """Save the weights again as `change` leaves them."""
    path = directory / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    return tensors


def test_mixtral_as_published_and_as_transformers_5_holds_it_are_the_same(tmp_path):
    reference = write_family(tmp_path, "mixtral")
    theirs = read_by_torch(reference)
    names = {name: weight.detach() for name, weight in reference.named_parameters()}
    published, fused = {}, {}
    for name, weight in names.items():
        fused[name] = weight.clone()
        short = name.replace(".mlp.", ".block_sparse_moe.")
        if name.endswith("gate_up_proj"):
            for e, expert in enumerate(weight):
                gate, up = expert.chunk(2)
                start = f"{short.removesuffix('.gate_up_proj')}.{e}"
                published |= {f"{start}.w1.weight": gate.contiguous(), f"{start}.w3.weight": up.contiguous()}
        elif name.endswith("down_proj"):
            start = short.removesuffix(".down_proj")
            published |= {f"{start}.{e}.w2.weight": expert.contiguous() for e, expert in enumerate(weight)}
        else:
            published[short] = weight.clone()
    networks = []
    for tensors in (published, fused):
        save_file(tensors, tmp_path / "model.safetensors")
        model = load_model(tmp_path)
        networks.append(model.network)
        assert off(model.network, theirs, model.layer_names) < TOLERANCE
    same = jax.tree.map(lambda a, b: bool((a == b).all()), *networks)
    assert all(jax.tree.leaves(same))


@pytest.mark.parametrize("layout", ["published", "transformers 5", "no head"])
def test_the_text_model_of_a_gemma_that_sees_is_read_alone(layout, tmp_path):
    text = make_language("gemma3_text")
    vision = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    vision |= {"image_size": 28, "patch_size": 14}
    config = transformers.Gemma3Config(text_config=text.config.to_dict(), vision_config=vision, mm_tokens_per_image=4)
    whole = transformers.Gemma3ForConditionalGeneration(config)
    whole.model.language_model.load_state_dict(text.model.state_dict())
    write_tokenizer(tmp_path)
    (whole.model if layout == "no head" else whole).save_pretrained(tmp_path)
    if layout == "transformers 5":
        in_memory = {name: weight.detach().clone() for name, weight in whole.named_parameters()}
        assert any(name.startswith("model.language_model.") for name in in_memory)
        save_file(in_memory, tmp_path / "model.safetensors")
    model = load_model(tmp_path)
    assert off(model.network, read_by_torch(text), model.layer_names) < TOLERANCE


# Buffers that old versions of transformers saved beside the weights, and heads of other tasks.
NEEDLESS = {
    "bloom": ("score.weight",),
    "gpt2": ("h.0.attn.bias", "h.2.attn.masked_bias", "lm_head.weight"),
    "gpt_neox": (
        "gpt_neox.layers.0.attention.bias",
        "gpt_neox.layers.1.attention.masked_bias",
        "gpt_neox.layers.2.attention.rotary_emb.inv_freq",
        "embed_out.weight",
    ),
    "mistral": ("model.layers.1.self_attn.rotary_emb.inv_freq", "lm_head.weight"),
}


@pytest.mark.parametrize("kind", NEEDLESS)
def test_needless_tensors_are_known_by_name(kind, tmp_path):
    write_family(tmp_path, kind, base=kind == "gpt2")
    rewrite(tmp_path, lambda tensors: tensors.update({name: torch.zeros(2) for name in NEEDLESS[kind]}))
    load_model(tmp_path)
    unknown = NEEDLESS[kind][0].replace("0.", "77.").replace("1.", "77.") + "x"
    rewrite(tmp_path, lambda tensors: tensors.update({unknown: torch.zeros(2)}))
    with pytest.raises(ValueError, match=f"unknown: {unknown}"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    "kind, changes, message",
    [
        ("phi3", {"num_key_value_heads": 4}, r"qkv_proj.weight is \[64, 32\] .*, expected \[96, 32\]"),
        ("bloom", {"hidden_size": 48}, r"query_key_value.weight is \[96, 32\] .*, expected \[144, 48\]"),
        ("gpt2", {"n_inner": 30}, r"mlp.c_fc.weight is \[32, 128\] .*, expected \[32, 30\]"),
        ("gpt2", {"n_positions": 65}, r"wpe.weight is \[64, 32\] .*, expected \[65, 32\]"),
        ("mixtral", {"num_local_experts": 6}, r"missing: model.layers.0.block_sparse_moe.experts.5.w1.weight"),
        ("qwen3", {"head_dim": 6}, r"q_norm.weight is \[8\] .*, expected \[6\]"),
    ],
)
def test_a_config_of_other_weights_is_refused(kind, changes, message, tmp_path):
    write_family(tmp_path, kind)
    edit_config(tmp_path, **changes)
    with pytest.raises(ValueError, match=message):
        load_model(tmp_path)


@pytest.mark.parametrize("kind, limit", [("gpt2", 64), ("mistral", 64), ("bloom", 2048)])
def test_longer_than_the_model_reads_is_refused(kind, limit, tmp_path):
    write_family(tmp_path, kind)
    model = load_model(tmp_path)
    assert model.max_length == limit
    with pytest.raises(ValueError, match=f"the model reads {limit} at most"):
        model.preprocess([" ".join(["dog"] * limit)])  # and the token that opens a caption
