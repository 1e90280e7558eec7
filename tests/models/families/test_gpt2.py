"""GPT-2's table: its maps are stored the other way round."""

import numpy as np
import pytest
import torch

from tests.language_checkpoints import write_family
from tests.models.families.tables import applied, parameters, some
from vla.models.families.gpt import read_gpt2
from vla.models.fields import Fields


def test_maps_are_hugging_faces_convolutions(tmp_path):
    twin = write_family(tmp_path, "gpt2")
    found, x = parameters(tmp_path), some(32)
    block = twin.get_submodule("transformer.h.1")
    with torch.no_grad():
        theirs = dict(zip(("query", "key", "value"), block.attn.c_attn(x).split(32, dim=2), strict=True))
        theirs["out"] = block.attn.c_proj(x)
        up = block.mlp.c_fc(x)
    for name, expected in theirs.items():
        ours = applied(found, f"blocks.attention.{name}", x)
        np.testing.assert_allclose(ours, expected.numpy(), rtol=1e-5, atol=1e-5)
    ours = applied(found, "blocks.feed_forward.up", x)
    np.testing.assert_allclose(ours, up.numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("inner, expected", [(None, 48), (40, 40)])
def test_the_inner_width_is_four_times_the_width_unless_it_is_given(inner, expected):
    config = read_gpt2(Fields({"n_embd": 12, "n_head": 3, "n_inner": inner}, "config.json"))
    assert config.inner == expected


def test_scores_may_be_left_unscaled():
    config = read_gpt2(Fields({"scale_attn_weights": False, "scale_attn_by_inverse_layer_idx": True}, "config.json"))
    assert config.attention_scale == 1.0 and config.scale_by_block
