"""The decoder against Hugging Face on torch: every token of every layer."""

import dataclasses
import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.nnx as nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from tests.checkpoints import WORDS, edit_config, write_language
from tests.models.language_reference import bare_layers, decoder_layers
from tests.models.reference import TOLERANCE, distance, torch_layers, worst
from vla.models import Model, decoder, load_model
from vla.models.batch import padded_mask
from vla.models.decoder import Decoder
from vla.models.network_config import DecoderConfig, Rotary

LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 100.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "grouped heads": ("llama", {}),
    "one head per group": ("llama", {"num_key_value_heads": 4}),
    "one group": ("llama", {"num_key_value_heads": 1}),
    "tied": ("llama", {"tie_word_embeddings": True}),
    "base layout": ("llama_base", {}),
    "biases": ("llama", {"attention_bias": True, "mlp_bias": True}),
    "heads wider than their share": ("llama", {"head_dim": 10}),
    "theta": ("llama", {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}}),
    "linear": ("llama", {"rope_parameters": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 3.0}}),
    "llama3": ("llama", {"rope_parameters": LLAMA3, "head_dim": 12}),
    "gelu": ("llama", {"hidden_act": "gelu"}),
    "several shards": ("llama", {"shard": "10KB"}),
    "large epsilon": ("llama", {"rms_norm_eps": 1e-2}),
    "nearly not stretched": ("llama", {"rope_parameters": {"rope_type": "linear", "factor": 1.01}}),
    "float16 file": ("llama", {"dtype": torch.float16}),
    "bfloat16 file": ("llama", {"dtype": torch.bfloat16}),
}


def tokens_of(length: int = 40, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, len(WORDS) + 3, size=(2, length)).astype(np.int32)


def theirs_of(reference: torch.nn.Module, tokens: np.ndarray) -> dict[str, np.ndarray]:
    return torch_layers(reference, torch.from_numpy(tokens).long())


@pytest.fixture(scope="module")
def read_case(tmp_path_factory) -> Callable[[str], tuple[Path, Model, dict[str, np.ndarray]]]:
    """Folder and model of a case, and every layer of Hugging Face's, each made once. Tests do not change the model."""

    @functools.cache
    def read(case: str) -> tuple[Path, Model, dict[str, np.ndarray]]:
        kind, changes = CASES[case]
        folder = tmp_path_factory.mktemp("case")
        reference = write_language(folder, kind, **changes)
        return folder, load_model(folder), theirs_of(reference, tokens_of())

    return read


@pytest.mark.parametrize("case", CASES)
def test_every_token_of_every_layer_is_hugging_faces(case, read_case):
    folder, model, theirs = read_case(case)
    if case == "several shards":
        assert len(list(folder.glob("model-*-of-*.safetensors"))) > 2
    assert tuple(theirs) == model.layer_names
    assert worst(decoder_layers(model, tokens_of()), theirs) < TOLERANCE


@pytest.mark.parametrize("key", ["type", "rope_type"])
@pytest.mark.parametrize("kind", ["linear", "llama3"])
def test_rope_as_transformers_4_wrote_it_is_the_same(key, kind, tmp_path):
    rope = LLAMA3 if kind == "llama3" else {"rope_type": "linear", "rope_theta": 100.0, "factor": 3.0}
    write_language(tmp_path, rope_parameters=rope)
    config = load_model(tmp_path, weights=False).network.config
    assert config.rotary.scaling == kind
    legacy = {name: value for name, value in rope.items() if name not in ("rope_theta", "rope_type")}
    edit_config(tmp_path, rope_parameters=..., rope_theta=100.0, rope_scaling={key: kind, **legacy})
    assert load_model(tmp_path, weights=False).network.config == config


def with_config(model, **changes) -> Decoder:
    """The same weights under another config."""
    config = dataclasses.replace(model.network.config, **changes)
    graph, _ = nnx.split(jax.eval_shape(lambda: Decoder(config, rngs=nnx.Rngs(0))))
    return nnx.merge(graph, nnx.split(model.network)[1])


