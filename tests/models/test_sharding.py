"""Weights shared by several devices: which axis is cut, and that no device reads more than its part."""

import pytest

from tests import children
from tests.checkpoints import write_language, write_vision
from vla import devices
from vla.models import load_model
from vla.models.sharding import sharded_axis


@pytest.mark.parametrize(
    "path, shape, parts, axis",
    [
        ("blocks.attention.query.weight", (8, 6), 2, 0),
        ("blocks.attention.out.weight", (6, 8), 2, 1),
        ("blocks.feed_forward.down.weight", (6, 8), 4, 1),
        ("blocks.feed_forward.gate", (3, 8, 6), 2, 1),
        ("blocks.feed_forward.down", (3, 6, 8), 2, 2),
        ("embedding", (10, 4), 2, 0),
        ("blocks.attention.query.weight", (9, 6), 2, None),
        ("blocks.attention.query.weight", (8, 6), 1, None),
        ("blocks.attention.query.bias", (8,), 2, None),
        ("blocks.norm1.scale", (8,), 2, None),
        ("embedding.positions", (10, 4), 2, None),
    ],
)
def test_axes(path, shape, parts, axis):
    assert sharded_axis(path, shape, parts) == axis


PROGRAM = """
import sys
import jax
jax.config.update("jax_num_cpu_devices", 8)
import numpy as np
from vla.models import load_model, weights
from vla.models.checkpoint import Tensor
opened, read = weights.open_tensors, []
def watched(directory):
    def watch(tensor):
        def part(index):
            found = tensor.read(index)
            read.append((tensor.shape, found.shape))
            return found
        return Tensor(tensor.file, tensor.shape, part)
    return {name: watch(tensor) for name, tensor in opened(directory).items()}
weights.open_tensors = watched
model = load_model(sys.argv[1], tensor_parallel=4)
query = model.network.blocks.attention.query.weight[...]
assert {shard.data.shape for shard in query.addressable_shards} == {(3, 6, 24)}, query.sharding
down = model.network.blocks.feed_forward.down.weight[...]
assert {shard.data.shape for shard in down.addressable_shards} == {(3, 24, 10)}, down.sharding
# every weight once, though two groups of devices hold a copy: none as a whole that is shared
assert sum(np.prod(part) for whole, part in read) == sum(leaf.size for leaf in jax.tree.leaves(model.network))
assert ((40, 24), (10, 24)) in read and ((40, 24), (40, 24)) not in read
"""


def test_each_device_reads_only_its_part(tmp_path):
    write_language(tmp_path, num_key_value_heads=4)
    children.run(PROGRAM, tmp_path)


@pytest.mark.parametrize("parts", [0, -1, True, 1.5, devices.mesh().size + 1])
def test_devices_that_cannot_be_grouped(parts, tmp_path):
    write_vision(tmp_path)
    with pytest.raises(ValueError, match=r"tensor_parallel=.* cannot share one copy .*; expected one of 1"):
        load_model(tmp_path, tensor_parallel=parts)
