"""DINOv3: turning patches instead of positions, a key without bias, a gated network on demand."""

import numpy as np
import pytest
import torch

from tests.models.families.tables import applied, parameters, some
from tests.vision_checkpoints import write_vision_family
from vla.models.families.dino import read_dinov3_vit
from vla.models.fields import Fields


@pytest.mark.parametrize("gated", [True, False])
def test_maps_are_hugging_faces(gated, tmp_path):
    twin = write_vision_family(tmp_path, "dinov3", use_gated_mlp=gated)
    found, x = parameters(tmp_path), some(24)
    named = {name: module for name, module in twin.named_modules() if "layer.1." in name}
    pairs = {"attention.query": "q_proj", "attention.key": "k_proj", "feed_forward.up": "up_proj"}
    for path, end in {**pairs, **({"feed_forward.gate": "gate_proj"} if gated else {})}.items():
        [module] = [module for name, module in named.items() if name.endswith(end)]
        with torch.no_grad():
            np.testing.assert_allclose(applied(found, f"blocks.{path}", x), module(x), rtol=1e-5, atol=1e-5)
    assert "blocks.attention.key.bias" not in found and "embedding.positions" not in found
    assert ("blocks.feed_forward.gate.weight" in found) is gated


def test_heads_that_cannot_turn_in_two_directions_are_refused():
    with pytest.raises(ValueError, match="leaves 6 units per head; .* needs a multiple of 4"):
        read_dinov3_vit(Fields({"hidden_size": 36, "num_attention_heads": 6}, "config.json"))
