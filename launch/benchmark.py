"""Measure speed against a named peer, in one run on this machine.

    python -m launch.benchmark --what=scoring [--size=x_layers=25 --size=y_layers=31 --size=inner_cv=5]

Scoring: all pairs of 8 x 8 layers, both directions, 5 folds, 17 penalties, against scikit-learn's `RidgeCV` loop, which
is timed on a few pairs and scaled. About two minutes on two cores.
"""

import json
import os
import platform
from typing import Any

from absl import flags

from launch import entry

WHAT = flags.DEFINE_enum("what", "scoring", ["scoring"], "What to measure.")
SIZE = flags.DEFINE_multi_string("size", [], "A size to change, as name=value.")
WORKDIR = flags.DEFINE_string("workdir", "workdir", "Where the figures are written.")


def main() -> None:
    """Flags to sizes to figures."""
    from launch.benchmarks import scoring

    sizes = scoring.Sizes(**_changes(SIZE.value, sorted(scoring.Sizes.__dataclass_fields__)))
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores; {sizes}")
    print("scikit-learn is timed on a few layer pairs and scaled to all of them.")
    figures = scoring.measure(sizes)
    for name, value in figures.items():
        print(f"{value:12.4g}  {name}")
    path = entry.directory(WORKDIR.value) / "benchmark" / f"{WHAT.value}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"sizes": str(sizes), **figures}, indent=2) + "\n", encoding="utf-8")
    print(path)


def _changes(texts: list[str], known: list[str]) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for text in texts:
        name, _, value = text.partition("=")
        if name not in known:
            raise ValueError(f"Unknown size {name!r}; expected one of {known}.")
        changes[name] = int(value) if value.isdigit() else value
    return changes


if __name__ == "__main__":
    entry.run(main)
