"""Scoring of all layer pairs against the field's loops, measured in one run."""

import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import vla
from launch.benchmarks.scoring_growth import both_sides, measure_growth
from launch.benchmarks.scoring_peers import platonic_pair
from launch.benchmarks.scoring_ridge import measure_ridge

PARTS = ("loo", "folds", "tables", "growth")


@dataclasses.dataclass(frozen=True)
class Sizes:
    """What is scored: by default the shape of DINOv2 L/14 against BLOOMZ-3B.

    Attributes:
      x_layers: Layers of one side.
      y_layers: Layers of the other.
      n_items: Items.
      x_width: Units of one side.
      y_width: Units of the other.
      loo_pairs: Layer pairs that scikit-learn is timed on with leave-one-out, in both directions.
      fold_pairs: Layer pairs that scikit-learn is timed on with inner folds, in both directions.
      himalaya_pairs: Layer pairs that himalaya is timed on with inner folds, in both directions, in each precision.
      inner_folds: How many inner folds.
      permutations: Of the null of CKA and mutual k-NN.
      table_pairs: Layer pairs that platonic-rep's loop is timed on.
      most_items: Items up to which growth is measured.
      most_layers: Layers of each side up to which growth is measured.
      parts: Which comparisons: loo, folds, tables, growth.
    """

    x_layers: int = 25
    y_layers: int = 31
    n_items: int = 1000
    x_width: int = 1024
    y_width: int = 2560
    loo_pairs: int = 2
    fold_pairs: int = 1
    himalaya_pairs: int = 3
    inner_folds: int = 5
    permutations: int = 200
    table_pairs: int = 20
    most_items: int = 8000
    most_layers: int = 16
    parts: str = ",".join(PARTS)


def measure(sizes: Sizes, folder: Path) -> Iterator[dict[str, float]]:
    """One comparison after another; yields seconds, ratios, differences and memory by name; figures into `folder`.

    Raises:
      ValueError: An unknown part.
    """
    parts = sizes.parts.split(",")
    if not set(parts) <= set(PARTS):
        raise ValueError(f"parts={sizes.parts!r}: expected some of {', '.join(PARTS)}.")
    x, y = both_sides(sizes.x_layers, sizes.y_layers, sizes.n_items, sizes.x_width, sizes.y_width)
    measured = {
        "loo": lambda: measure_ridge(x, y, "loo", sizes.loo_pairs, 0),
        "folds": lambda: measure_ridge(x, y, sizes.inner_folds, sizes.fold_pairs, sizes.himalaya_pairs),
        "tables": lambda: measure_tables(x, y, sizes.permutations, sizes.table_pairs),
        "growth": lambda: measure_growth(folder, sizes.most_items, sizes.most_layers),
    }
    for part in parts:
        started = time.perf_counter()
        figures = measured[part]()
        print(f"{part}: measured in {time.perf_counter() - started:.0f} s", flush=True)
        yield figures


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
