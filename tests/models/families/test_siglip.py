"""SigLIP's vision tower: no class token, a head that is not read, alone or beside the text tower."""

import numpy as np
import pytest

from tests.models.families.tables import parameters
from tests.vision_checkpoints import write_vision_family
from vla.models.families.siglip import read_siglip_vision
from vla.models.fields import Fields


@pytest.mark.parametrize("kind", ["siglip", "siglip_vision"])
def test_the_tower_is_found_alone_and_beside_text(kind, tmp_path):
    twin = write_vision_family(tmp_path, kind)
    found = parameters(tmp_path)
    [(_, positions)] = [
        (name, module)
        for name, module in twin.named_modules()
        if name.endswith("position_embedding") and "text_model" not in name
    ]
    np.testing.assert_array_equal(found["embedding.positions"], positions.weight.detach())
    assert not [path for path in found if "cls" in path or "head" in path]


def test_there_is_no_class_token_to_read():
    config = read_siglip_vision(Fields({"vision_use_head": True}, "config.json"))
    assert config.pools == ("mean",) and config.extra == config.placed == 0
    assert config.nonlinearity == "gelu_pytorch_tanh"
