"""LLaMA's config: what it has beyond the sizes that its descendants share."""

import pytest

from tests.language_checkpoints import write_family
from tests.models.families.tables import parameters
from vla.models.families.llama import read_llama
from vla.models.fields import Fields


@pytest.mark.parametrize("attention, feed_forward", [(True, False), (False, True)])
def test_biases_are_where_the_config_says(attention, feed_forward, tmp_path):
    write_family(tmp_path, "llama", attention_bias=attention, mlp_bias=feed_forward)
    found = parameters(tmp_path)
    assert ("blocks.attention.query.bias" in found) is ("blocks.attention.out.bias" in found) is attention
    assert ("blocks.feed_forward.down.bias" in found) is feed_forward


def test_neighbouring_units_are_not_paired():
    with pytest.raises(ValueError, match="'rope_interleaved' is True.*paired by halves"):
        read_llama(Fields({"rope_interleaved": True}, "config.json"))
