"""Meshes, processes, precision and where arrays live: the one place that knows devices."""

import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from threadpoolctl import ThreadpoolController

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

# What a function takes that asks its arrays for their `__array_namespace__`; to a static checker, which cannot know
# that all of them are of one library, anything.
if TYPE_CHECKING:
    AnyArray = Any
else:
    AnyArray = jax.Array | np.ndarray

# Whether what runs here concerns this process alone, whatever processes have joined.
_ALONE: ContextVar[bool] = ContextVar("alone", default=False)

# The axes of a mesh: items are spread over the first, parts of one copy of the weights over the second.
DATA, MODEL = "data", "model"


@functools.cache
def mesh(model: Any = 1) -> Mesh:
    """All devices of this process on two axes, `data` and `model`.

    Args:
      model: Devices that share one copy of the weights.

    Raises:
      ValueError: The devices cannot be put in groups of that size.
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
    """Into how many parts a batch is split: that of the axis `data`."""
    return mesh.shape[DATA]


def from_parts(shape: tuple[int, ...], read: Callable[[Any], np.ndarray], sharding: NamedSharding) -> jax.Array:
    """An array each device of which holds only its part, made without a copy of the whole on the host.

    Args:
      shape: Of the whole array.
      read: Called once with every part that some device wants, one slice per axis; returns that part.
      sharding: Which part each device holds.
    """
    parts: dict[Any, np.ndarray] = {}

    def once(index: Any) -> np.ndarray:
        key = tuple(part.indices(size) for part, size in zip(index, shape, strict=True))
        if key not in parts:
            parts[key] = read(index)
        return parts[key]

    return jax.make_array_from_callback(shape, sharding, once)


def sharded(mesh: Mesh, axis: int | None = None) -> NamedSharding:
    """Arrays whose given axis is spread over the axis `model` of the mesh; None for arrays that all devices hold."""
    return NamedSharding(mesh, PartitionSpec() if axis is None else PartitionSpec(*[None] * axis, MODEL))


def split_leading(tree: T, mesh: Mesh) -> T:
    """Spread the leading axis of every array over the axis `data`; it must divide by `groups(mesh)`."""
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec(DATA)))


def join(coordinator: str | None = None, processes: int | None = None, process: int | None = None) -> None:
    """Make this process one of several that share the work; before anything else touches a device.

    Without arguments where SLURM, Open MPI, Kubernetes or Cloud TPU say who takes part; equivalent to
    jax.distributed.initialize.

    Args:
      coordinator: host:port of the first process.
      processes: How many there are.
      process: The number of this one, from 0.

    Raises:
      ValueError: The others cannot be found.
    """
    try:
        jax.distributed.initialize(coordinator, processes, process)
    except Exception as error:  # the coordination service and its detectors raise what they like
        given = f"coordinator {coordinator!r}, process {process!r} of {processes!r}"
        raise ValueError(
            f"cannot join the other processes ({given}): {str(error).strip() or type(error).__name__}. Start one "
            "process per host, each with the same coordinator=host:port and number of processes and a number of its "
            "own; or none of these under SLURM or on Cloud TPU"
        ) from error


def this_process() -> tuple[int, int]:
    """The number of this process, from 0, and how many there are."""
    return jax.process_index(), jax.process_count()


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """What this thread does inside concerns this process only: layers are spread over its own devices, and the other
    processes, which may be at other work, are not waited for.
    """
    before = _ALONE.set(True)
    try:
        yield
    finally:
        _ALONE.reset(before)


def wait_for_all(where: str) -> None:
    """Return when every process has come to the same place, which bears the name `where`."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(where)


def on_cpu() -> bool:
    """Whether computing happens on the host's own cores."""
    return jax.default_backend() == "cpu"


def multiplied_here(tree: T) -> T:
    """The same arrays as the library has them that multiplies matrices fastest: on the host's own cores NumPy, whose
    BLAS takes one thread per product and leaves the other cores to other threads; elsewhere JAX, which has them.
    """
    return jax.tree.map(np.asarray, tree) if on_cpu() else tree


def compiled(function: Callable[P, R], **how: Any) -> Callable[P, R]:
    """`jax.jit(function, **how)` of JAX's arrays; of NumPy's alone `function` itself, silent about 0 / 0.

    `function` serves both by asking its arrays for their `__array_namespace__`.
    """
    jitted = jax.jit(function, **how)

    @functools.wraps(function)
    def either(*args: P.args, **kwargs: P.kwargs) -> R:
        if any(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves((args, kwargs))):
            return jitted(*args, **kwargs)
        with np.errstate(all="ignore"):
            return function(*args, **kwargs)

    return either


