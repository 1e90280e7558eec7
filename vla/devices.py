"""Devices: meshes, processes and precision."""

import contextlib
import functools
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any, NamedTuple, ParamSpec, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from threadpoolctl import ThreadpoolController

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

# Whether this thread works without the other processes that have joined.
_ALONE: ContextVar[bool] = ContextVar("alone", default=False)

# The axes of a mesh: items are split over the first, one copy of the weights over the second.
DATA, MODEL = "data", "model"

# The axes of a mesh on which pairs of layers are scored.
X_LAYER, Y_LAYER = "x_layer", "y_layer"


@functools.cache
def mesh(model: object = 1) -> Mesh:
    """All devices of this process on two axes, `data` and `model`.

    Args:
      model: Devices that share one copy of the weights.

    Raises:
      ValueError: The devices cannot be divided into groups of that size.
    """
    count = jax.local_device_count()
    if isinstance(model, bool) or not isinstance(model, int) or model < 1 or count % model:
        sizes = [size for size in range(1, count + 1) if count % size == 0]
        raise ValueError(
            f"tensor_parallel={model!r}: {count} devices of this process cannot share one copy of the weights in "
            f"such groups; expected one of {', '.join(map(str, sizes))}"
        )
    return jax.make_mesh(
        (count // model, model), (DATA, MODEL), axis_types=(AxisType.Auto,) * 2, devices=jax.local_devices()
    )


def groups(mesh: Mesh) -> int:
    """Into how many parts a batch is split: the size of the axis `data`."""
    return mesh.shape[DATA]


def from_parts(shape: tuple[int, ...], read: Callable[[Any], np.ndarray], sharding: NamedSharding) -> jax.Array:
    """A sharded array, made without a complete copy on the host.

    Args:
      shape: Of the complete array.
      read: From one slice per axis to that part of the array; called once for every different part.
      sharding: Which part each device holds.
    """
    parts: dict[Any, np.ndarray] = {}

    def read_once(index: Any) -> np.ndarray:
        key = tuple(part.indices(size) for part, size in zip(index, shape, strict=True))
        if key not in parts:
            parts[key] = read(index)
        return parts[key]

    return jax.make_array_from_callback(shape, sharding, read_once)


def sharded(mesh: Mesh, axis: int | None = None) -> NamedSharding:
    """The sharding that splits axis `axis` over the axis `model` of the mesh, or replicates the array if it is None."""
    return NamedSharding(mesh, PartitionSpec() if axis is None else PartitionSpec(*[None] * axis, MODEL))


def split_leading(tree: T, mesh: Mesh) -> T:
    """Split the leading axis of every array over the axis `data`; it must divide by `groups(mesh)`."""
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec(DATA)))


def join(coordinator: str | None = None, processes: int | None = None, process: int | None = None) -> None:
    """Join the processes that share the work; call it before any use of a device.

    Needs no arguments under SLURM, Open MPI, Kubernetes or on Cloud TPU; equivalent to jax.distributed.initialize.

    Args:
      coordinator: host:port of the first process.
      processes: Number of processes.
      process: Index of this process, from 0.

    Raises:
      ValueError: The other processes cannot be reached.
    """
    try:
        jax.distributed.initialize(coordinator, processes, process)
    except Exception as error:  # the coordination service raises errors of many types
        arguments = f"coordinator {coordinator!r}, process {process!r} of {processes!r}"
        raise ValueError(
            f"cannot join the other processes ({arguments}): {str(error).strip() or type(error).__name__}. Start one "
            "process per host, each with the same coordinator=host:port and number of processes and a number of its "
            "own; or none of these under SLURM or on Cloud TPU"
        ) from error


def this_process() -> tuple[int, int]:
    """The index of this process, from 0, and the number of processes."""
    return jax.process_index(), jax.process_count()


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Within this context, this thread uses only the devices of this process and does not wait for other processes."""
    before = _ALONE.set(True)
    try:
        yield
    finally:
        _ALONE.reset(before)


def wait_for_all(where: str) -> None:
    """Return when every process has reached the barrier called `where`."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(where)


def on_cpu() -> bool:
    """Whether JAX computes on the CPU."""
    return jax.default_backend() == "cpu"


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def full_precision() -> Iterator[None]:
    """Matrix products at the full precision of their operands: no TF32 on GPUs, no bfloat16 passes on TPUs."""
    with jax.default_matmul_precision("highest"):
        yield


def in_float64(function: Callable[P, R]) -> Callable[P, R]:
    """Run `function` with 64-bit types enabled and full matrix precision.

    Outside such functions JAX keeps its 32-bit default. If a default device is set when this decorates `function`, it
    is used in every thread: JAX keeps types, precision and device per thread.
    """
    device = jax.config.jax_default_device  # pyright: ignore[reportAttributeAccessIssue]

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        on_device = contextlib.nullcontext() if device is None else jax.default_device(device)
        with on_device, jax.enable_x64(True), full_precision():
            return function(*args, **kwargs)

    return wrapped


