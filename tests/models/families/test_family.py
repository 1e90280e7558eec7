"""Rows that families build their tables of."""

from vla.models.families.family import layer_norm, linear
from vla.models.families.row import Row


def test_a_linear_map_has_a_bias_or_none():
    weight, bias = linear("h.{}.fc", "blocks.up", True, part=(1, 3), heads=2)
    assert weight == Row("h.{}.fc.weight", "blocks.up.weight", (1, 3), heads=2)
    assert bias == Row("h.{}.fc.bias", "blocks.up.bias", (1, 3), heads=2)
    assert linear("h.{}.fc", "blocks.up", False) == (Row("h.{}.fc.weight", "blocks.up.weight"),)


def test_only_the_weight_of_a_transposed_map_is_transposed():
    weight, bias = linear("fc", "up", True, transposed=True)
    assert weight.transposed and not bias.transposed


def test_a_norm_is_a_scale_and_a_bias():
    assert layer_norm("ln", "norm") == (Row("ln.weight", "norm.scale"), Row("ln.bias", "norm.bias"))
