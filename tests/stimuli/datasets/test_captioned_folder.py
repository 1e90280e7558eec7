"""Folders of photographs: as Kaggle and Hugging Face lay them out, incomplete, contradictory."""

import csv
import json
import os
import unicodedata
from pathlib import Path

import pytest

from vla.records import Item
from vla.stimuli import read_captioned_folder

CAPTIONS = "image,caption\nb.jpg,b one\na.jpg,a one\na.jpg,a two\nb.jpg,b two\n"


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"pixels of " + name.encode())


@pytest.fixture
def flickr(tmp_path):
    folder = tmp_path / "flickr8k"
    touch(folder / "Images", "a.jpg", "b.jpg")
    (folder / "captions.txt").write_text(CAPTIONS)
    return folder


def test_kaggle_layout_from_either_folder(flickr):
    dataset = read_captioned_folder(flickr)
    assert dataset.name == "flickr8k"
    assert dataset.dropped == ()
    assert dataset.items == (
        Item("b", flickr / "Images" / "b.jpg", ("b one", "b two")),
        Item("a", flickr / "Images" / "a.jpg", ("a one", "a two")),
    )
    assert read_captioned_folder(str(flickr / "Images")) == dataset


def test_current_folder(flickr, monkeypatch):
    monkeypatch.chdir(flickr / "Images")
    dataset = read_captioned_folder(".")
    assert (dataset.name, dataset.ids) == ("flickr8k", ("b", "a"))
    monkeypatch.chdir("/")
    assert all(item.image.is_file() for item in dataset.items)


def test_images_folder_may_be_a_link(flickr):
    (flickr / "Images").rename(flickr.parent / "disk")
    (flickr / "Images").symlink_to(flickr.parent / "disk", target_is_directory=True)
    assert read_captioned_folder(flickr / "Images").ids == ("b", "a")
    touch(flickr.parent / "disk", "c.jpg")
    with pytest.raises(ValueError, match="1 photographs .* have no caption"):
        read_captioned_folder(flickr)


def test_link_in_a_circle_ends(flickr):
    (flickr / "Images" / "again").symlink_to(flickr / "Images", target_is_directory=True)
    assert read_captioned_folder(flickr).ids == ("b", "a")


def test_imagefolder_layout_with_subfolders(tmp_path):
    touch(tmp_path, "train/a.png", "test/b.PNG")
    lines = [{"file_name": "train/a.png", "text": "A"}, {"file_name": "test/b.PNG", "text": "B", "id": "seven"}]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    dataset = read_captioned_folder(tmp_path, name="mine")
    assert (dataset.name, dataset.ids) == ("mine", ("a", "seven"))
    part = read_captioned_folder(tmp_path / "train", missing_images="drop")
    assert (part.ids, part.dropped) == (("a",), ("seven",))


def test_usual_names_in_their_order_then_the_parent(tmp_path):
    touch(tmp_path / "x", "a.jpg")
    for depth, name in ((tmp_path, "captions.txt"), (tmp_path / "x", "metadata.csv"), (tmp_path / "x", "captions.csv")):
        (depth / name).write_text(f"image,caption\na.jpg,from {name}\n")
        assert read_captioned_folder(tmp_path / "x").items[0].captions == (f"from {name}",)


def test_captions_file_by_name(flickr, tmp_path, monkeypatch):
    (flickr / "Images" / "second.jsonl").write_text('{"image": "a.jpg", "captions": ["x", "y"]}\n')
    for given in ("second.jsonl", flickr / "Images" / "second.jsonl"):
        dataset = read_captioned_folder(flickr / "Images", given, missing_captions="drop")
        assert dataset.items == (Item("a", flickr / "Images" / "a.jpg", ("x", "y")),)
        assert dataset.dropped == ("b",)
    with pytest.raises(ValueError, match="no captions file third.csv: looked for third.csv and for .*Images/third.csv"):
        read_captioned_folder(flickr / "Images", "third.csv")


def test_missing_images_refused_or_dropped(flickr):
    names = [f"gone{i}.jpg" for i in range(7)]
    with (flickr / "captions.txt").open("a") as file:
        file.writelines(f"{name},x\n" for name in names)
    with pytest.raises(ValueError, match=r"7 of the 9 images .*gone0.jpg, .*\(and 2 more\).*missing_images=\"drop\""):
        read_captioned_folder(flickr)
    dataset = read_captioned_folder(flickr, missing_images="drop")
    assert (dataset.ids, dataset.dropped) == (("b", "a"), tuple(name[:-4] for name in names))


def test_missing_captions_refused_or_dropped(flickr):
    touch(flickr / "Images", "c.jpg", "more/d.png", "a.png", ".hidden.jpg", "__MACOSX/e.jpg", "notes.md")
    with pytest.raises(ValueError, match=r"3 photographs .*: a.png, c.jpg, more/d.png. .*missing_captions=\"drop\""):
        read_captioned_folder(flickr / "Images")
    dataset = read_captioned_folder(flickr, missing_captions="drop")
    # a.png is recorded by its name: `a` is kept.
    assert (dataset.ids, dataset.dropped) == (("b", "a"), ("a.png", "c", "d"))


