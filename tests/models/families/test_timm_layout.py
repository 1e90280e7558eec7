"""timm's config.json and names of tensors; tests/models/test_timm.py has parity with timm itself."""

import pytest

from vla.models.families.timm import read_timm, timm_fc_norm_table, timm_table
from vla.models.fields import Fields, is_timm, timm_input_size


def read(**values):
    return read_timm(Fields({"architecture": "vit_base_patch16_224", **values}, "config.json"))


def test_timms_configs_are_told_by_their_architecture():
    assert is_timm({"architecture": "vit_base_patch16_224"})
    assert not is_timm({"model_type": "vit"}) and not is_timm({"architecture": "x", "model_type": "vit"})


@pytest.mark.parametrize(
    "values, grid",
    [
        ({}, 14),
        ({"pretrained_cfg": {"input_size": [3, 384, 384]}}, 14),
        ({"pretrained_cfg": {"input_size": [3, 384, 384], "fixed_input_size": True}}, 24),
        ({"input_size": [3, 384, 384], "fixed_input_size": True}, 24),
        ({"model_args": {"img_size": 64}}, 4),
        ({"model_args": {"img_size": [64, 64], "patch_size": 32}}, 2),
    ],
)
def test_the_position_grid_is_that_of_the_images_it_was_made_for(values, grid):
    assert read(**values).grid == grid


def test_arguments_of_the_model_win_over_its_name():
    config = read(model_args={"embed_dim": 96, "num_heads": 6, "mlp_ratio": 2, "depth": 3, "act_layer": "relu"})
    assert (config.width, config.heads, config.inner, config.depth) == (96, 6, 192, 3)
    assert config.nonlinearity == "relu"


@pytest.mark.parametrize(
    "values, message",
    [
        ({"architecture": "vit_base_patch16_225"}, "architecture 'vit_base_patch16_225' is not known; known are: deit"),
        ({"model_args": {"qk_norm": True}}, "'qk_norm' is True"),
        ({"model_args": {"norm_layer": "rmsnorm"}}, "'norm_layer' is 'rmsnorm'"),
        ({"model_args": {"swirl": 1}}, "not known to matter or not to matter: swirl"),
        ({"pretrained_cfg": {"input_size": [3, 224, 192]}}, r"'input_size' is \[3.*; expected \[C, H, W\] with H = W"),
    ],
)
def test_what_is_not_supported_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        read(**values)


def test_input_size_is_read_or_imagenets():
    assert timm_input_size(Fields({"input_size": [1, 32, 32]}, "c")) == (1, 32)
    assert timm_input_size(Fields({}, "c")) == (3, 224)


def test_one_tensor_has_queries_keys_and_values():
    config = read()
    for table, norm in ((timm_table, "norm"), (timm_fc_norm_table, "fc_norm")):
        rows = {row.path: row for row in table(config)}
        parts = [rows[f"blocks.attention.{name}.weight"].part for name in ("query", "key", "value")]
        assert parts == [(0, 3), (1, 3), (2, 3)]
        assert rows["final_norm.scale"].name == f"{norm}.weight"