LLAMA3_ROTARY = Rotary(100.0, "llama3", 8.0, 1.0, 4.0, 16)

# What the checkpoint is, and one thing that the config says wrongly about it.
WRONG_CONFIGS = {
    "theta": ("grouped heads", {"rotary": Rotary(10_500.0)}),
    "llama3 dropped": ("llama3", {"rotary": Rotary(100.0)}),
    "llama3 as linear": ("llama3", {"rotary": Rotary(100.0, "linear", 8.0)}),
    "llama3 of another length": ("llama3", {"rotary": dataclasses.replace(LLAMA3_ROTARY, original_length=17)}),
    "llama3 with another high factor": (
        "llama3",
        {"rotary": dataclasses.replace(LLAMA3_ROTARY, high_frequency_factor=4.1)},
    ),
    "linear dropped": ("nearly not stretched", {"rotary": Rotary()}),
    "epsilon": ("large epsilon", {"norm_epsilon": 1e-6}),
    "gelu for silu": ("grouped heads", {"nonlinearity": "gelu"}),
    "tanh gelu": ("gelu", {"nonlinearity": "gelu_new"}),
}


@pytest.mark.parametrize("case", WRONG_CONFIGS)
def test_a_wrong_config_is_seen(case, read_case):
    right, wrong = WRONG_CONFIGS[case]
    _, model, theirs = read_case(right)
    assert worst(bare_layers(with_config(model, **wrong), model.layer_names, tokens_of()), theirs) > 10 * TOLERANCE


def neighbours(x, turns):
    """Rotary embedding with pairs of neighbouring units, as the paper has it and the checkpoints have not."""
    cos, sin = (part[:, :, None] for part in turns)
    even, odd = x[..., ::2], x[..., 1::2]
    return jnp.stack([even * cos - odd * sin, odd * cos + even * sin], -1).reshape(x.shape)


