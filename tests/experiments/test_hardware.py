"""Rates of this machine from the seconds that products take, by hand; what is measured of an accelerator."""

import jax
import numpy as np
import psutil
import pytest

from vla.experiments import hardware


def test_rates_are_flops_by_seconds(monkeypatch):
    monkeypatch.setattr(hardware, "_seconds", lambda call: (call(), 0.5)[1])
    assert hardware._product_rate(np.float32) == pytest.approx(2 * 1024**3 / 0.5 / 1e12)
    assert hardware._eigen_rate(20) == pytest.approx(9 * 20**3 / 0.5 / 1e12)


def test_of_a_cpu_all_cores_are_one_and_its_memory_is_the_machines(monkeypatch):
    monkeypatch.setattr(hardware, "_product_rate", lambda dtype: {4: 3.0, 8: 1.0}[np.dtype(dtype).itemsize])
    here = hardware.this_machine.__wrapped__()
    assert (here.bfloat16, here.float32, here.float64) == (3.0, 3.0, 1.0)
    assert here.memory_gib == pytest.approx(psutil.virtual_memory().total / 2**30)
    assert "measured just now" in here.basis and "two cores" in here.basis and "1,024" in here.source


def test_of_accelerators_every_rate_is_that_of_all_of_them_and_eigenvectors_are_timed(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(jax, "local_device_count", lambda: 4)
    monkeypatch.setattr(hardware, "_product_rate", lambda dtype: {2: 9.0, 4: 3.0, 8: 1.0}[np.dtype(dtype).itemsize])
    monkeypatch.setattr(hardware, "_eigen_rate", lambda: 0.01)
    here = hardware.this_machine.__wrapped__()
    assert (here.devices, here.bfloat16, here.float32, here.float64) == (4, 36.0, 12.0, 4.0)
    assert here.float64 * here.share_eigen == pytest.approx(4 * 0.01)
    assert "4 x" in here.words and "eigendecompositions as well" in here.basis and "assumed" in here.basis
    gpu = hardware.accelerators()[0]
    assert (here.share_extraction, here.share_scoring) == (gpu.share_extraction, gpu.share_scoring)


def test_memory_of_accelerators_is_their_own(monkeypatch):
    class Device:
        def __init__(self, limit):
            self.memory_stats = lambda: {"bytes_limit": limit}

    monkeypatch.setattr(jax, "local_devices", lambda: [Device(2**30), Device(3 * 2**30)])
    assert hardware._memory() == 4 * 2**30
