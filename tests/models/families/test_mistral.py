"""Mistral's config: all of its blocks see a window, or none."""

import pytest

from vla.models.families.mistral import read_mistral
from vla.models.fields import Fields


@pytest.mark.parametrize(
    "given, window, slides",
    [({}, 4096, True), ({"sliding_window": 100}, 100, True), ({"sliding_window": None}, None, False)],
)
def test_a_window_is_of_all_blocks(given, window, slides):
    config = read_mistral(Fields({"num_hidden_layers": 3, **given}, "config.json"))
    assert config.window == window and config.sliding == (slides,) * 3
    assert (config.heads, config.kv_heads) == (32, 8)
