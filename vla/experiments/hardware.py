"""The machines for which a plan is estimated: accelerators by published peaks, this machine by measurement."""

import dataclasses
import functools
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import psutil

from vla import devices

# What was measured on two cores of a CPU, as a share of the rate of large products in the same precision, both by the
# processor's time: forward passes of DINOv2 ViT-B/14, and scoring 6 by 6 layers of 1,000 items and widths of 1,024 and
# 2,560. With these shares all 25 by 31 layers are estimated at 112 s, and took 120 s with compilation.
SHARE_EXTRACTION, SHARE_SCORING, SHARE_EIGEN = 0.8, 0.9, 0.4

# Rows of the matrices that are multiplied to measure an accelerator.
LARGE = 8192

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
    """Rates measured here and now in a few seconds: products in each precision, of an accelerator eigenvectors as well.

    On a CPU by the processor's time, so that what else runs at the moment does not count.
    """
    cpu = jax.default_backend() == "cpu"
    kind, count = jax.devices()[0].device_kind, 1 if cpu else jax.local_device_count()
    single, double = (count * _product_rate(dtype) for dtype in (np.float32, np.float64))
    half = single if cpu else count * _product_rate(jnp.bfloat16)
    shares = (SHARE_EXTRACTION, SHARE_SCORING, SHARE_EIGEN)
    basis = (
        f"shares of them as measured on two cores: {SHARE_EXTRACTION:.0%} in forward passes, {SHARE_SCORING:.0%} in "
        f"scoring, {SHARE_EIGEN:.0%} in eigendecompositions"
    )
    if not cpu:
        gpu = accelerators()[0]
        shares = (gpu.share_extraction, gpu.share_scoring, count * _eigen_rate() / double)
        basis = (
            f"eigendecompositions as well; shares of products assumed: {gpu.share_extraction:.0%} in forward passes, "
            f"{gpu.share_scoring:.0%} in scoring"
        )
    return Hardware(
        id="here",
        words=f"this machine ({f'{kind}, {devices.cores()} cores' if cpu else f'{count} x {kind}'})",
        devices=jax.local_device_count(),
        bfloat16=half,
        float32=single,
        float64=double,
        memory_gib=_memory() / 2**30,
        bandwidth_gb=0.0,
        share_extraction=shares[0],
        share_scoring=shares[1],
        share_eigen=shares[2],
        source=f"products of {_side():,} x {_side():,} matrices",
        basis=f"rates of products measured just now; {basis}",
    )


def _memory() -> float:
    """Bytes: of the machine, or of its accelerators together where these say."""
    known = [(device.memory_stats() or {}).get("bytes_limit", 0) for device in jax.local_devices()]
    return float(sum(known)) if all(known) else float(psutil.virtual_memory().total)


def _side() -> int:
    """Of matrices so large that starting their product does not count."""
    return 1024 if jax.default_backend() == "cpu" else LARGE


@devices.in_float64
def _product_rate(dtype: Any) -> float:
    """TFLOP/s of large products on one device, float32 in full precision; of a CPU all of its cores are one."""
    a = jnp.asarray(np.random.default_rng(0).standard_normal((_side(), _side())), dtype)
    product = jax.jit(lambda x: jnp.matmul(x, x, precision="highest"))
    product(a).block_until_ready()
    return max(2 * _side() ** 3 / _seconds(lambda: product(a).block_until_ready()) for _ in range(3)) / 1e12


@devices.in_float64
def _eigen_rate(n: int = 800) -> float:
    """TFLOP/s of eigendecompositions of as many items as a training fold has, by 9 n^3 flops each, on one device."""
    a = np.random.default_rng(0).standard_normal((n, n))
    gram, solve = jnp.asarray(a @ a.T), jax.jit(jnp.linalg.eigh)
    jax.block_until_ready(solve(gram))
    return 9 * n**3 / _seconds(lambda: jax.block_until_ready(solve(gram))) / 1e12


def _seconds(call: Callable[[], Any]) -> float:
    """Of a call: by the clock, or on a CPU by the time of its cores, shared out over them."""
    if jax.default_backend() != "cpu":
        began = time.perf_counter()
        call()
        return time.perf_counter() - began
    began = time.process_time()
    call()
    return (time.process_time() - began) / devices.cores()
