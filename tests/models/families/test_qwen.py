"""Qwen 2 and 3: biases, normalised heads, windows from some block on."""

import pytest

from tests.language_checkpoints import write_family
from tests.models.families.tables import parameters
from vla.models.families.qwen import read_qwen2, read_qwen3
from vla.models.fields import Fields


def test_qwen_2_has_biases_where_qwen_3_normalises_heads(tmp_path):
    for kind in ("qwen2", "qwen3"):
        write_family(tmp_path / kind, kind)
    two, three = parameters(tmp_path / "qwen2"), parameters(tmp_path / "qwen3")
    assert two["blocks.attention.key.bias"].shape == (16,) and "blocks.attention.out.bias" not in two
    assert three["blocks.attention.key_norm.scale"].shape == (8,) and "blocks.attention.key.bias" not in three


@pytest.mark.parametrize(
    "given, sliding",
    [
        ({}, (False, False, False)),
        ({"use_sliding_window": True, "max_window_layers": 1}, (False, True, True)),
        ({"use_sliding_window": True, "max_window_layers": 0}, (True, True, True)),
        ({"use_sliding_window": False, "max_window_layers": 1}, (False, False, False)),
        ({"use_sliding_window": True, "sliding_window": None, "max_window_layers": 0}, (False, False, False)),
    ],
)
@pytest.mark.parametrize("read", [read_qwen2, read_qwen3])
def test_windows_begin_at_a_block(read, given, sliding):
    assert read(Fields({"num_hidden_layers": 3, **given}, "config.json")).sliding == sliding


def test_sliding_blocks_without_a_window_are_refused():
    types = {"num_hidden_layers": 1, "layer_types": ["sliding_attention"]}
    with pytest.raises(ValueError, match="'use_sliding_window' or 'sliding_window' gives them no window"):
        read_qwen2(Fields(types, "config.json"))
