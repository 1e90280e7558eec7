"""Measure speed against a named peer, in one run on this machine.

    python -m launch.benchmark --what=scoring [--size=x_layers=8 --size=y_layers=8 --size=parts=loo,folds]
    python -m launch.benchmark --what=extraction --size=captions=FILE --size=tokenizer=FOLDER [--size=blocks=24]
    python -m launch.benchmark --what=stimuli [--size=dataset=coco_val2017 --size=directory=FOLDER --size=tagger=FOLDER]

Scoring: all pairs of 25 x 31 layers (1,000 items, widths 1,024 and 2,560), both directions, 5 folds, 17 penalties,
against scikit-learn's `RidgeCV` and `GridSearchCV` and himalaya's `KernelRidgeCV` in loops, which are timed on a few
pairs and scaled, and against the final predictions alone; CKA and mutual k-NN with 200 permutations and against
platonic-rep's loop; growth with items and layers, drawn. About ten minutes on two cores.

Extraction: mean-pooled activations of every layer against Hugging Face on torch in float32, for 1,000 captions through
a few blocks of the shapes of BLOOM-560m and of a LLaMA of 1.1B parameters, fed as platonic-rep feeds it (padded to the
longest, batch 4, timed on some captions and scaled) and fed well (sorted by length, batch 32); images through DINOv2
ViT-B/14 against torch's best batch size; a bfloat16 LLaMA of the 7B shape streamed block by block. FILE is a captions
file such as Flickr8k's, FOLDER a tokenizer. Weights are random, written under the working directory (2 GB at a time)
and deleted after each comparison, unless --size=keep=1. About ten minutes on two cores.

Stimuli: seconds for 1,000 items by every manipulation of images, in one thread and in several, and of captions, and by
tagging; on drawn images or on those of a dataset. About three minutes on two cores.
"""

import json
import os
import platform
from typing import Any

from absl import flags

from launch import entry

WHAT = flags.DEFINE_enum("what", "scoring", ["extraction", "scoring", "stimuli"], "What to measure.")
SIZE = flags.DEFINE_multi_string("size", [], "A size to change, as name=value.")
WORKDIR = flags.DEFINE_string("workdir", "workdir", "Where the figures are written.")


def main() -> None:
    """Flags to sizes to figures."""
    from launch.benchmarks import extraction, scoring, stimuli

    folder = entry.directory(WORKDIR.value) / "benchmark"
    module = {"extraction": extraction, "scoring": scoring, "stimuli": stimuli}[WHAT.value]
    sizes = module.Sizes(**_changes(SIZE.value, sorted(module.Sizes.__dataclass_fields__)))
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores; {sizes}")
    path = folder / f"{WHAT.value}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    figures: dict[str, float] = {}
    for part in module.measure(sizes, folder):
        for name, value in part.items():
            print(f"{value:12.4g}  {name}", flush=True)
        figures |= part
        # Written after every part, so that an interrupted run loses one part only.
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
