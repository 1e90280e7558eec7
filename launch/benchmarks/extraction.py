"""Extraction of every layer's activations against Hugging Face on torch, measured in one run.

Every comparison has processes of its own, so that none finds the memory or the threads of another, and one that is
killed costs no more than itself.
"""

import csv
import dataclasses
import multiprocessing
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from launch.benchmarks import extraction_streamed, extraction_torch
from launch.benchmarks import random_checkpoints as shapes
from launch.benchmarks.timing import Figures

PARTS = ("bloom", "llama", "dinov2", "streamed")


@dataclasses.dataclass(frozen=True)
class Sizes:
    """What is extracted.

    Attributes:
      captions: A captions file such as Flickr8k's: a header, then `image,caption` per line; the first of each image
        is taken.
      tokenizer: Folder of the tokenizer for every language model, whatever its shape.
      n_captions: How many.
      slow_captions: How many of them torch is timed on as platonic-rep feeds it.
      blocks: Blocks of the language models that are compared; all others are like them.
      streamed_blocks: Blocks of the streamed model.
      n_images: Images for DINOv2.
      parts: Which comparisons: bloom, llama, dinov2, streamed.
      keep: 1 leaves the weights on the disk for a next run; otherwise those of a comparison go when it is done.
    """

    captions: str = ""
    tokenizer: str = ""
    n_captions: int = 1000
    slow_captions: int = 200
    blocks: int = 6
    streamed_blocks: int = 4
    n_images: int = 32
    parts: str = ",".join(PARTS)
    keep: int = 0


def measure(sizes: Sizes, folder: Path) -> Iterator[Figures]:
    """One comparison after another; yields seconds, ratios, differences and memory of each by name.

    Raises:
      ValueError: An unknown part, no captions or tokenizer where they are needed, not enough disk.
    """
    parts = sizes.parts.split(",")
    if set(parts) - set(PARTS):
        raise ValueError(f"parts={sizes.parts!r}: expected some of {','.join(PARTS)}")
    captions: list[str] = []
    if set(parts) - {"dinov2"}:
        if not (sizes.captions and sizes.tokenizer):
            raise ValueError("set --size=captions=FILE and --size=tokenizer=FOLDER")
        if not Path(sizes.tokenizer).is_dir():
            raise ValueError(f"there is no folder {sizes.tokenizer}; name that of a tokenizer as --size=tokenizer=")
        captions = read_captions(sizes)
    for part in parts:
        started = time.perf_counter()
        config, dtype, work = _planned(part, sizes, captions)
        where = folder / f"{part}-weights"
        try:
            print(f"{part}: writing {shapes.size(config, dtype) / 1e9:.1f} GB of random weights", flush=True)
            _alone(shapes.write, where, config, dtype)
            measured = _alone(*work, where)
        except BrokenProcessPool:
            print(f"{part}: not measured: its process was killed, most often for want of memory", flush=True)
            continue
        finally:
            if not sizes.keep:
                shutil.rmtree(where, ignore_errors=True)
        print(f"{part}: measured in {time.perf_counter() - started:.0f} s", flush=True)
        yield {f"{part}: {what}": value for what, value in measured.items()}


def read_captions(sizes: Sizes) -> list[str]:
    """The first caption of each image, in the order of the file."""
    first: dict[str, str] = {}
    try:
        with open(sizes.captions, newline="", encoding="utf-8") as file:
            for row in list(csv.reader(file))[1:]:
                first.setdefault(row[0], ",".join(row[1:]))
    except OSError as error:
        raise ValueError(
            f"{sizes.captions} cannot be read: {error.strerror}; name a file as --size=captions="
        ) from error
    captions = list(first.values())[: sizes.n_captions]
    if len(captions) < sizes.n_captions:
        raise ValueError(
            f"{sizes.captions} has captions of {len(captions)} images; set --size=n_captions={len(captions)}"
        )
    return captions


def _planned(part: str, sizes: Sizes, captions: list[str]) -> tuple[dict[str, Any], str, tuple[Any, ...]]:
    """The config of a comparison's model, its dtype, and what measures it: a function and its first arguments."""
    if part == "dinov2":
        return shapes.DINOV2_BASE, "float32", (extraction_torch.images, sizes.n_images)
    if part == "streamed":
        config = shapes.LLAMA_7B | {"num_hidden_layers": sizes.streamed_blocks}
        return config, "bfloat16", (extraction_streamed.streamed, captions, sizes.tokenizer, sizes.streamed_blocks)
    config, depth = {"bloom": (shapes.BLOOM_560M, "n_layer"), "llama": (shapes.LLAMA_1B, "num_hidden_layers")}[part]
    work = (extraction_torch.captions, captions, sizes.tokenizer, sizes.slow_captions, sizes.blocks, config[depth])
    return config | {depth: sizes.blocks}, "float32", work


def _alone(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function gives in a process that has done nothing else."""
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawned) as executor:
        return executor.submit(function, *arguments).result()
