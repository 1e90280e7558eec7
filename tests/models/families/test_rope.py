"""The fields about rotary embedding, in both spellings, against what transformers computes from them."""

import numpy as np
import pytest
import torch
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from vla.models.families.rope import read_rotary
from vla.models.fields import Fields
from vla.models.rotary import frequencies

LENGTH, WIDTH = 256, 24
KINDS = {
    "linear": {"factor": 4.0},
    "llama3": {
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    },
    "yarn": {"factor": 4.0, "original_max_position_embeddings": 64},
    "yarn, all said": {
        "factor": 4.0,
        "original_max_position_embeddings": 64,
        "beta_fast": 16.0,
        "beta_slow": 2.0,
        "mscale": 0.7,
        "mscale_all_dim": 0.9,
    },
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("new", [True, False])
def test_both_spellings_turn_as_transformers_turns(kind, new):
    name = kind.partition(",")[0]
    sizes = {"hidden_size": 4 * WIDTH, "num_attention_heads": 4, "max_position_embeddings": LENGTH}
    theirs = LlamaConfig(**sizes, rope_parameters={"rope_type": name, "rope_theta": 500.0, **KINDS[kind]})
    expected, gain = ROPE_INIT_FUNCTIONS[name](theirs, torch.device("cpu"))
    if new:
        given = {"rope_parameters": {"rope_type": name, "rope_theta": 500.0, **KINDS[kind]}}
    else:
        given = {"rope_theta": 500.0, "rope_scaling": {"type": name, **KINDS[kind]}}
    rotary = read_rotary(Fields(given, "config.json"), length=LENGTH, head_width=WIDTH)
    np.testing.assert_allclose(frequencies(rotary, WIDTH), expected.numpy(), rtol=1e-6)
    assert rotary.gain == pytest.approx(gain)


def read(given: dict, **options):
    return read_rotary(Fields(given, "config.json"), length=LENGTH, head_width=WIDTH, **options)


def test_what_stretches_only_beyond_the_length_stretches_nothing():
    assert read({"rope_scaling": {"rope_type": "dynamic", "factor": 4.0}}) == read({})


@pytest.mark.parametrize(
    "given, options, message",
    [
        ({"rope_scaling": {"type": "linear", "factor": 2.0}, "rope_parameters": {}}, {}, "has both"),
        ({"rope_scaling": {"rope_type": "spiral"}}, {}, "rope_type 'spiral' is not known; known are: default"),
        ({"rope_scaling": {"rope_type": "linear"}}, {}, "no field 'factor', which is required"),
        (
            {"rope_scaling": {**KINDS["llama3"], "rope_type": "llama3", "low_freq_factor": 4.0}},
            {},
            "low_freq_factor 4.0 must be below high_freq_factor 4.0",
        ),
        ({"rope_scaling": {**KINDS["yarn"], "rope_type": "yarn", "beta_fast": 0.5}}, {}, "beta_fast 0.5 must not be"),
        ({"partial_rotary_factor": 1.5}, {"share": 1.0}, "partial_rotary_factor is 1.5; expected at most 1"),
        ({"partial_rotary_factor": 0.5}, {}, "the family rotates every unit of a head"),
        ({"partial_rotary_factor": 0.3}, {"share": 1.0}, "24 wide and 7 of their units rotate.* even number"),
        (
            {"rope_scaling": {"type": "longrope", "short_factor": [1.0] * 12, "long_factor": [1.0]}},
            {"scalings": {"default": "default", "longrope": "longrope"}},
            "'long_factor' has 1 numbers; expected 12, one per pair",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(given, options, message):
    with pytest.raises(ValueError, match=message):
        read(given, **options)
