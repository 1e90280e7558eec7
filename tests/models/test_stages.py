"""A network taken apart, stage by stage against Hugging Face's hidden states."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from tests import children
from tests.activations import tiny
from tests.language_checkpoints import write_family
from tests.models.reference import torch_layers
from vla.models import load_model
from vla.models import model as module
from vla.models.batch import Images, one_caption_per_row
from vla.models.layers import tokens_read
from vla.models.model import Chain, chain_of, enter, forward, pass_block, pool_of, static_pools
from vla.models.streaming import StreamedModel


def near(ours, theirs: np.ndarray) -> bool:
    ours = np.asarray(ours)
    return ours.shape == theirs.shape and np.linalg.norm(ours - theirs) < 1e-5 * np.linalg.norm(theirs)


@pytest.fixture(scope="module", params=["language", "vision"])
def parts(request, tmp_path_factory):
    """A streamed model, its ends, a batch, pools, and what torch has at every layer."""
    where = tmp_path_factory.mktemp(request.param) / "net"
    model, twin = getattr(tiny, request.param)(where, stream=True)
    assert isinstance(model, StreamedModel)
    if request.param == "language":
        tokens = np.array([[1, 5, 9, 4], [1, 8, 3, 3]])
        batch, pools = one_caption_per_row(tokens, np.ones((2, 4), bool), "mean", 1), ("mean",)
        states = torch_layers(twin, torch.tensor(tokens))
    else:
        pixels = np.random.default_rng(0).standard_normal((2, 3, 28, 28)).astype(np.float32)
        batch, pools = Images(pixels), ("cls", "mean")
        states = torch_layers(twin, torch.tensor(pixels))
    batch = jax.tree.map(jnp.asarray, batch)
    return model, model._weights.ends(), batch, pools, {name: np.asarray(state) for name, state in states.items()}


def pooled(states: np.ndarray, pools: tuple[str, ...]) -> np.ndarray:
    taken = {"cls": states[:, 0], "mean": states[:, 1:].mean(1) if "cls" in pools else states.mean(1)}
    return np.stack([taken[pool] for pool in pools], axis=1)


def test_every_stage_is_hugging_faces(parts):
    model, ends, batch, pools, states = parts
    hidden = enter(ends, batch)
    assert near(hidden, states["embed"])
    for number in range(3):
        hidden = pass_block(model._weights.block(number), jnp.int32(number), hidden, batch)
        assert near(hidden, states[f"block_{number + 1}"])
        assert near(pool_of(ends, batch, pools)(hidden), pooled(states[f"block_{number + 1}"], pools))
    assert near(ends.final_norm(hidden), states["final_norm"])


def test_the_whole_is_its_stages(parts):
    model, _, batch, pools, states = parts
    layers = ("embed", "block_2", "final_norm")
    read = forward(model._weights.network(), batch, pools, layers)
    assert near(read, np.stack([pooled(states[layer], pools) for layer in layers]))


def test_of_a_last_block_only_what_is_read_leaves(parts):
    model, ends, batch, pools, states = parts
    if not isinstance(batch, Images):
        assert static_pools(batch, pools) == ()
        return
    assert static_pools(batch, pools) == pools and tokens_read(pools) is None and tokens_read(("cls",)) == 1
    first = pass_block(model._weights.block(0), jnp.int32(0), enter(ends, batch), batch, 1)
    assert near(first, states["block_1"][:, :1])


RNG = np.random.default_rng(0)
PIXELS = RNG.normal(size=(3, 3, 28, 28)).astype(np.float32)
TOKENS = RNG.integers(1, 9, (3, 9)).astype(np.int32)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    where = tmp_path_factory.mktemp("chained")
    tiny.vision(where / "vision")
    # full and sliding blocks, which differ by their number
    write_family(where / "language", "gemma3_text")
    return where


def both(folder, monkeypatch, batch, **options) -> tuple[np.ndarray, np.ndarray]:
    """As one program, and as a chain."""
    scanned = load_model(folder)
    assert scanned._chain is None
    with monkeypatch.context() as patch:
        patch.setattr(module, "_LEAST_BLOCK_BYTES", 0)
        chained = load_model(folder)
        assert chained._chain is not None
    return tuple(np.asarray(model.readouts(batch, **options)) for model in (scanned, chained))


@pytest.mark.parametrize(
    "kind, pool, some",
    [
        ("vision", "cls", slice(None)),
        ("vision", "cls", slice(1, 3)),
        ("vision", "mean", slice(0, 1)),
        ("language", "mean", slice(None)),
        ("language", "last", slice(0, 3, 2)),
    ],
)
def test_a_chain_is_a_scan(folders, kind, pool, some, monkeypatch):
    layers = load_model(folders / kind, weights=False).layer_names[some]
    batch = PIXELS if kind == "vision" else TOKENS
    scanned, chained = both(folders / kind, monkeypatch, batch, pool=pool, layers=layers)
    assert scanned.shape == chained.shape and len(chained) == len(layers)
    assert tiny.apart(chained, scanned) < 1e-6


def test_blocks_lie_where_the_stack_lies(tmp_path, monkeypatch):
    write_family(tmp_path, "llama", hidden_size=64, intermediate_size=128)
    network = load_model(tmp_path).network
    for stack, *alone in zip(*map(jax.tree.leaves, (network.blocks, *Chain(network)._blocks)), strict=True):
        start, size = stack.unsafe_buffer_pointer(), stack.nbytes // len(stack)
        assert [leaf.unsafe_buffer_pointer() for leaf in alone] == [start + i * size for i in range(len(stack))]


def test_small_blocks_and_absent_weights_are_no_chain(folders, monkeypatch):
    network = load_model(folders / "vision").network
    assert chain_of(network) is None
    size = sum(leaf.nbytes // len(leaf) for leaf in jax.tree.leaves(network.blocks))
    monkeypatch.setattr(module, "_LEAST_BLOCK_BYTES", size)
    assert isinstance(chain_of(network), Chain)
    monkeypatch.setattr(module, "_LEAST_BLOCK_BYTES", size + 1)
    assert chain_of(network) is None
    monkeypatch.setattr(module, "_LEAST_BLOCK_BYTES", 0)
    assert chain_of(load_model(folders / "vision", weights=False).network) is None
    assert isinstance(load_model(folders / "vision", stream=True), StreamedModel)


def test_several_devices_are_no_chain(folders):
    program = """
import sys
import jax
jax.config.update("jax_num_cpu_devices", 2)
from vla.models import load_model, model
model._LEAST_BLOCK_BYTES = 0
assert load_model(sys.argv[1])._chain is None
"""
    children.run(program, folders / "vision")
