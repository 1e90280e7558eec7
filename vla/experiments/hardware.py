"""The machines for which a plan is estimated: accelerators by published peaks, this machine by measurement."""

import dataclasses
import functools
import time
import tomllib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import psutil

from vla import devices

TABLE = Path(__file__).with_name("hardware.toml")


@dataclasses.dataclass(frozen=True)
class Hardware:
    """Rates of a machine in TFLOP/s, and the shares of them that are taken to be reached.

    Attributes:
      id: Short name.
      words: For readers.
      devices: How many share the work.
      bfloat16: Peak of matrix products.
      float32: Likewise, in full precision.
      float64: Likewise.
      memory_gib: Of all devices together.
      bandwidth_gb: Bytes from memory, GB/s.
      share_extraction: Share of the peak in forward passes.
      share_scoring: Share of the float64 peak in products of scoring.
      share_eigen: Share of it in eigendecompositions.
      source: Of the peaks.
      basis: What was measured and what assumed.
    """

    id: str
    words: str
    devices: int
    bfloat16: float
    float32: float
    float64: float
    memory_gib: float
    bandwidth_gb: float
    share_extraction: float
    share_scoring: float
    share_eigen: float
    source: str
    basis: str


def accelerators() -> tuple[Hardware, ...]:
    """Those of `hardware.toml`."""
    entries = tomllib.loads(TABLE.read_text(encoding="utf-8"))["hardware"]
    return tuple(Hardware(**entry) for entry in entries)


@functools.cache
def this_machine() -> Hardware:
    """Rates measured here and now in about two seconds: products in float32 and float64, one eigendecomposition."""
    single, double = _product_rate(np.float32), _product_rate(np.float64)
    eigen = _eigen_rate()
    cores = devices.cores()
    kind = jax.devices()[0].device_kind
    return Hardware(
        id="here",
        words=f"this machine ({kind}, {cores} cores)",
        devices=jax.local_device_count(),
        bfloat16=single,
        float32=single,
        float64=double,
        memory_gib=psutil.virtual_memory().total / 2**30,
        bandwidth_gb=0.0,
        # Assumed, not measured: what forward passes and scoring reach of the rate of large products.
        share_extraction=0.7,
        share_scoring=0.5,
        share_eigen=eigen / double,
        source="measured: products of 1,024 x 1,024 matrices, an eigendecomposition of 512 x 512",
        basis="rates measured just now, with whatever else runs here; shares of them assumed",
    )


@devices.in_float64
def _product_rate(dtype: type) -> float:
    """TFLOP/s of large products."""
    a = jnp.asarray(np.random.default_rng(0).standard_normal((1024, 1024)), dtype)
    product = jax.jit(lambda x: x @ x)
    product(a).block_until_ready()
    return max(2 * 1024**3 / _seconds(lambda: product(a).block_until_ready()) for _ in range(3)) / 1e12


@devices.in_float64
def _eigen_rate() -> float:
    """TFLOP/s of an eigendecomposition, counted as 9 n^3."""
    a = np.random.default_rng(0).standard_normal((512, 512))
    solve = jax.jit(jnp.linalg.eigh)
    symmetric = jnp.asarray(a @ a.T)
    jax.block_until_ready(solve(symmetric))
    return 9 * 512**3 / _seconds(lambda: jax.block_until_ready(solve(symmetric))) / 1e12


def _seconds(call) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
