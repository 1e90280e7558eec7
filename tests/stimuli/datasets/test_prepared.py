"""Items that were packed and read back are the items that went in."""

import concurrent.futures
import hashlib
import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

from tests.stimuli.datasets.published import coco_instance, jpeg, judgment, write_coco, write_pick_a_pic
from vla.records import Dataset, Item, LazyImage, Segmentation
from vla.stimuli import read_captioned_folder
from vla.stimuli.datasets import prepare as preparing
from vla.stimuli.datasets import prepared
from vla.stimuli.datasets.coco import read_coco_directory
from vla.stimuli.datasets.pick_a_pic import read_pick_a_pic
from vla.stimuli.datasets.prepare import folder_config, prepare
from vla.stimuli.datasets.prepared import read_prepared
from vla.stimuli.datasets.register import default_data_dir, is_prepared

SAID = {"b 1.jpg": ("Zwei Hunde 🐕 rennen.", 'A "quoted", dog'), "a.jpg": ("犬",), "c.png": ("third",)}


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "my photos"
    place.mkdir()
    for seed, name in enumerate(SAID):
        (place / name).write_bytes(jpeg(seed))
    lines = [json.dumps({"image": name, "captions": said}, ensure_ascii=False) for name, said in SAID.items()]
    (place / "captions.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return place


def packed(dataset, tmp_path, name="captioned_folder"):
    return prepare(name, folder_config(dataset), lambda: dataset, tmp_path / "data")


def test_a_folder_comes_back_in_order_and_byte_for_byte(folder, tmp_path):
    direct = read_captioned_folder(folder)
    place = packed(direct, tmp_path)
    back = read_prepared(place)
    assert (back.name, back.ids, back.dropped) == ("my photos", ("b 1", "a", "c"), ())
    assert [item.captions for item in back.items] == list(SAID.values())
    for item, name in zip(back.items, SAID, strict=True):
        data = (folder / name).read_bytes()
        assert item.image.open() == data
        assert item.image.content() == hashlib.sha256(data).hexdigest()
        assert isinstance(item.image, LazyImage)
    assert place.parent.name.startswith("my_photos-")


def test_coco_comes_back_with_its_masks(tmp_path):
    maps = {1: np.arange(48).reshape(6, 8) + 60, 2: np.full((6, 8), 255)}
    polygon = coco_instance(1, 1, 18, [[1, 1, 6, 1, 6, 4, 1, 4]])
    write_coco(tmp_path / "coco", [(1, "one"), (2, "two"), (1, "eins")], [polygon], maps)
    for masks in ("pixel_maps", "instances", "none"):
        direct = read_coco_directory(tmp_path / "coco", masks=masks, missing_masks="keep")
        back = read_prepared(packed(direct, tmp_path, "coco_val2017"))
        assert back.ids == direct.ids and back.items[0].captions == ("one", "eins")
        for item, packed_item in zip(direct.items, back.items, strict=True):
            want, got = item.segmentation, packed_item.segmentation
            assert (want is None) == (got is None) == (masks == "none")
            if want is None:
                continue
            assert isinstance(got, Segmentation) and got.content() == want.content()
            assert np.array_equal(got.things(), want.things())
            assert (got.stuff() is None) == (want.stuff() is None) == (masks == "instances")
            assert got.stuff() is None or np.array_equal(got.stuff(), want.stuff())
            masks_packed = got.decoded()
            assert masks_packed.encoded() == want.encoded() and (masks_packed.height, masks_packed.width) == (6, 8)
    assert np.array_equal(back.items[0].captions, direct.items[0].captions)


def test_what_was_packed_can_be_packed_again(tmp_path):
    write_coco(tmp_path / "coco", [(1, "one")], maps={1: np.full((6, 8), 3)})
    first = read_prepared(packed(read_coco_directory(tmp_path / "coco"), tmp_path, "coco_val2017"))
    assert folder_config(first) == folder_config(read_coco_directory(tmp_path / "coco"))
    again = prepare("coco_val2017", "again", lambda: first, tmp_path / "data")
    assert folder_config(read_prepared(again)) == folder_config(first)


def test_judgments_come_back_with_both_images(tmp_path):
    rows = [judgment(1), judgment(2, 0.0, 1.0, caption="prompt 1 "), judgment(3, 0.5, 0.5)]
    direct = read_pick_a_pic(write_pick_a_pic(tmp_path / "train-00000-of-00001.parquet", rows))
    back = read_prepared(packed(direct, tmp_path, "pick_a_pic"))
    assert back.ids == direct.ids and back.dropped == direct.dropped != ()
    assert [item.image.open() for item in back.items] == [jpeg(2), jpeg(5)]
    assert [item.rejected.open() for item in back.items] == [jpeg(3), jpeg(4)]
    assert {item.group for item in back.items} == {"prompt 1"}


def test_others_read_the_files_without_this_library(folder, tmp_path):
    place = packed(read_captioned_folder(folder), tmp_path)
    code = (
        "import sys, tensorflow_datasets as tfds\n"
        f"rows = tfds.builder_from_directory({str(place)!r}).as_data_source('items')\n"
        "print([row['image'].shape for row in rows], [row['id'] for row in rows])\n"
        "assert not {'vla', 'tensorflow'} & set(sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert out.strip() == "[(6, 8, 3), (6, 8, 3), (6, 8, 3)] [b'b 1', b'a', b'c']"


def test_nothing_is_packed_twice_and_changes_are_seen(folder, tmp_path, monkeypatch):
    place = packed(read_captioned_folder(folder), tmp_path)
    stamp = (place / "dataset_info.json").stat().st_mtime_ns
    assert packed(read_captioned_folder(folder), tmp_path) == place
    assert (place / "dataset_info.json").stat().st_mtime_ns == stamp
    (folder / "a.jpg").write_bytes(jpeg(9))
    assert packed(read_captioned_folder(folder), tmp_path) != place


def test_a_kill_leaves_nothing_that_looks_finished(folder, tmp_path):
    dataset = read_captioned_folder(folder)

    class Killed:
        def open(self):
            raise KeyboardInterrupt

        def content(self):
            return "0"

    broken = Dataset("x", (dataset.items[0], Item("killed", Killed(), ("x",))))
    with pytest.raises(KeyboardInterrupt):
        prepare("captioned_folder", "x", lambda: broken, tmp_path / "data")
    place = tmp_path / "data" / "captioned_folder" / "x"
    stale = place / "incomplete.AAAAAA_1.0.0"
    stale.mkdir(exist_ok=True)
    assert not is_prepared(place / "1.0.0")
    prepare("captioned_folder", "x", lambda: dataset, tmp_path / "data")
    assert read_prepared(place / "1.0.0").ids == dataset.ids
    assert not stale.exists()


def test_an_image_that_is_gone_names_its_item(folder, tmp_path):
    dataset = read_captioned_folder(folder)
    (folder / "a.jpg").unlink()
    for step in (
        lambda: prepare("captioned_folder", "x", lambda: dataset, tmp_path / "data"),
        lambda: folder_config(dataset),
    ):
        with pytest.raises(ValueError, match="item 'a'.*a.jpg"):
            step()


def test_images_are_read_in_threads_and_travel_to_other_processes(folder, tmp_path):
    items = read_prepared(packed(read_captioned_folder(folder), tmp_path)).items
    want = [(folder / name).read_bytes() for name in SAID] * 20
    pictures = [item.image for item in items] * 20
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert list(pool.map(prepared.RecordImage.open, pictures)) == want
    assert pickle.loads(pickle.dumps(items)) == items
    assert len(pickle.dumps(items[0].image)) < 1000


def test_a_damaged_file_is_never_taken_for_the_image(folder, tmp_path):
    place = packed(read_captioned_folder(folder), tmp_path)
    metadata = json.loads((place / "metadata.json").read_text())
    metadata["items"][1]["image"] = "0" * 64
    (place / "metadata.json").write_text(json.dumps(metadata))
    items = read_prepared(place).items
    assert items[0].image.open() == jpeg(0)
    with pytest.raises(ValueError, match="'a'.*not what was packed"):
        items[1].image.open()
    next(place.glob("*.array_record*")).unlink()
    prepared._source.cache_clear()
    with pytest.raises(ValueError, match="'c' cannot be read.*prepare the dataset anew"):
        items[2].image.open()


def test_folders_that_are_none_of_ours_are_refused(folder, tmp_path):
    with pytest.raises(ValueError, match="no prepared dataset"):
        read_prepared(folder)
    place = packed(read_captioned_folder(folder), tmp_path)
    metadata = json.loads((place / "metadata.json").read_text())
    metadata["items"].pop()
    (place / "metadata.json").write_text(json.dumps(metadata))
    with pytest.raises(ValueError, match="3 records, but its index names 2"):
        read_prepared(place)
    (place / "metadata.json").write_text("{}")
    with pytest.raises(ValueError, match="other software"):
        read_prepared(place)


def test_the_place_is_in_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_data_dir() == tmp_path / "vla" / "datasets"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_data_dir() == tmp_path / ".cache" / "vla" / "datasets"


def test_two_that_want_the_same_do_it_once(folder, tmp_path):
    dataset, calls = read_captioned_folder(folder), []

    def read():
        calls.append(1)
        return dataset

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        places = list(pool.map(lambda _: preparing.prepare("captioned_folder", "x", read, tmp_path / "d"), range(2)))
    assert places[0] == places[1] and len(calls) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_says_so_instead_of_waiting_for_ever(folder, tmp_path):
    image = read_prepared(packed(read_captioned_folder(folder), tmp_path)).items[0].image
    image.open()
    code = (
        "import os, pickle, sys\n"
        "image = pickle.load(sys.stdin.buffer)\n"
        "image.open()\n"
        "if os.fork() == 0:\n"
        "    try: image.open()\n"
        "    except ValueError as error: print(error, flush=True)\n"
        "    os._exit(0)\n"
        "os.wait()"
    )
    told = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(image), capture_output=True, timeout=60)
    assert b"'b 1' cannot be read" in told.stdout and b'get_context("spawn")' in told.stdout
