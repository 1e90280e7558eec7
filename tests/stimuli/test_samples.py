"""Samples hold what the first common items of some views look like."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from tests.stimuli.example_images import noise, smooth, values
from vla.records import View
from vla.stimuli.samples import write_samples


def _view(name, ids, stimuli, modality="vision", left_out=()):
    return View(name, modality, tuple(ids), tuple(stimuli), "0", tuple(left_out))


def _files(folder, images):
    folder.mkdir()
    paths = [folder / f"{place}.png" for place in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        image.save(path)
    return paths


def test_samples_show_the_first_items_that_all_views_have(tmp_path):
    files = _files(tmp_path / "images", [smooth(200, 100), noise(), noise(seed=1), noise(seed=2)])
    images = _view("w/grey", "abcd", files)
    captions = [
        _view(f"w/{k}", "dba", [f"{k} of {id}, 犬" for id in "dba"], "language", "c") for k in ("first", "second")
    ]
    path = write_samples(tmp_path / "samples", "w/grey--2 captions", [images], captions, n=2, side=50)
    assert path.name == "w-grey--2-captions.json" and list((tmp_path / "samples").iterdir()) == [path]
    found = json.loads(path.read_text(encoding="utf-8"))
    assert [item["id"] for item in found["items"]] == ["a", "b"]
    assert found["items"][1]["captions"] == ["first of b, 犬", "second of b, 犬"]
    assert (found["n_items"], found["left_out"]) == (3, 1)
    shown = [Image.open(io.BytesIO(base64.b64decode(item["images"][0]))) for item in found["items"]]
    assert [image.size for image in shown] == [(50, 25), (40, 30)]
    # Noise is smaller as a JPEG: what is shown is what PIL makes of the same pixels, none resized.
    assert shown[1].format == "JPEG"
    np.testing.assert_array_equal(values(shown[1]), values(_as_jpeg(noise())))
    resized = values(smooth(200, 100).resize((50, 25), Image.Resampling.LANCZOS))
    assert np.abs(values(shown[0].convert("RGB")) - resized).mean() < 4
    first = path.read_bytes()
    write_samples(tmp_path / "samples", "w/grey--2 captions", [images], captions, n=2, side=50)
    assert path.read_bytes() == first


def _as_jpeg(image):
    file = io.BytesIO()
    image.save(file, "JPEG", quality=82)
    return Image.open(file)


def test_drawings_are_kept_without_loss(tmp_path):
    drawing = np.full((40, 60, 3), 200, np.uint8)
    drawing[10:20, 15:40] = (250, 10, 60)
    files = _files(tmp_path / "images", [Image.fromarray(drawing)])
    path = write_samples(tmp_path, "x", [_view("w", "a", files)], [_view("w/c", "a", ("x",), "language")])
    (encoded,) = json.loads(path.read_text(encoding="utf-8"))["items"][0]["images"]
    shown = Image.open(io.BytesIO(base64.b64decode(encoded)))
    assert shown.format == "PNG"
    np.testing.assert_array_equal(values(shown), drawing)


def test_of_many_exemplars_the_first_are_kept(tmp_path):
    files = _files(tmp_path / "images", [noise(seed=k) for k in range(6)])
    images = [_view(f"w/{k}", "ab", [file] * 2) for k, file in enumerate(files)]
    path = write_samples(tmp_path, "many", images, [_view("w/c", "ab", ("x", "y"), "language")])
    found = json.loads(path.read_text(encoding="utf-8"))
    assert len(found["image_views"]) == 6 and [len(item["images"]) for item in found["items"]] == [4, 4]


def test_views_of_one_modality_alone_are_refused(tmp_path):
    with pytest.raises(ValueError, match="samples 'none' need at least one view of images and one of captions"):
        write_samples(tmp_path, "none", [], [_view("w/c", "ab", ("x", "y"), "language")])
    with pytest.raises(ValueError, match="image of item 'a'"):
        absent = _view("w", "a", [tmp_path / "absent.png"])
        write_samples(tmp_path, "x", [absent], [_view("w/c", "a", ("x",), "language")])
    assert list(tmp_path.iterdir()) == []