def interleaved_groups(query, key, value, allowed, **options):
    """Query head h reads key-value head h % K in place of h // G."""
    B, T, H, C = query.shape
    K = key.shape[2]
    order = np.arange(H).reshape(H // K, K).T.ravel()
    mixed = right_attend(query[:, :, order], key, value, allowed, **options).reshape(B, T, H, C)
    return mixed[:, :, np.argsort(order)].reshape(B, T, H * C)


right_attend = decoder.attend_in_parts


@pytest.mark.parametrize("name, wrong", [("rotate", neighbours), ("attend_in_parts", interleaved_groups)])
def test_a_wrong_layout_is_seen(name, wrong, tmp_path, monkeypatch):
    reference = write_language(tmp_path)
    model = load_model(tmp_path)
    tokens = tokens_of()
    monkeypatch.setattr(decoder, name, wrong)
    assert worst(decoder_layers(model, tokens), theirs_of(reference, tokens)) > 10 * TOLERANCE


def test_permuted_key_value_heads_are_seen(tmp_path):
    reference = write_language(tmp_path)
    model = load_model(tmp_path)
    tokens = tokens_of()
    for leaf in (model.network.blocks.attention.key.weight, model.network.blocks.attention.value.weight):
        leaf.set_value(leaf[...].reshape(3, 2, 6, 24)[:, ::-1].reshape(3, 12, 24))
    assert worst(decoder_layers(model, tokens), theirs_of(reference, tokens)) > 10 * TOLERANCE


@pytest.mark.parametrize("bos", [True, False])
def test_pools_are_means_and_the_last_token(bos, tmp_path):
    reference = write_language(tmp_path, bos=bos)
    model = load_model(tmp_path)
    captions = ["a dog runs on the grass", "two small boats"]
    batch, mask = padded(model.preprocess(captions), "right", 9)
    read = {pool: np.asarray(model.readouts(batch, pool=pool, layers=model.layer_names, mask=mask)) for pool in POOLS}
    for row, ids in enumerate(model.preprocess(captions)):
        assert (ids[0] == 1) == bos
        theirs = theirs_of(reference, ids[None])
        for i, name in enumerate(model.layer_names):
            hidden = theirs[name][0]
            assert distance(read["mean"][i, row], hidden.mean(0)) < TOLERANCE
            assert distance(read["mean_no_bos"][i, row], hidden[1 if bos else 0 :].mean(0)) < TOLERANCE
            assert distance(read["last"][i, row], hidden[-1]) < TOLERANCE


POOLS = ("mean", "mean_no_bos", "last")


def padded(ids: list[np.ndarray], side: str, length: int, fill: int = 0) -> tuple[np.ndarray, np.ndarray]:
    batch, mask = np.full((len(ids), length), fill, np.int32), np.zeros((len(ids), length), bool)
    for row, tokens in enumerate(ids):
        place = slice(0, len(tokens)) if side == "right" else slice(length - len(tokens), length)
        batch[row, place], mask[row, place] = tokens, True
    return batch, mask


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("pool", POOLS)
def test_results_do_not_depend_on_padding_or_company(side, pool, tmp_path):
    reference = write_language(tmp_path)
    model = load_model(tmp_path)
    ids = model.preprocess(["a dog runs on the grass", "two small boats", "the old red house near the blue water"])
    # ids that no embedding has, and a row that only fills the batch: neither may reach a result
    batch, mask = padded([*ids, np.array([], np.int32)], side, 13, fill=10**6)
    read = np.asarray(model.readouts(batch, pool=pool, layers=model.layer_names, mask=mask))
    assert np.isfinite(read).all()
    for row, tokens in enumerate(ids):
        theirs = theirs_of(reference, tokens[None])
        alone = {
            "mean": lambda hidden: hidden.mean(0),
            "mean_no_bos": lambda hidden: hidden[1:].mean(0),
            "last": lambda hidden: hidden[-1],
        }[pool]
        assert all(distance(read[i, row], alone(theirs[name][0])) < TOLERANCE for i, name in enumerate(theirs))


def test_an_unknown_token_does_not_pass_for_a_known_one(tmp_path):
    write_language(tmp_path)
    model = load_model(tmp_path)
    read = model.readouts(np.array([[1, 10**6]], np.int32), pool="mean", layers=("embed",))
    assert np.isnan(read).all()


def test_bfloat16_is_near_and_reads_out_float32(tmp_path):
    reference = write_language(tmp_path)
    model = load_model(tmp_path, dtype="bfloat16")
    tokens = tokens_of()
    theirs = theirs_of(reference, tokens)
    read = model.readouts(tokens, pool="mean", layers=model.layer_names)
    assert read.dtype == jnp.float32
    assert all(leaf.dtype == jnp.bfloat16 for leaf in jax.tree.leaves(model.network))
    # eight bits of mantissa, a few roundings per block
    assert all(distance(np.asarray(read[i]), theirs[name].mean(1)) < 0.05 for i, name in enumerate(theirs))


def test_llama_7b_has_its_shapes_in_no_time():
    config = DecoderConfig(
        width=4096,
        depth=32,
        heads=32,
        kv_heads=32,
        head_width=128,
        inner=11008,
        nonlinearity="silu",
        norm_epsilon=1e-6,
        vocabulary=32000,
        length=2048,
        rotary=Rotary(),
        attention_bias=False,
        feed_forward_bias=False,
    )
    start = time.perf_counter()
    network = jax.eval_shape(lambda: Decoder(config, dtype=jnp.bfloat16, rngs=nnx.Rngs(0)))
    tokens = jax.ShapeDtypeStruct((8, 64), jnp.int32)
    read = jax.eval_shape(
        lambda network, tokens, mask: network(
            tokens, *padded_mask(mask), pool=lambda hidden: hidden[:, -1], layers=("block_31",)
        ),
        network,
        tokens,
        jax.ShapeDtypeStruct((8, 64), bool),
    )
    assert time.perf_counter() - start < 5
    assert read.shape == (1, 8, 4096)
    # the published number of parameters, less the head of 32000 by 4096
    assert sum(leaf.size for leaf in jax.tree.leaves(network)) == 6_738_415_616 - 32000 * 4096
