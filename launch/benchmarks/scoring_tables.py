"""CKA and mutual k-NN of all layer pairs: the cost of a null, and platonic-rep's loop.

X and Y layers, N items, D and E units.
"""

import time

import numpy as np

import vla
from launch.benchmarks.scoring_peers import platonic_pair

NEIGHBOURS = 10


def measure_tables(x: np.ndarray, y: np.ndarray, permutations: int, pairs: int) -> dict[str, float]:
    """Seconds of one table and of one with a null, and of platonic-rep's loop timed on a few pairs; a first table of
    the same shape, not counted, compiles."""
    figures: dict[str, float] = {}
    for metric in ("cka", "mutual_knn"):
        vla.score(x[:2], y, metric=metric, null=1)
        seconds, tables = [], []
        for null in (0, permutations):
            started = time.perf_counter()
            tables.append(vla.score(x, y, metric=metric, null=null))
            seconds.append(time.perf_counter() - started)
        figures[f"{metric}: seconds of one table"] = seconds[0]
        figures[f"{metric}: seconds with {permutations} permutations"] = seconds[1]
        figures[f"{metric}: times one table"] = seconds[1] / seconds[0]
    seconds_of_one, table = figures["mutual_knn: seconds of one table"], tables[0]["score"].values
    for name, sort in (("platonic-rep's loop", True), ("the same with topk", False)):
        rng, off = np.random.default_rng(0), 0.0
        platonic_pair(x[0], y[0], NEIGHBOURS, sort=sort)
        started = time.perf_counter()
        for _ in range(pairs):
            i, j = int(rng.integers(len(x))), int(rng.integers(len(y)))
            off = max(off, abs(platonic_pair(x[i], y[j], NEIGHBOURS, sort=sort) - table[i, j]))
        loop = (time.perf_counter() - started) / pairs * len(x) * len(y)
        figures[f"mutual_knn: seconds of {name}, scaled to all pairs"] = loop
        figures[f"mutual_knn: times faster than {name}"] = loop / seconds_of_one
        figures[f"mutual_knn: largest difference from {name}"] = off
    return figures
