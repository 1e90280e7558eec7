"""Linear predictivity of all layer pairs against scikit-learn's and himalaya's loops, and against its own floor.

X and Y layers, N items, D and E units.
"""

import functools
import resource
import time
from collections.abc import Callable

import jax
import numpy as np
import xarray as xr

import vla
from launch.benchmarks.scoring_peers import Cell, himalaya_cell, scikit_learn_cell
from vla.metrics import RidgeSettings

Figures = dict[str, float]


def product_rate() -> float:
    """float32 operations per second of a matrix product of the benchmark's shape: the best of NumPy's and JAX's."""
    a, b = np.ones((1000, 800), np.float32), np.ones((800, 2560), np.float32)
    multiply = jax.jit(lambda p, q: jax.numpy.matmul(p, q, precision="highest"))
    held = jax.numpy.asarray(a), jax.numpy.asarray(b)
    best = np.inf
    for run in (lambda: a @ b, lambda: multiply(*held).block_until_ready()):
        for _ in range(10):
            started = time.perf_counter()
            run()
            best = min(best, time.perf_counter() - started)
    return 2 * a.size * b.shape[1] / best


def floor_operations(x: np.ndarray, y: np.ndarray, settings: RidgeSettings) -> float:
    """Of the final predictions alone: (n_test x n_train)(n_train x units) per pair, fold and direction."""
    n, folds = x.shape[1], settings.outer_folds
    return 2.0 * len(x) * len(y) * n * (n - n // folds) * (x.shape[2] + y.shape[2])


def measure_ridge(x: np.ndarray, y: np.ndarray, inner_cv: str | int, pairs: int, himalaya_pairs: int) -> Figures:
    """Both directions once, compilation included; then the peers on a few pairs, scaled to all; the product rate is
    taken before and after."""
    label = "leave-one-out" if inner_cv == "loo" else f"inner {inner_cv}-fold"
    settings = RidgeSettings(inner_cv=inner_cv)
    rates = [product_rate()]
    started = time.perf_counter()
    tables = {"xy": vla.score(x, y, inner_cv=inner_cv), "yx": vla.score(y, x, inner_cv=inner_cv)}
    ours = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    rates.append(product_rate())
    print(f"{label}: all pairs in {ours:.1f} s", flush=True)
    floor = floor_operations(x, y, settings) / max(rates)
    figures = {
        "seconds": ours,
        "seconds of the floor": floor,
        "times the floor": ours / floor,
        "float32 products, GFLOP/s": max(rates) / 1e9,
        "peak memory of the process so far, GiB": peak,
    }
    double = functools.partial(himalaya_cell, dtype=np.float64)
    peers = [
        ("scikit-learn", scikit_learn_cell, pairs, np.float64),
        ("himalaya", himalaya_cell, himalaya_pairs, None),
        ("himalaya in float64", double, himalaya_pairs, None),
    ]
    for name, cell, count, dtype in peers:
        if count:
            figures.update(_against(name, cell, count, dtype, x, y, settings, tables, ours))
    return {f"{label}: {name}": value for name, value in figures.items()}


def _against(
    name: str,
    cell: Callable[[np.ndarray, np.ndarray, RidgeSettings], Cell],
    count: int,
    dtype: type | None,
    x: np.ndarray,
    y: np.ndarray,
    settings: RidgeSettings,
    tables: dict[str, xr.Dataset],
    ours: float,
) -> Figures:
    rng = np.random.default_rng(0)
    seconds, off_r, off_alpha, fits = 0.0, 0.0, 0, 0
    for _ in range(count):
        i, j = int(rng.integers(len(x))), int(rng.integers(len(y)))
        for direction, sides, places in (("xy", (x[i], y[j]), (i, j)), ("yx", (y[j], x[i]), (j, i))):
            a, b = (side if dtype is None else side.astype(dtype) for side in sides)
            started = time.perf_counter()
            scores, alphas = cell(a, b, settings)
            seconds += time.perf_counter() - started
            pair = tables[direction][{"x_layer": places[0], "y_layer": places[1]}]
            off_r = max(off_r, float(np.abs(pair["fold_score"].values - scores).max()))
            off_alpha += int(np.sum(~np.isclose(pair["alpha"].values, alphas, rtol=1e-6)))
            fits += len(alphas)
    each = seconds / (2 * count)
    peer = each * 2 * len(x) * len(y)
    return {
        f"{name} seconds per layer pair and direction": each,
        f"{name} seconds, scaled to all pairs": peer,
        f"times faster than {name}": peer / ours,
        f"{name}: largest difference of r on the timed pairs": off_r,
        f"{name}: penalties that differ on the timed pairs": float(off_alpha),
        f"{name}: penalties compared": float(fits),
    }
