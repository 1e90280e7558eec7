"""Datasets by name, from every place where they can be."""

import collections
import csv
import os
from pathlib import Path

import numpy as np
import pytest

from tests.stimuli.datasets.published import (
    coco_instance,
    jpeg,
    judgment,
    write_coco,
    write_flickr8k_original,
    write_pick_a_pic,
)
from vla.stimuli import image_view, prepare_dataset, read_dataset, sample
from vla.stimuli.datasets.pick_a_pic import read_pick_a_pic

DATA = Path(os.environ.get("VLA_TEST_DATA", "no such folder")) / "data"
real = pytest.mark.skipif(not DATA.is_dir(), reason="VLA_TEST_DATA names no folder with the real photographs")


@pytest.fixture
def places(tmp_path):
    """A small copy of each dataset in its published layout."""
    write_coco(
        tmp_path / "coco", [(i, f"caption {i}") for i in range(1, 6)], [coco_instance(1, 1, 18, [[1, 1, 6, 1, 6, 4]])]
    )
    write_flickr8k_original(tmp_path / "flickr8k", {f"{i}.jpg": [f"caption {i} ."] for i in range(5)})
    rows = [judgment(i) for i in range(5)]
    write_pick_a_pic(tmp_path / "pick_a_pic" / "validation-00000-of-00001.parquet", rows)
    folder = tmp_path / "my photos"
    folder.mkdir()
    (folder / "captions.csv").write_text("image,caption\n" + "".join(f"{i}.jpg,caption {i}\n" for i in range(5)))
    for i in range(5):
        (folder / f"{i}.jpg").write_bytes(jpeg(i))
    return {
        "captioned_folder": folder,
        "coco_val2017": tmp_path / "coco",
        "flickr8k": tmp_path / "flickr8k",
        "pick_a_pic": tmp_path / "pick_a_pic",
    }


NAMES = ("captioned_folder", "coco_val2017", "flickr8k", "pick_a_pic")


def bytes_of(source):
    return source.read_bytes() if isinstance(source, Path) else source.open()


@pytest.mark.parametrize("name", NAMES)
def test_a_directory_and_what_was_prepared_from_it_are_one_dataset(places, name, tmp_path):
    before = sorted(path for path in tmp_path.rglob("*"))
    direct = read_dataset(name, places[name])
    assert len(direct) == 5 and direct.name == ("my photos" if name == "captioned_folder" else name)
    assert sorted(path for path in tmp_path.rglob("*")) == before, "reading wrote something"
    place = prepare_dataset(name, places[name], data_dir=tmp_path / "data")
    packed = read_dataset(name, place)
    assert (packed.name, packed.ids, packed.dropped) == (direct.name, direct.ids, direct.dropped)
    for one, other in zip(direct.items, packed.items, strict=True):
        assert (one.captions, one.group) == (other.captions, other.group)
        assert bytes_of(one.image) == bytes_of(other.image)
        assert (one.rejected is None) == (other.rejected is None)
        assert one.rejected is None or bytes_of(one.rejected) == bytes_of(other.rejected)
        assert (one.segmentation is None) == (other.segmentation is None)
        assert one.segmentation is None or np.array_equal(one.segmentation.things(), other.segmentation.things())
    # So what was extracted from one is found again for the other.
    assert image_view(packed).content == image_view(direct).content
    drawn = read_dataset(name, places[name], n=3, seed=1)
    assert drawn.ids == read_dataset(name, place, n=3, seed=1).ids == sample(direct, 3, 1).ids


def test_readers_own_options_are_passed_on(places):
    (places["flickr8k"] / "Flicker8k_Dataset" / "1.jpg").unlink()
    with pytest.raises(ValueError, match="1.jpg"):
        read_dataset("flickr8k", places["flickr8k"])
    assert read_dataset("flickr8k", places["flickr8k"], missing_images="drop").dropped == ("1",)
    assert read_dataset("coco_val2017", places["coco_val2017"], masks="none").items[0].segmentation is None
    shards = places["pick_a_pic"]
    assert read_dataset("pick_a_pic", shards, ties="refuse").ids == read_pick_a_pic(shards, ties="refuse").ids
    assert read_dataset("captioned_folder", places["captioned_folder"], called="mine").name == "mine"


def test_a_prepared_folder_is_told_from_others(places, tmp_path):
    place = prepare_dataset("flickr8k", places["flickr8k"], data_dir=tmp_path / "data")
    with pytest.raises(ValueError, match="holds flickr8k, not coco_val2017"):
        read_dataset("coco_val2017", place)
    with pytest.raises(ValueError, match="split: .* is already prepared"):
        read_dataset("flickr8k", place, split="test")


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("imagenet", {}, "no dataset is called 'imagenet'; known are captioned_folder, coco_val2017, flickr8k, hugg"),
        ("captioned_folder", {}, "captioned_folder needs directory="),
        ("tfds", {}, "tfds needs directory=: the dataset's name there"),
        ("flickr8k", {"split": "test"}, "flickr8k has no option split; it has none"),
        ("coco_val2017", {"missing_masks": "keep"}, "no option missing_masks; it has masks"),
        ("flickr8k", {"missing_images": "ignore"}, "missing_images='ignore'; expected one of drop, refuse"),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_fetched(tmp_path, name, options, words):
    with pytest.raises(ValueError, match=words):
        read_dataset(name, data_dir=tmp_path / "data", **options)
    assert not (tmp_path / "data").exists()


def test_unknown_options_of_a_directory_are_told(places, tmp_path):
    with pytest.raises(ValueError, match="flickr8k has no option masks; it has captions, missing_captions, split"):
        read_dataset("flickr8k", places["flickr8k"], masks="none")
    with pytest.raises(ValueError, match="tfds keeps its own files"):
        prepare_dataset("tfds", "coco_captions", data_dir=tmp_path)


@real
def test_the_real_photographs_are_packed_unchanged(tmp_path):
    direct = read_dataset("coco_val2017", DATA / "coco_val2017", missing_images="drop", missing_masks="drop", n=40)
    whole = {"missing_images": "drop", "missing_masks": "drop"}
    place = prepare_dataset("coco_val2017", DATA / "coco_val2017", data_dir=tmp_path, **whole)
    packed = read_dataset("coco_val2017", place, n=40)
    assert packed.ids == direct.ids and packed.dropped == direct.dropped
    for one, other in zip(direct.items, packed.items, strict=True):
        assert one.image.read_bytes() == other.image.open()
        assert np.array_equal(one.segmentation.things(), other.segmentation.things())
        assert one.segmentation.content() == other.segmentation.content()


@real
def test_the_real_folder_by_name_is_the_real_folder():
    dataset = read_dataset("flickr8k", DATA / "flickr8k", missing_images="drop", n=100)
    said = collections.defaultdict(list)
    with (DATA / "flickr8k" / "captions.txt").open(encoding="utf-8", newline="") as file:
        for image, caption in csv.reader(file):
            said[image].append(caption.strip())
    assert len(dataset) == 100
    for item in dataset.items:
        assert list(item.captions) == said[item.image.name] and len(item.captions) == 5
