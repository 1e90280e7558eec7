"""Seconds and memory of what a benchmark runs."""

import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Figures = dict[str, float]


def timed(work: Callable[[], Any], step: str = "") -> tuple[float, Any]:
    """Seconds that it takes, and what it gives; `step` is printed before it begins."""
    if step:
        print(f"  {step} ...", flush=True)
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


def peak_gib() -> float:
    """The most memory that this process has had, in GiB."""
    status = Path("/proc/self/status")
    if status.is_file():
        # not getrusage: what it says begins with what the parent had
        [line] = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**30
