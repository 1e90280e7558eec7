"""Scoring on 1, 2 and 8 emulated devices and in two processes gives the numbers of one; and its programs are those of
accelerators."""

import contextlib
import socket

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.children import Child
from vla import devices
from vla.metrics import METRICS, cknna, neighbours, pairs

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
        # Where every device has another part of the result.
        if len({str(part.index) for part in leaf.addressable_shards}) == len(leaf.addressable_shards):
            used.update(leaf.sharding.device_set)
    return fetch(tree)
devices.fetched = seen
import vla
rng = np.random.default_rng(0)
z = rng.standard_normal((24, 4))
x, y = ((z @ rng.standard_normal((k, 4, 9)) + rng.standard_normal((k, 24, 9))).astype(np.float32) for k in (5, 3))
names = ["linear_predictivity", "cka", "mutual_knn", "cca", "shape_distance_cv", "soft_matching"]
found = vla.score(x, y, metric=names, null=1, outer_folds=3, neighbours=4)
assert len(used) == jax.device_count(), used
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


# What `settle` makes of states, where it is traceable: the sizes are chosen by the host.
SETTLED = {
    "mutual_knn": lambda states, settings: neighbours._lists(states, settings.neighbours, 4, True),
    "cknna": lambda states, settings: cknna._neighbourhoods(states, 4, settings),
}
SETTINGS = {"mutual_knn": {"neighbours": 3}, "cknna": {"neighbours": 3}}


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize(
    "name", sorted(name for name, metric in METRICS.items() if isinstance(metric, pairs.PairMetric))
)
@devices.in_float64
def test_every_program_is_exported_for_accelerators(platform, name):
    """It lowers without a device of the platform: nothing in it asks for the host."""
    metric = METRICS[name]
    settings = metric.settings(**SETTINGS.get(name, {}))
    of_metric = {"metric": metric, "settings": settings}

    def side(layers, rows):
        bases = layers if metric.matrix is None else pairs._matrices(layers, **of_metric)
        states, alike = pairs._prepared(bases, rows, **of_metric, rdm=False)
        return SETTLED.get(name, lambda states, settings: states)(states, settings), alike

    def program(x, y, rows, orders):
        compare = pairs._inner_products if metric.compare is None else pairs._pairwise
        again = metric.permute is None and metric.compare is not None
        return compare(side(x, rows), side(y, rows), None if again else orders, **of_metric)

    shapes = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((2, 20, 6), (3, 20, 5))]
    shapes += [jax.ShapeDtypeStruct(shape, jnp.int64) for shape in ((16,), (4, 16))]
    exported = jax.export.export(jax.jit(program), platforms=[platform])(*shapes)
    assert exported.platforms == (platform,)
    assert exported.out_avals[0].shape[:2] == (2, 3)
