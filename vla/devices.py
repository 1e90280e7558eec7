"""Meshes, precision and where arrays live: the one place that knows devices."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, TypeVar

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


@functools.cache
def mesh() -> Mesh:
    """All devices of this process on one axis, `data`."""
    return jax.make_mesh(
        (jax.local_device_count(),), ("data",), axis_types=(AxisType.Auto,), devices=jax.local_devices()
    )


def device_count() -> int:
    """How many devices share a batch."""
    return mesh().size


def on_every_device(shape: tuple[int, ...], read: Callable[[Any], np.ndarray]) -> jax.Array:
    """An array that every device holds whole, made without a copy of it on the host.

    Args:
      shape: Of the whole array.
      read: Called with the part that a device wants, one slice per axis; returns that part.
    """
    return jax.make_array_from_callback(shape, NamedSharding(mesh(), PartitionSpec()), read)


def split_leading(tree: T) -> T:
    """Spread the leading axis of every array over the devices; it must divide by `device_count()`."""
    return jax.device_put(tree, NamedSharding(mesh(), PartitionSpec("data")))


@contextlib.contextmanager
def full_precision() -> Iterator[None]:
    """Trace matrix products at the full width of their operands: no TF32 on GPUs, no bfloat16 passes on TPUs."""
    with jax.default_matmul_precision("highest"):
        yield


def in_float64(function: Callable[P, R]) -> Callable[P, R]:
    """Run `function` with 64-bit types enabled and full matrix precision.

    float64 input then stays float64 and factorisations may ask for it; outside such functions JAX
    keeps its 32-bit default.
    """

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        with jax.enable_x64(True), full_precision():
            return function(*args, **kwargs)

    return wrapped


def to_host(array: jax.Array) -> np.ndarray:
    """Fetch an array to host memory."""
    return np.asarray(jax.device_get(array))
