"""GPT-NeoX's table: queries, keys and values of a head stand together in one tensor."""

import numpy as np
import pytest
import torch

from tests.language_checkpoints import write_family
from tests.models.families.tables import applied, parameters, some
from vla.models.families.gpt import read_gpt_neox
from vla.models.fields import Fields


@pytest.mark.parametrize("bias", [True, False])
def test_heads_are_cut_as_hugging_face_cuts_them(bias, tmp_path):
    twin = write_family(tmp_path, "gpt_neox", attention_bias=bias)
    found, x = parameters(tmp_path), some(32)
    assert ("blocks.attention.out.bias" in found) is bias
    fused = twin.get_submodule("gpt_neox.layers.1.attention.query_key_value")
    with torch.no_grad():
        # as GPTNeoXAttention.forward does
        theirs = fused(x).view(1, 5, 4, 24).chunk(3, dim=-1)
    for name, expected in zip(("query", "key", "value"), theirs, strict=True):
        ours = applied(found, f"blocks.attention.{name}", x).reshape(1, 5, 4, 8)
        np.testing.assert_allclose(ours, expected.numpy(), rtol=1e-5, atol=1e-5)


def test_the_share_that_turns_and_the_base_have_older_names():
    config = read_gpt_neox(Fields({"rotary_pct": 0.5, "rotary_emb_base": 5000}, "config.json"))
    assert config.rotary is not None and (config.rotary.share, config.rotary.theta) == (0.5, 5000)
    assert config.parallel and not config.gated