def workers() -> int:
    """Threads per device of this process: its share of the cores on CPU, 1 elsewhere."""
    return max(1, cores() // jax.local_device_count()) if on_cpu() else 1


@functools.cache
def _blas() -> ThreadpoolController:
    """The libraries of linear algebra; finding them is slow and done once."""
    return ThreadpoolController().select(user_api="blas")


@contextlib.contextmanager
def one_thread_per_product() -> Iterator[None]:
    """NumPy's BLAS and LAPACK use one thread in this process, so that several threads can multiply in parallel."""
    with _blas().limit(limits=1):
        yield


@functools.lru_cache(maxsize=256)
def _layer_mesh(rows: int, columns: int, here: tuple[Any, ...]) -> Mesh:
    return jax.make_mesh((rows, columns), (X_LAYER, Y_LAYER), axis_types=(AxisType.Auto,) * 2, devices=here)


def layer_mesh(x_layers: int, y_layers: int) -> Mesh:
    """All devices of all processes, or of this one inside `alone`, on the axes `x_layer` and `y_layer`.

    Of the ways to spread the pairs of layers evenly, the one on which a device has the fewest; of equal ones the one
    that splits the layers of x most.
    """
    here = tuple(jax.local_devices() if _ALONE.get() else jax.devices())
    shapes = [(rows, len(here) // rows) for rows in range(len(here), 0, -1) if len(here) % rows == 0]
    rows, columns = min(shapes, key=lambda shape: -(-x_layers // shape[0]) * -(-y_layers // shape[1]))
    return _layer_mesh(rows, columns, here)


def factorising(mesh: Mesh) -> Mesh:
    """Where matrices are factorised in float64: on the mesh itself, but of TPUs on the CPU of each host."""
    if mesh.devices.flat[0].platform != "tpu":
        return mesh
    return _layer_mesh(1, 1, (jax.local_devices(backend="cpu")[0],))


class Portion(NamedTuple):
    """Some layers of one side.

    Attributes:
      layers: Their numbers.
      filled: The same, the last repeated until the devices have equally many.
    """

    layers: np.ndarray
    filled: np.ndarray


def portions(count: int, bytes_each: int, most_bytes: int, parts: int) -> list[Portion]:
    """0..count-1 in portions of which each of the devices that share them holds no more than the bytes, and one at
    least; all of one size when filled, so that one program serves all."""
    each = max(1, min(most_bytes // max(bytes_each, 1), -(-count // parts)))
    rounds = -(-count // (each * parts))
    each = -(-count // (rounds * parts))
    split = [np.arange(start, min(start + each * parts, count)) for start in range(0, count, each * parts)]
    return [Portion(layers, np.minimum(layers[0] + np.arange(each * parts), count - 1)) for layers in split]


@functools.lru_cache(maxsize=512)
def over_layers(
    function: Callable[..., T], mesh: Mesh, inputs: tuple, output: tuple = (), **static: Any
) -> Callable[..., T]:
    """`function` on the devices of a mesh, each with its own layers, as one compiled program.

    Args:
      function: Of arrays; traceable.
      mesh: From `layer_mesh`.
      inputs: For each argument the axis of the mesh over which its leading axis is spread; None for no axis.
      output: Axes of the mesh over which the leading axes of the result are spread; unless given, that of the first
        argument.
      **static: Further arguments, hashable.
    """
    local = jax.shard_map(
        functools.partial(function, **static),
        mesh=mesh,
        in_specs=tuple(PartitionSpec(axis) for axis in inputs),
        out_specs=PartitionSpec(*(output or inputs[:1])),
        check_vma=False,
    )
    compiled = jax.jit(local)

    def call(*args: Any) -> T:
        arguments = [
            jax.tree.map(lambda leaf, axis=axis: placed(leaf, mesh, axis), arg)
            for arg, axis in zip(args, inputs, strict=True)
        ]
        return compiled(*arguments)

    return call


def placed(array: Any, mesh: Mesh, axis: str | None) -> jax.Array:
    """The array with its leading axis spread over an axis of the mesh, each device of this process with its part."""
    sharding = NamedSharding(mesh, PartitionSpec(axis))
    if isinstance(array, jax.Array) and array.sharding.is_equivalent_to(sharding, array.ndim):
        return array
    host = np.asarray(array)
    return jax.make_array_from_callback(host.shape, sharding, lambda part: host[part])


def on_cores(function: Callable[[Any], R], items: Iterable[Any]) -> list[R]:
    """`function` of every item, one thread per core of this host."""
    with one_thread_per_product(), ThreadPoolExecutor(cores()) as pool:
        return list(pool.map(function, items))


def only_the_host() -> bool:
    """Whether all that computes is this host's cores as one device."""
    return on_cpu() and (jax.local_device_count() if _ALONE.get() else jax.device_count()) == 1


def fetched(tree: T) -> T:
    """The arrays in host memory, of every process the whole of them."""

    def whole(leaf: jax.Array) -> np.ndarray:
        if not leaf.is_fully_addressable:
            leaf = multihost_utils.process_allgather(leaf, tiled=True)
        return np.asarray(leaf)

    return jax.tree.map(whole, tree)


def to_host(array: jax.Array) -> np.ndarray:
    """Fetch an array to host memory."""
    return np.asarray(jax.device_get(array))
