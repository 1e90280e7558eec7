"""Scoring on 1, 2 and 8 emulated devices and in two processes gives the numbers of one."""

import contextlib
import socket

import numpy as np
import pytest

from tests.children import Child

PROGRAM = """
import sys
import jax
import numpy as np
path, count, address, number = sys.argv[1:]
jax.config.update("jax_num_cpu_devices", int(count))
from vla import devices
if address:
    devices.join(address, 2, int(number))
assert jax.local_device_count() == int(count) and devices.this_process()[1] == (2 if address else 1)
used = set()
fetch = devices.fetched
def seen(tree):
    for leaf in jax.tree.leaves(tree):
        assert len({str(part.index) for part in leaf.addressable_shards}) == len(leaf.addressable_shards)
        used.update(leaf.sharding.device_set)
    return fetch(tree)
devices.fetched = seen
import vla
rng = np.random.default_rng(0)
z = rng.standard_normal((24, 4))
x, y = ((z @ rng.standard_normal((k, 4, 9)) + rng.standard_normal((k, 24, 9))).astype(np.float32) for k in (5, 3))
names = ["linear_predictivity", "cka", "mutual_knn", "procrustes"]
found = vla.score(x, y, metric=names, null=1, outer_folds=3, neighbours=4)
assert len(used) == (jax.device_count() if jax.device_count() > 1 else 0), used  # one device has an engine of its own
np.savez(f"{path}-{number}.npz", alpha=found["linear_predictivity"]["alpha"].values, **{
    f"{name}-{part}": found[name][part].values for name in names for part in ("score", "null_score")})
"""


def _run(path, count, processes=1):
    address = ""
    if processes > 1:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
    with contextlib.ExitStack() as stack:
        started = [stack.enter_context(Child(PROGRAM, path, count, address, i)) for i in range(processes)]
        for child in started:
            child.said()
    return [dict(np.load(f"{path}-{i}.npz")) for i in range(processes)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    (found,) = _run(tmp_path_factory.mktemp("spread") / "alone", 1)
    assert found["cka-score"].shape == (5, 3) and found["cka-null_score"].shape == (1, 5, 3)
    return found


@pytest.mark.parametrize(("count", "processes"), [(2, 1), (8, 1), (1, 2), (2, 2)])
def test_devices_and_processes_give_the_numbers_of_one(count, processes, alone, tmp_path):
    for found in _run(tmp_path / "found", count, processes):
        assert set(found) == set(alone)
        for name, values in alone.items():
            np.testing.assert_allclose(found[name], values, atol=1e-6, rtol=0, err_msg=name)
            assert np.isfinite(values).all()
