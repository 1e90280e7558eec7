"""How long each manipulation takes for 1,000 items, on published photographs or on drawn ones."""

import contextlib
import dataclasses
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vla.devices import cores
from vla.records import Dataset, Item
from vla.stimuli import CAPTION_MANIPULATIONS, IMAGE_MANIPULATIONS, Tagger, caption_view, image_view, read_dataset
from vla.stimuli.datasets.coco_masks import PixelMap
from vla.stimuli.images import decode_image

# Pixels of a drawn image: those of most photographs of Flickr8k.
WIDTH, HEIGHT = 500, 375
DRAWN = 100


@dataclasses.dataclass(frozen=True)
class Sizes:
    """What is measured on.

    Attributes:
      dataset: Name of a dataset, as of `vla.stimuli.read_dataset`; items without their photograph are passed over.
      directory: Its files; "" draws images with masks of things and stuff.
      n_items: How many items, at most.
      tagger: A spaCy pipeline by name or folder.
      processes: Processes of the second measurement of tagging.
    """

    dataset: str = "flickr8k"
    directory: str = ""
    n_items: int = 1000
    tagger: str = "en_core_web_sm"
    processes: int = 2


def measure(sizes: Sizes, folder: Path) -> Iterator[dict[str, float]]:
    """Seconds for 1,000 items, everything scaled to that number.

    An image is opened as for a model: read, decoded, manipulated; `original` is the first two. It is done in one thread
    and in as many as extraction takes. A caption is manipulated with its tags there already, and tagging, which costs
    most, is measured by itself. What the dataset or this machine lacks is printed and left out.
    """
    dataset = _drawn(folder, sizes.n_items) if not sizes.directory else _published(sizes)
    print(f"{len(dataset)} items of {dataset.name}; seconds for 1,000 items:", flush=True)
    figures: dict[str, float] = {}
    threads = min(8, max(2, cores()))
    with ThreadPoolExecutor(threads) as pool:
        for name, manipulation in {"original": None, **IMAGE_MANIPULATIONS}.items():
            with _unless_lacking(name):
                spec = {"name": name, **({"unmasked": "drop"} if manipulation and manipulation.masked else {})}
                shown = image_view(dataset, spec)
                pairs = list(zip(shown.stimuli, shown.ids, strict=True))
                with _timed(figures, f"{name}, one thread", len(pairs)):
                    for image, id in pairs:
                        decode_image(image, id)
                with _timed(figures, f"{name}, {threads} threads", len(pairs)):
                    for _ in pool.map(lambda pair: decode_image(*pair), pairs):
                        pass
    with tempfile.TemporaryDirectory() as cache:
        tagged = False
        with _unless_lacking("tagging"):
            tagged = _tagging(figures, dataset, sizes, cache)
        for name, manipulation in CAPTION_MANIPULATIONS.items():
            if tagged or not manipulation.tagged:
                with _timed(figures, name, len(dataset)):
                    caption_view(dataset, 0, name, tagger=Tagger(sizes.tagger, cache))
    yield figures


def _tagging(figures: dict[str, float], dataset: Dataset, sizes: Sizes, cache: str) -> bool:
    """Tag every first caption anew, in one process and in several; leaves the tags in the cache and returns True."""
    captions = [item.captions[0] for item in dataset.items]
    for processes in (1, sizes.processes):
        tagger = Tagger(sizes.tagger, cache if processes == 1 else None, processes)
        Tagger(sizes.tagger, None).tag(["a dog"])  # loading the pipeline is not tagging
        with _timed(figures, f"tagging, {processes} process" + "es" * (processes > 1), len(set(captions))):
            tagger.tag(captions)
    return True


@contextlib.contextmanager
def _timed(figures: dict[str, float], name: str, count: int) -> Iterator[None]:
    """Enter the time that something takes for so many items, scaled to 1,000."""
    started = time.perf_counter()
    yield
    figures[name] = (time.perf_counter() - started) / count * 1000


@contextlib.contextmanager
def _unless_lacking(name: str) -> Iterator[None]:
    """Say what cannot be measured here, and go on."""
    try:
        yield
    except ValueError as error:
        print(f"not measured: {name}: {error}", flush=True)


def _published(sizes: Sizes) -> Dataset:
    """Items of the dataset that was named."""
    options: dict[str, Any] = {"missing_masks": "keep"} if sizes.dataset.startswith("coco") else {}
    everything = read_dataset(sizes.dataset, sizes.directory, missing_images="drop", **options)
    n = min(sizes.n_items, len(everything))
    return read_dataset(sizes.dataset, sizes.directory, n=n, missing_images="drop", **options)


def _drawn(folder: Path, n: int) -> Dataset:
    """Blurred noise as JPEG files with pixel maps, each of them serving several items."""
    images = folder / "drawn_images"
    images.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    items = []
    for number in range(n):
        photograph, labels = (images / f"{number % DRAWN}.{suffix}" for suffix in ("jpg", "png"))
        if number < DRAWN:
            coarse = rng.integers(0, 256, (HEIGHT // 15, WIDTH // 20, 3), np.uint8)
            Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC).save(photograph, quality=92)
            kinds = rng.choice(np.array([17, 123, 255], np.uint8), (HEIGHT // 75, WIDTH // 100))
            Image.fromarray(np.kron(kinds, np.ones((75, 100), np.uint8))).save(labels)
        caption = f"a small dog and {number} people are running on the green grass by the water"
        items.append(
            Item(str(number), photograph, (caption,), segmentation=PixelMap(str(number), labels, HEIGHT, WIDTH))
        )
    return Dataset("drawn images", tuple(items))
