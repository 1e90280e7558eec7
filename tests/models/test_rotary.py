"""Rotary frequencies and rotation against Hugging Face's."""

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from transformers import DINOv3ViTConfig, Phi3Config
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.dinov3_vit.modeling_dinov3_vit import DINOv3ViTRopePositionEmbedding
from transformers.models.llama.configuration_llama import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb

from vla.models.network_config import Rotary
from vla.models.rotary import frequencies, patch_rotation, rotate, rotation

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
    ours = rotate(jnp.asarray(query), rotation(Rotary(), 8, jnp.asarray(positions)))
    assert np.abs(np.asarray(ours) - theirs.transpose(1, 2).numpy()).max() < 1e-6


YARN = {"rope_type": "yarn", "rope_theta": 10_000.0, "factor": 4.0, "original_max_position_embeddings": 512}
YARNS = {
    "plain": ({}, {}),
    "bounds": ({"beta_fast": 20.0, "beta_slow": 3.0}, {"fast": 20.0, "slow": 3.0}),
    "parts of pairs": ({"truncate": False}, {"truncate": False}),
    "no ramp": (
        {"beta_fast": 2.0, "beta_slow": 2.0, "truncate": False},
        {"fast": 2.0, "slow": 2.0, "truncate": False},
    ),
}


@pytest.mark.parametrize("case", YARNS)
def test_yarn_is_hugging_faces(case):
    theirs, ours = YARNS[case]
    config = LlamaConfig(
        hidden_size=128, num_attention_heads=2, max_position_embeddings=2048, rope_parameters={**YARN, **theirs}
    )
    expected, gain = ROPE_INIT_FUNCTIONS["yarn"](config)
    assert gain == pytest.approx(0.1 * np.log(4) + 1)
    rotary = Rotary(10_000.0, "yarn", 4.0, original_length=512, **ours)
    assert np.allclose(frequencies(rotary, 64), expected.numpy(), rtol=1e-6, atol=0)


LONG = Rotary(
    scaling="longrope",
    original_length=16,
    gain=1.2,
    short_factors=(1.0, 1.1, 1.3),
    long_factors=(1.5, 3.0, 6.0),
    share=0.75,
)


def test_longrope_is_hugging_faces():
    config = Phi3Config(
        hidden_size=16,
        num_attention_heads=2,
        original_max_position_embeddings=16,
        rope_parameters={
            "rope_type": "longrope",
            "rope_theta": 10_000.0,
            "partial_rotary_factor": 0.75,
            "short_factor": list(LONG.short_factors),
            "long_factor": list(LONG.long_factors),
        },
    )
    for length, long in ((16, False), (17, True)):
        expected, _ = ROPE_INIT_FUNCTIONS["longrope"](config, seq_len=length)
        assert np.allclose(frequencies(LONG, 8, long), expected.numpy(), rtol=1e-6, atol=0)


def test_longrope_switches_row_by_row():
    """A row with a caption of 16 tokens is a short one, a row with 17 is long from its first token on."""
    positions = jnp.asarray([[0, 0, *range(15)], [*range(16), 0], [*range(17)]])
    cos, sin = rotation(LONG, 8, positions)
    for row, long in enumerate((False, False, True)):
        angles = np.asarray(positions[row])[:, None] * frequencies(LONG, 8, long)
        assert np.allclose(cos[row], 1.2 * np.cos(angles), atol=1e-6)
        assert np.allclose(sin[row], 1.2 * np.sin(angles), atol=1e-6)


def test_units_beyond_the_share_stay_as_they_are():
    x = np.random.default_rng(0).normal(size=(1, 3, 2, 8)).astype(np.float32)
    turned = np.asarray(rotate(jnp.asarray(x), rotation(LONG, 8, jnp.asarray([[0, 5, 9]]))))
    assert np.array_equal(turned[..., 6:], x[..., 6:])
    # units 0 and 3 are a pair, and pairs keep their length but for the gain
    pair = turned[..., [0, 3]]
    assert np.allclose(np.linalg.norm(pair, axis=-1), 1.2 * np.linalg.norm(x[..., [0, 3]], axis=-1), rtol=1e-5)
    assert not np.allclose(turned[:, 1:, :, :6], x[:, 1:, :, :6], atol=0.1)


@pytest.mark.parametrize("rows, columns", [(14, 14), (3, 9), (1, 1)])
@pytest.mark.parametrize("width, theta", [(64, 100.0), (12, 30.0), (20, 100.0)])
def test_angles_are_hugging_faces(rows, columns, width, theta):
    config = DINOv3ViTConfig(hidden_size=2 * width, num_attention_heads=2, rope_theta=theta)
    # in training it moves the patches at random
    theirs = DINOv3ViTRopePositionEmbedding(config).eval()(torch.zeros(1, 3, 16 * rows, 16 * columns))
    ours = patch_rotation(theta, width, rows, columns, prefix=5)
    for own, other in zip(ours, theirs, strict=True):
        assert own.shape == (1, 5 + rows * columns, width // 2)
        # the second half of Hugging Face's angles repeats the first
        assert np.abs(np.asarray(own[0, 5:]) - other[:, : width // 2].numpy()).max() < 2e-6
    # tokens before the patches stay as they are
    assert np.array_equal(ours[0][0, :5], np.ones((5, width // 2)))
    assert np.array_equal(ours[1][0, :5], np.zeros((5, width // 2)))
