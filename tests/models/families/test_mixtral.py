"""Mixtral's tables: a tensor for every expert as published, one for all as transformers 5 holds them."""

import dataclasses

import numpy as np
import pytest

from tests.language_checkpoints import write_family
from tests.models.families.tables import parameters
from vla.models.checkpoint import open_tensors
from vla.models.families.mixtral import fused_mixtral_table, mixtral_table, read_mixtral
from vla.models.fields import Fields


def test_experts_are_stacked_in_their_order(tmp_path):
    write_family(tmp_path, "mixtral")
    found, tensors = parameters(tmp_path), open_tensors(tmp_path)
    for part, path in (("w1", "gate"), ("w2", "down"), ("w3", "up")):
        names = [f"model.layers.1.block_sparse_moe.experts.{i}.{part}.weight" for i in range(5)]
        expected = [tensors[name].read((slice(None), slice(None))) for name in names]
        np.testing.assert_array_equal(found[f"blocks.feed_forward.{path}"], np.stack(expected))


def test_both_tables_fill_the_same_parameters():
    config = read_mixtral(Fields({}, "config.json"))
    paths = [{row.path for row in table(config)} for table in (mixtral_table, fused_mixtral_table)]
    assert paths[0] == paths[1]
    wide = dataclasses.replace(config, experts=3)
    gate, up = (row for row in fused_mixtral_table(wide) if row.name.endswith("gate_up_proj"))
    # [experts, inner, width] each, out of one tensor that is twice as wide inside
    assert gate.shape_in_file((3, 10, 4)) == up.shape_in_file((3, 10, 4)) == (3, 20, 4)


def test_a_token_cannot_go_through_more_experts_than_there_are():
    with pytest.raises(ValueError, match="num_experts_per_tok 3 is more than num_local_experts 2"):
        read_mixtral(Fields({"num_local_experts": 2, "num_experts_per_tok": 3}, "config.json"))
