"""CLIP's towers: both out of one checkpoint, and the form of the config that wins."""

import numpy as np
import pytest

from tests.models.families.tables import parameters
from tests.vision_checkpoints import write_vision_family
from vla.models.families.clip import read_clip_text, read_clip_vision, read_siglip_vision, tower_fields
from vla.models.fields import Fields


def test_each_tower_is_found_beside_the_other(tmp_path):
    twin = write_vision_family(tmp_path, "clip")
    named = dict(twin.named_parameters())
    for tower, path in ((None, "embedding.positions"), ("text", "positions")):
        name = f"{tower or 'vision'}_model.embeddings.position_embedding.weight"
        np.testing.assert_array_equal(parameters(tmp_path, tower=tower)[path], named[name].detach())
        block = f"{tower or 'vision'}_model.encoder.layers.1.self_attn.v_proj.bias"
        found = parameters(tmp_path, tower=tower)["blocks.attention.value.bias"]
        np.testing.assert_array_equal(found, named[block].detach())


@pytest.mark.parametrize(
    "values, width",
    [
        ({"vision_config": {"hidden_size": 96}}, 96),
        ({"vision_config": {"hidden_size": 96}, "vision_config_dict": {"hidden_size": 192}}, 192),
        ({"vision_config": {"hidden_size": 96}, "vision_config_dict": None}, 96),
        ({}, 768),
    ],
)
def test_of_two_forms_the_older_one_wins(values, width):
    assert read_clip_vision(tower_fields(Fields(values, "config.json"), "vision")).width == width


def test_defaults_are_those_of_the_published_towers():
    vision, text = read_clip_vision(Fields({}, "c")), read_clip_text(Fields({}, "c"))
    assert (vision.patch, vision.grid, vision.nonlinearity, vision.embedding_norm) == (32, 7, "quick_gelu", True)
    assert (text.width, text.heads, text.length, text.vocabulary) == (512, 8, 77, 49408)
    assert text.rotary is None and text.learned_positions


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
    assert config.pools == ("mean",) and config.prefix == config.prefix_positions == 0
    assert config.nonlinearity == "gelu_pytorch_tanh"