# A layer of so many bytes is computed sooner than the programs for its shape are compiled.
_SMALL_BYTES = 1 << 21


def loaded(array: np.ndarray, each: int | None = None) -> Any:
    """The array for functions that are `compiled`: as JAX's, but on the host's own cores as it is where it is small.

    Args:
      array: In host memory.
      each: Bytes that count: those of a layer where the array has many; of the whole unless given.
    """
    small = (array.nbytes if each is None else each) <= _SMALL_BYTES
    return np.asarray(array) if on_cpu() and small else jnp.asarray(array)


def mapped(function: Callable[[Any], T], arrays: Any) -> T:
    """`jax.lax.map(function, arrays)`; of NumPy's arrays, one call after another."""
    leaves, structure = jax.tree.flatten(arrays)
    if any(isinstance(leaf, jax.Array) for leaf in leaves):
        return jax.lax.map(function, arrays)
    found = [function(structure.unflatten(own)) for own in zip(*leaves, strict=True)]
    return jax.tree.map(lambda *parts: np.stack(parts), *found)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def full_precision() -> Iterator[None]:
    """Trace matrix products at the full width of their operands: no TF32 on GPUs, no bfloat16 passes on TPUs."""
    with jax.default_matmul_precision("highest"):
        yield


def in_float64(function: Callable[P, R]) -> Callable[P, R]:
    """Run `function` with 64-bit types enabled and full matrix precision.

    float64 input then stays float64 and factorisations may ask for it; outside such functions JAX
    keeps its 32-bit default. What was decorated where a default device is chosen computes there from any thread: JAX
    keeps types, precision and device thread by thread.
    """
    chosen = jax.config.jax_default_device  # pyright: ignore[reportAttributeAccessIssue]

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        where = contextlib.nullcontext() if chosen is None else jax.default_device(chosen)
        with where, jax.enable_x64(True), full_precision():
            return function(*args, **kwargs)

    return wrapped


def workers() -> int:
    """Threads that one device of this process can keep busy: its share of the cores where it is one of the host's."""
    return max(1, cores() // jax.local_device_count()) if on_cpu() else 1


@functools.cache
def _blas() -> ThreadpoolController:
    """The libraries of linear algebra, looked for once: that reads the maps of the whole process."""
    return ThreadpoolController().select(user_api="blas")


@contextlib.contextmanager
def one_thread_per_product() -> Iterator[None]:
    """NumPy's BLAS and LAPACK take one thread in this process: several threads multiply beside each other."""
    with _blas().limit(limits=1):
        yield


def spread_layers(function: Callable[..., T]) -> Callable[..., T]:
    """Split the layers of the first argument over all devices of all processes.

    Each device computes its layers as one device computes all of them, so that the numbers are the same; each
    process gets the whole result. With several processes all of them must call with the same arguments, unless they
    are `alone`.

    Args:
      function: Its first argument is an array with a leading axis of layers; returns arrays whose second axis is that
        of these layers.
    """

    @functools.wraps(function)
    def spread(x: Any, *args: Any, **kwargs: Any) -> T:
        here, (number, processes) = jax.local_devices(), (0, 1) if _ALONE.get() else this_process()
        # LAPACK gains little from more threads for one matrix, and one matrix per thread needs none.
        with one_thread_per_product():
            if processes * min(len(here), len(x)) == 1:
                return function(x, *args, **kwargs)
            own = -(-len(x) // processes)
            # Equal numbers for all processes; what is beyond the last layer repeats it.
            layers = np.minimum(np.arange(number * own, (number + 1) * own), len(x) - 1)

            def on(device: Any, some: np.ndarray) -> T:
                with jax.default_device(device):
                    return function(x[some], *args, **kwargs)

            parts = [part for part in np.array_split(layers, len(here)) if len(part)]
            with ThreadPoolExecutor(len(parts)) as pool:
                found = list(pool.map(on, here, parts))
        whole = jax.tree.map(lambda *leaves: np.concatenate(leaves, axis=1), *found)
        return whole if processes == 1 else _from_all_processes(whole, len(x))

    return spread


@in_float64
def _from_all_processes(part: T, count: int) -> T:
    def gathered(leaf: np.ndarray) -> np.ndarray:
        everyone = np.asarray(multihost_utils.process_allgather(leaf))
        return np.concatenate(list(everyone), axis=1)[:, :count]

    return jax.tree.map(gathered, part)


def to_host(array: jax.Array) -> np.ndarray:
    """Fetch an array to host memory."""
    return np.asarray(jax.device_get(array))