def test_an_empty_list_of_captions_is_a_missing_caption(tmp_path):
    touch(tmp_path, "a.jpg", "b.jpg")
    (tmp_path / "captions.jsonl").write_text(
        '{"image": "a.jpg", "captions": []}\n{"image": "b.jpg", "captions": ["B"]}\n'
    )
    with pytest.raises(ValueError, match="1 photographs .*: a.jpg. "):
        read_captioned_folder(tmp_path)
    dataset = read_captioned_folder(tmp_path, missing_captions="drop")
    assert (dataset.ids, dataset.dropped) == (("b",), ("a",))


def test_no_captions_file(tmp_path):
    touch(tmp_path, "a.jpg")
    with pytest.raises(ValueError, match="looked for captions.txt, captions.csv, captions.jsonl, metadata.jsonl"):
        read_captioned_folder(tmp_path)


def test_no_folder(flickr):
    with pytest.raises(ValueError, match="nowhere is not a folder"):
        read_captioned_folder(flickr / "nowhere")


def test_no_item_left(flickr):
    for name in ("a.jpg", "b.jpg"):
        (flickr / "Images" / name).unlink()
    with pytest.raises(ValueError, match="no item is left: none of the 2 images .*b.jpg, a.jpg were looked for"):
        read_captioned_folder(flickr, missing_images="drop")


@pytest.mark.parametrize("setting", ["missing_images", "missing_captions"])
def test_unknown_policy(flickr, setting):
    with pytest.raises(ValueError, match=f"{setting}='ignore'; expected one of drop, refuse"):
        read_captioned_folder(flickr, **{setting: "ignore"})


def test_two_images_with_one_id(tmp_path):
    touch(tmp_path, "train/1.jpg", "test/1.jpg")
    path = tmp_path / "captions.csv"
    path.write_text("image,caption\ntrain/1.jpg,A\ntest/1.jpg,B\n")
    with pytest.raises(ValueError, match=r"same id: '1' \(train/1.jpg, test/1.jpg\).*`id`"):
        read_captioned_folder(tmp_path)
    path.write_text("image,caption,id\ntrain/1.jpg,A,train-1\ntest/1.jpg,B,test-1\n")
    assert read_captioned_folder(tmp_path).ids == ("train-1", "test-1")


def test_one_image_with_two_ids(tmp_path):
    touch(tmp_path, "a.jpg")
    (tmp_path / "captions.csv").write_text("image,caption,id\na.jpg,A,x\na.jpg,B,\na.jpg,C,y\n")
    with pytest.raises(ValueError, match=r"several ids: a.jpg \('x' on line 2, 'y' on line 4\)"):
        read_captioned_folder(tmp_path)


def test_published_flickr8k():
    root = os.environ.get("VLA_TEST_DATA")
    folder = Path(root or "", "data", "flickr8k")
    if not root or not folder.is_dir():
        pytest.skip("VLA_TEST_DATA names no folder with data/flickr8k")
    with pytest.raises(ValueError, match="7091 of the 8091 images"):
        read_captioned_folder(folder)
    dataset = read_captioned_folder(folder, missing_images="drop")
    assert (dataset.name, len(dataset), len(dataset.dropped)) == ("flickr8k", 1000, 7091)
    assert dataset == read_captioned_folder(folder / "Images", missing_images="drop")
    with (folder / "captions.txt").open(newline="", encoding="utf-8") as file:
        published = list(csv.DictReader(file))
    present = set(os.listdir(folder / "Images"))
    assert [caption for item in dataset.items for caption in item.captions] == [
        row["caption"] for row in published if row["image"] in present
    ]


def test_names_that_differ_in_case_or_normalisation_alone_are_pointed_out(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "café.jpg") for form in ("NFC", "NFD"))
    touch(tmp_path, "A.JPG", decomposed)
    (tmp_path / "captions.csv").write_text(f"image,caption\na.jpg,one\n{composed},two\n", encoding="utf-8")
    with pytest.raises(
        ValueError, match="differ from files there in case or Unicode.*'a.jpg' and 'A.JPG'.*rename them"
    ):
        read_captioned_folder(tmp_path, missing_captions="drop")


def test_one_file_under_two_names_is_refused(tmp_path):
    # As a file system that ignores case shows it.
    touch(tmp_path, "a.jpg")
    os.link(tmp_path / "a.jpg", tmp_path / "A.jpg")
    (tmp_path / "captions.csv").write_text("image,caption\na.jpg,one\nA.jpg,two\n")
    with pytest.raises(ValueError, match="names one image file in several ways.*'a.jpg' and 'A.jpg'"):
        read_captioned_folder(tmp_path)
    # Two files are two items.
    (tmp_path / "A.jpg").unlink()
    touch(tmp_path, "A.jpg")
    assert read_captioned_folder(tmp_path).ids == ("a", "A")


def test_heic_photographs_without_captions_count_too(tmp_path):
    touch(tmp_path, "a.jpg", "b.HEIC")
    (tmp_path / "captions.csv").write_text("image,caption\na.jpg,one\n")
    with pytest.raises(ValueError, match="1 photographs in .* have no caption in .*: b.HEIC"):
        read_captioned_folder(tmp_path)
