"""Phi-3's table: fused projections of unequal parts."""

import numpy as np
import pytest
import torch

from tests.language_checkpoints import write_family
from tests.models.families.tables import applied, parameters, some
from vla.models.families.phi3 import read_phi3
from vla.models.fields import Fields


def test_fused_projections_are_cut_as_hugging_face_cuts_them(tmp_path):
    twin = write_family(tmp_path, "phi3")
    found, x = parameters(tmp_path), some(32)
    block = twin.get_submodule("model.layers.1")
    with torch.no_grad():
        # 4 heads of 8 units, then 2 key-value heads
        theirs = dict(zip(("query", "key", "value"), block.self_attn.qkv_proj(x).split([32, 16, 16], -1), strict=True))
        gate, up = block.mlp.gate_up_proj(x).chunk(2, dim=-1)
    for name, expected in theirs.items():
        np.testing.assert_allclose(applied(found, f"blocks.attention.{name}", x), expected, rtol=1e-5, atol=1e-5)
    for name, expected in (("gate", gate), ("up", up)):
        np.testing.assert_allclose(applied(found, f"blocks.feed_forward.{name}", x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["longrope", "su", "yarn"])
def test_longrope_has_older_names(kind):
    factors = [1.0 + i / 48 for i in range(48)]
    rope = {"type": kind, "short_factor": factors, "long_factor": [2 * f for f in factors]}
    config = read_phi3(Fields({"rope_scaling": rope, "max_position_embeddings": 131072}, "config.json"))
    assert config.rotary is not None
    assert (config.rotary.kind, config.rotary.original_length) == ("longrope", 4096)
    assert config.rotary.long_factors[1] == pytest.approx(2 + 2 / 48)
