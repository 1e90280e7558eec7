"""Images are decoded ahead of the device, by threads or processes, and come out in order."""

import contextlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.activations import tiny
from vla.activations import images as module
from vla.activations.extract import extract
from vla.activations.images import image_batches


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.vision(tmp_path_factory.mktemp("vision") / "tiny-dinov2")[0]


@pytest.fixture
def given_pixels(monkeypatch):
    """Decoders that take pixels as they are."""

    @contextlib.contextmanager
    def decoders(process, workers):
        with module.ThreadPoolExecutor(3) as threads:
            yield threads, lambda image, name: (name, image)

    monkeypatch.setattr(module, "_decoders", decoders)


def test_many_shapes_do_not_pile_up(model, monkeypatch, given_pixels):
    """Images that wait for company are let go when they are too many."""
    monkeypatch.setattr(module, "_WAITING_BATCHES", 1)
    pixels = [np.full((3, 7 * (2 + i % 4), 14), i, np.float32) for i in range(20)]
    seen = list(image_batches(model, pixels, list(map(str, range(20))), 3))
    assert sorted(row for _, places in seen for row in places.items) == list(range(20))
    for batch, places in seen:
        assert batch.pixels[: len(places.items), 0, 0, 0].tolist() == places.items.tolist()
        assert len(batch.pixels) == 3
    assert max(places.items[-1] - places.items[0] for _, places in seen) <= 8


def test_only_a_few_are_decoded_ahead(model, monkeypatch):
    decoded = []

    def decode(image, name):
        decoded.append(name)
        return Image.fromarray(image)

    monkeypatch.setattr(module, "decode_image", decode)
    names = [str(i) for i in range(40)]
    batches = image_batches(model, tiny.pictures(40), names, 4)
    next(batches)
    assert len(decoded) <= 4 + 2 * 4 + 1
    batches.close()
    assert len(decoded) <= 20


def paths_of(pictures: list[np.ndarray], folder: Path) -> list[Path]:
    paths = [folder / f"{i}.png" for i in range(len(pictures))]
    for path, picture in zip(paths, pictures, strict=True):
        Image.fromarray(picture).save(path)
    return paths


def test_worker_processes_give_what_threads_give(model, tmp_path):
    paths, names = paths_of(tiny.pictures(8), tmp_path), list("abcdefgh")
    threads = [batch.pixels for batch, _ in image_batches(model, paths, names, 2)]
    paths[7].write_bytes(paths[7].read_bytes()[:60])
    processes = image_batches(model, paths, names, 2, workers=2)
    for whole in threads[:3]:
        batch, _ = next(processes)
        np.testing.assert_array_equal(batch.pixels, whole)
    with pytest.raises(ValueError, match=r"image of item 'h' \(.*7\.png\) cannot be read"):
        next(processes)


@pytest.mark.parametrize("workers", [-1, 1.5, True, "two"])
def test_workers_is_a_whole_number(model, workers):
    with pytest.raises(ValueError, match="workers=.*; expected a whole number of at least 0"):
        extract(model, tiny.pictures(1), workers=workers)
