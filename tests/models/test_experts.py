"""Experts against Hugging Face's MixtralSparseMoeBlock."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from transformers import MixtralConfig
from transformers.models.mixtral.modeling_mixtral import MixtralSparseMoeBlock

from vla import devices
from vla.models import linear
from vla.models.linear import Experts

D, F = 12, 20


def both(count: int, per_token: int) -> tuple[Experts, MixtralSparseMoeBlock]:
    config = MixtralConfig(hidden_size=D, intermediate_size=F, num_local_experts=count, num_experts_per_tok=per_token)
    config._experts_implementation = "eager"
    theirs = MixtralSparseMoeBlock(config)
    rng = np.random.default_rng(0)
    router, down = rng.normal(size=(count, D)), rng.normal(size=(count, D, F))
    fused = rng.normal(size=(count, 2 * F, D))
    with torch.no_grad():
        theirs.gate.weight.copy_(torch.from_numpy(router))
        theirs.experts.gate_up_proj.copy_(torch.from_numpy(fused / D**0.5))
        theirs.experts.down_proj.copy_(torch.from_numpy(down / F**0.5))
    ours = Experts(D, F, experts=count, per_token=per_token, nonlinearity="silu", dtype=jnp.float32, rngs=nnx.Rngs(0))
    for parameter, values in (
        (ours.router.weight, router),
        (ours.gate, fused[:, :F] / D**0.5),
        (ours.up, fused[:, F:] / D**0.5),
        (ours.down, down / F**0.5),
    ):
        parameter.set_value(jnp.asarray(values, jnp.float32))
    return ours, theirs


def apart(ours: Experts, theirs: MixtralSparseMoeBlock, x: np.ndarray) -> float:
    with devices.full_precision(), torch.no_grad():
        read = np.asarray(jax.jit(lambda network, x: network(x))(ours, jnp.asarray(x)))
        expected = theirs(torch.from_numpy(x)).numpy()
    return float(np.abs(read - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("count, per_token, tile", [(5, 2, 4), (3, 3, 4), (4, 1, 4), (5, 2, 128)])
def test_a_token_goes_through_its_experts(count, per_token, tile, monkeypatch):
    monkeypatch.setattr(linear, "_TILE", tile)
    x = np.random.default_rng(1).normal(size=(2, 9, D)).astype(np.float32)
    assert apart(*both(count, per_token), x) < 1e-6


def test_tokens_that_all_want_the_same_expert(monkeypatch):
    monkeypatch.setattr(linear, "_TILE", 4)
    ours, theirs = both(5, 2)
    x = np.repeat(np.random.default_rng(1).normal(size=(1, 1, D)), 23, axis=1).astype(np.float32)
    assert apart(ours, theirs, x) < 1e-6


def test_shares_that_do_not_sum_to_one_are_seen():
    ours, theirs = both(5, 2)
    x = np.random.default_rng(1).normal(size=(2, 9, D)).astype(np.float32)
    ours.per_token = 3
    assert apart(ours, theirs, x) > 1e-2
