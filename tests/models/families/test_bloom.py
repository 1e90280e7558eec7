"""BLOOM's table: queries, keys and values of a head stand together in one tensor."""

import numpy as np
import pytest
import torch

from tests.language_checkpoints import write_family
from tests.models.families.tables import applied, parameters, some
from vla.models.families.gpt import read_bloom
from vla.models.fields import Fields


def test_heads_are_cut_as_hugging_face_cuts_them(tmp_path):
    twin = write_family(tmp_path, "bloom")
    found, x = parameters(tmp_path), some(32)
    attention = twin.get_submodule("transformer.h.1.self_attention")
    with torch.no_grad():
        theirs = attention._reshape(attention.query_key_value(x))
    for name, expected in zip(("query", "key", "value"), theirs, strict=True):
        ours = applied(found, f"blocks.attention.{name}", x).reshape(1, 5, 4, 8).swapaxes(1, 2)
        np.testing.assert_allclose(ours, expected.numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("fields", [{"n_embed": 64, "hidden_size": 32}, {"n_layer": 2, "num_hidden_layers": 3}])
def test_two_names_of_one_size_may_not_disagree(fields):
    with pytest.raises(ValueError, match="they mean the same"):
        read_bloom(Fields(fields, "config.json"))


def test_either_name_of_a_size_will_do():
    sizes = {"n_embed": 96, "num_attention_heads": 6, "n_layer": 5}
    config = read_bloom(Fields(sizes, "config.json"))
    assert (config.width, config.heads, config.depth, config.inner) == (96, 6, 5, 384)
