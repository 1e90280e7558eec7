"""Rotary frequencies and rotation against Hugging Face's LLaMA."""

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from transformers.models.llama.configuration_llama import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb

from vla.models.rotary import Rotary, frequencies, rotate

LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 256,
    "rope_theta": 500_000.0,
}
KINDS = {
    "default": (Rotary(500.0), {"rope_type": "default", "rope_theta": 500.0}),
    "linear": (Rotary(500.0, "linear", 4.0), {"rope_type": "linear", "rope_theta": 500.0, "factor": 4.0}),
    "llama3": (Rotary(500_000.0, "llama3", 8.0, 1.0, 4.0, 256), LLAMA3),
}


@pytest.mark.parametrize("kind", KINDS)
def test_frequencies_are_hugging_faces(kind):
    ours, theirs = KINDS[kind]
    config = LlamaConfig(hidden_size=128, num_attention_heads=2, rope_parameters=theirs, max_position_embeddings=2048)
    assert np.allclose(frequencies(ours, 64), LlamaRotaryEmbedding(config).inv_freq.numpy(), rtol=1e-6, atol=0)


def test_llama3_leaves_high_frequencies_and_divides_low_ones():
    plain, scaled = frequencies(Rotary(500_000.0), 64), frequencies(KINDS["llama3"][0], 64)
    wavelength = 2 * np.pi / plain
    assert np.array_equal(scaled[wavelength < 256 / 4], plain[wavelength < 256 / 4])
    assert np.array_equal(scaled[wavelength > 256], plain[wavelength > 256] / 8)
    between = (wavelength > 256 / 4) & (wavelength < 256)
    assert between.sum() > 2
    assert ((scaled > plain / 8) & (scaled < plain))[between].all()


def test_rotation_is_hugging_faces():
    rng = np.random.default_rng(0)
    query, positions = rng.normal(size=(2, 5, 3, 8)).astype(np.float32), np.array([[0, 1, 2, 3, 4], [0, 0, 0, 1, 2]])
    embedding = LlamaRotaryEmbedding(LlamaConfig(hidden_size=24, num_attention_heads=3))
    states = torch.from_numpy(query).transpose(1, 2)
    theirs, _ = apply_rotary_pos_emb(states, states, *embedding(states, torch.from_numpy(positions)))
    ours = rotate(jnp.asarray(query), jnp.asarray(positions), frequencies(Rotary(), 8))
    assert np.abs(np.asarray(ours) - theirs.transpose(1, 2).numpy()).max() < 1e-6
