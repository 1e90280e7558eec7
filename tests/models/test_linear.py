"""Linear maps and norms against torch."""

import flax.nnx as nnx
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from transformers.activations import ACT2FN
from transformers.models.gemma2.modeling_gemma2 import Gemma2RMSNorm
from transformers.models.llama.modeling_llama import LlamaRMSNorm
from transformers.models.olmo.modeling_olmo import OlmoLayerNorm
from transformers.models.olmo2.modeling_olmo2 import Olmo2RMSNorm

from vla.models.linear import NONLINEARITIES, NORMS, FeedForward, LayerNorm, Linear, RMSNorm

DTYPES = {"float32": (jnp.float32, torch.float32, 1e-6), "bfloat16": (jnp.bfloat16, torch.bfloat16, 1e-2)}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ours, theirs", [(LayerNorm, torch.nn.LayerNorm), (RMSNorm, LlamaRMSNorm)])
def test_norms_are_torchs_also_far_from_zero(ours, theirs, dtype):
    jax_dtype, torch_dtype, tolerance = DTYPES[dtype]
    rng = np.random.default_rng(0)
    # a mean a hundred times the deviation, as some tokens of large models have it
    x = (rng.normal(size=(4, 32)) + 100).astype(np.float32)
    scale = rng.uniform(0.5, 1.5, 32).astype(np.float32)
    norm = ours(32, epsilon=1e-3, dtype=jax_dtype)
    norm.scale.set_value(jnp.asarray(scale, jax_dtype))
    reference = theirs(32, eps=1e-3).to(torch_dtype)
    with torch.no_grad():
        reference.weight.copy_(torch.from_numpy(scale))
        expected = reference(torch.from_numpy(x).to(torch_dtype)).float().numpy()
    got = norm(jnp.asarray(x, jax_dtype))
    assert got.dtype == jax_dtype
    # float32 knows 100 + x to 4e-6 of the deviation
    bound = max(tolerance, 1e-5 if ours is LayerNorm else 0)
    assert np.abs(np.asarray(got, np.float32) - expected).max() <= bound * np.abs(expected).max()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "name, make", [("rms_wide", Olmo2RMSNorm), ("rms_wide_offset", Gemma2RMSNorm), ("layer_unlearned", OlmoLayerNorm)]
)
def test_norms_of_a_family_are_its_own_to_the_last_bit_of_bfloat16(name, make, dtype):
    jax_dtype, torch_dtype, _ = DTYPES[dtype]
    rng = np.random.default_rng(0)
    x, scale = rng.normal(size=(64, 32)).astype(np.float32), rng.uniform(-0.5, 1.5, 32).astype(np.float32)
    norm = NORMS[name](32, epsilon=1e-5, dtype=jax_dtype)
    reference = make(32) if name == "layer_unlearned" else make(32, eps=1e-5)
    if norm.scale is not None:
        norm.scale.set_value(jnp.asarray(scale, jax_dtype))
        with torch.no_grad():
            reference.weight.copy_(torch.from_numpy(scale))
        reference = reference.to(torch_dtype)
    with torch.no_grad():
        expected = reference(torch.from_numpy(x).to(torch_dtype)).float().numpy()
    got = np.asarray(norm(jnp.asarray(x, jax_dtype)), np.float32)
    if dtype == "float32":
        assert np.abs(got - expected).max() < 2e-6
    else:
        # a norm that scales before or after rounding differs in a tenth of all units
        assert (got != expected).mean() < 0.005


def test_a_bias_is_added_before_rounding():
    """As torch adds it; 256 and 258 are neighbours in bfloat16."""
    linear = Linear(2, 1, bias=True, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    linear.weight.set_value(jnp.array([[1.0, 1.0]], jnp.bfloat16))
    linear.bias.set_value(jnp.array([0.5], jnp.bfloat16))
    x = [[256.0, 0.75]]
    with torch.no_grad():
        reference = torch.nn.functional.linear(
            torch.tensor(x).bfloat16(), torch.ones(1, 2).bfloat16(), torch.tensor([0.5]).bfloat16()
        )
    assert reference.item() == 258
    assert linear(jnp.array(x, jnp.bfloat16)).item() == 258


def test_linear_applies_weights_as_checkpoints_store_them():
    linear = Linear(3, 2, bias=True, dtype=jnp.float32, rngs=nnx.Rngs(0))
    linear.weight.set_value(jnp.array([[1.0, 2.0, 3.0], [0.0, -1.0, 4.0]]))
    linear.bias.set_value(jnp.array([10.0, 20.0]))
    assert np.array_equal(linear(jnp.array([[1.0, 1.0, 2.0]])), [[19.0, 27.0]])


def test_a_gated_network_multiplies_the_gate_into_the_way_up():
    network = FeedForward(1, 2, nonlinearity="relu", gated=True, bias=False, dtype=jnp.float32, rngs=nnx.Rngs(0))
    network.gate.weight.set_value(jnp.array([[2.0], [-1.0]]))
    network.up.weight.set_value(jnp.array([[3.0], [5.0]]))
    network.down.weight.set_value(jnp.array([[1.0, 1.0]]))
    assert np.array_equal(network(jnp.array([[1.0], [-2.0]])), [[6.0], [-20.0]])


@pytest.mark.parametrize("name", NONLINEARITIES)
def test_a_name_means_what_it_means_to_hugging_face(name):
    x = np.linspace(-6, 6, 601, dtype=np.float32)
    theirs = ACT2FN[name](torch.from_numpy(x)).numpy()
    assert np.abs(np.asarray(NONLINEARITIES[name](jnp.asarray(x))) - theirs).max() < 2e-6
