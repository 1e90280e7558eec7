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
    """Rates measured here and now in a few seconds: products in float32 and float64.

    On a CPU by the processor's time, so that what else runs at the moment does not count.
    """
    single, double = _product_rate(np.float32), _product_rate(np.float64)
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
        share_extraction=SHARE_EXTRACTION,
        share_scoring=SHARE_SCORING,
        share_eigen=SHARE_EIGEN,
        source="products of 1,024 x 1,024 matrices",
        basis="rates of products measured just now; shares of them as measured on two cores: "
        f"{SHARE_EXTRACTION:.0%} in forward passes, {SHARE_SCORING:.0%} in scoring, {SHARE_EIGEN:.0%} in "
        "eigendecompositions",
    )


@devices.in_float64
def _product_rate(dtype: type) -> float:
    """TFLOP/s of large products."""
    a = jnp.asarray(np.random.default_rng(0).standard_normal((1024, 1024)), dtype)
    product = jax.jit(lambda x: x @ x)
    product(a).block_until_ready()
    return max(2 * 1024**3 / _seconds(lambda: product(a).block_until_ready()) for _ in range(3)) / 1e12


def _seconds(call: Callable[[], Any]) -> float:
    """Of a call: by the clock, or on a CPU by the time of its cores, shared out over them."""
    if jax.default_backend() != "cpu":
        began = time.perf_counter()
        call()
        return time.perf_counter() - began
    began = time.process_time()
    call()
    return (time.process_time() - began) / devices.cores()
