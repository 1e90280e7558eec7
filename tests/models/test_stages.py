"""A network taken apart, stage by stage against Hugging Face's hidden states."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from tests.activations import tiny
from tests.models.reference import torch_layers
from vla.models.batch import Images, one_per_row
from vla.models.pooling import tokens_read
from vla.models.stages import compiled_for, enter, forward, pass_block, pool_of
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
        batch, pools = one_per_row(tokens, np.ones((2, 4), bool), "mean", 1), ("mean",)
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
        assert compiled_for(batch, pools) == ()
        return
    assert compiled_for(batch, pools) == pools and tokens_read(pools) is None and tokens_read(("cls",)) == 1
    first = pass_block(model._weights.block(0), jnp.int32(0), enter(ends, batch), batch, 1)
    assert near(first, states["block_1"][:, :1])
