"""A chain of calls gives what one program gives, from the same memory."""

import subprocess
import sys

import jax
import numpy as np
import pytest

from tests.activations import tiny
from tests.language_checkpoints import write_family
from vla.models import block_calls, load_model
from vla.models.block_calls import Chain, chain_of
from vla.models.streaming import StreamedModel

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
        patch.setattr(block_calls, "_WORTHWHILE", 0)
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
    monkeypatch.setattr(block_calls, "_WORTHWHILE", size)
    assert isinstance(chain_of(network), Chain)
    monkeypatch.setattr(block_calls, "_WORTHWHILE", size + 1)
    assert chain_of(network) is None
    monkeypatch.setattr(block_calls, "_WORTHWHILE", 0)
    assert chain_of(load_model(folders / "vision", weights=False).network) is None
    assert isinstance(load_model(folders / "vision", stream=True), StreamedModel)


def test_several_devices_are_no_chain(folders):
    program = """
import sys
import jax
jax.config.update("jax_num_cpu_devices", 2)
from vla.models import block_calls, load_model
block_calls._WORTHWHILE = 0
assert load_model(sys.argv[1])._chain is None
"""
    done = subprocess.run([sys.executable, "-c", program, folders / "vision"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
