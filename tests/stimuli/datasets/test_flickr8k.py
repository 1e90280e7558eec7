"""Flickr8k in both published forms, and the ways in which either can be damaged."""

import collections
import csv
import os
import shutil
from pathlib import Path

import pytest

from tests.stimuli.datasets.published import write_flickr8k_original
from vla.records import Item
from vla.stimuli import read_captioned_folder
from vla.stimuli.datasets.captioned_folder import read_captions
from vla.stimuli.datasets.flickr8k import read_flickr8k

ODD = "2258277193_586949ec62.jpg.1"
SAID = {
    "1000268201_693b08cb0e.jpg": ["A child , in pink .", 'A girl says "hi"', "三", "4", "5"],
    "1001773457_577c3a7d70.jpg": ["Two dogs", "dogs 🐕", "c", "d", "e"],
    "102455176_5f8ead62d5.jpg": ["one", "two", "three", "four", "five"],
}


@pytest.fixture
def original(tmp_path):
    return write_flickr8k_original(tmp_path / "original", {**SAID, ODD: ["A man in purple"] * 5}, absent=[ODD])


@pytest.fixture
def kaggle(original):
    folder = original.parent / "flickr8k"
    shutil.copytree(original / "Flicker8k_Dataset", folder / "Images")
    with (folder / "captions.txt").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "caption"])
        writer.writerows((image, text) for image, said in SAID.items() for text in said)
    return folder


def tokens(original: Path) -> Path:
    return original / "Flickr8k_text" / "Flickr8k.token.txt"


def test_original_layout(original):
    dataset = read_flickr8k(original)
    assert dataset.name == "flickr8k"
    folder = original / "Flicker8k_Dataset"
    assert dataset.items == tuple(Item(image[:-4], folder / image, tuple(said)) for image, said in SAID.items())
    # Its captions stand in the token file, but the photograph was never published.
    assert dataset.dropped == ("2258277193_586949ec62.jpg",)
    assert read_flickr8k(folder, tokens(original)) == read_flickr8k(str(folder)) == dataset


def test_the_odd_file_is_read_where_it_is_there(original):
    (original / "Flicker8k_Dataset" / ODD).write_bytes(b"pixels")
    dataset = read_flickr8k(original)
    assert (len(dataset), dataset.items[-1].image.name, dataset.dropped) == (4, ODD, ())


def test_both_forms_give_the_same_items(original, kaggle):
    def bare(dataset):
        return [(item.id, item.image.read_bytes(), item.captions) for item in dataset.items]

    assert bare(read_flickr8k(kaggle)) == bare(read_flickr8k(original))
    assert read_flickr8k(kaggle) == read_flickr8k(kaggle / "Images") == read_captioned_folder(kaggle)
    # The form is told by the content: the token file under Kaggle's name.
    shutil.copy(tokens(original), kaggle / "captions.txt")
    assert bare(read_flickr8k(kaggle)) == bare(read_flickr8k(original))


def test_order_is_of_names_and_numbers_whatever_the_files(original):
    expected = read_flickr8k(original)
    lines = tokens(original).read_text().splitlines(keepends=True)
    tokens(original).write_text("\ufeff" + "".join(lines[::-1]).replace("\n", "\r\n") + "\r\n", encoding="utf-8")
    assert read_flickr8k(original) == expected


def test_flat_layout(original):
    for path in (*(original / "Flicker8k_Dataset").iterdir(), *(original / "Flickr8k_text").iterdir()):
        path.rename(original / path.name)
    assert read_flickr8k(original).ids == tuple(image[:-4] for image in SAID)


def test_published_splits(original):
    names = list(SAID)
    for split, images in (("train", names[1:]), ("test", names[:1])):
        (original / f"Flickr8k_text/Flickr_8k.{split}Images.txt").write_text("\n".join(images[::-1]) + "\n")
    train = read_flickr8k(original, split="train")
    assert (train.ids, train.dropped) == (tuple(name[:-4] for name in names[1:]), ())
    # A photograph that is absent matters to its own split only.
    (original / "Flicker8k_Dataset" / names[1]).unlink()
    assert read_flickr8k(original, split="test").ids == (names[0][:-4],)
    with pytest.raises(ValueError, match="1 of the 2 images named in .*: 1001773457_577c3a7d70.jpg"):
        read_flickr8k(original, split="train")
    with pytest.raises(ValueError, match=r"split='dev' needs the published list .*Flickr_8k.devImages.txt"):
        read_flickr8k(original, split="dev")
    with pytest.raises(ValueError, match="split='val'; expected one of dev, test, train"):
        read_flickr8k(original, split="val")
    (original / "Flickr8k_text/Flickr_8k.testImages.txt").write_text("other.jpg\n")
    with pytest.raises(ValueError, match="names 1 images that have no caption in .*: other.jpg"):
        read_flickr8k(original, split="test")


def test_absent_images_refused_or_dropped(original):
    (original / "Flicker8k_Dataset/102455176_5f8ead62d5.jpg").unlink()
    with pytest.raises(
        ValueError, match=r"1 of the 4 images .*: 102455176_5f8ead62d5.jpg. Put them there, or pass miss"
    ):
        read_flickr8k(original)
    dataset = read_flickr8k(original, missing_images="drop")
    assert (len(dataset), dataset.dropped) == (2, ("102455176_5f8ead62d5", "2258277193_586949ec62.jpg"))


def test_absent_captions_refused_or_dropped(original):
    (original / "Flicker8k_Dataset/7.jpg").write_bytes(b"pixels")
    (original / "Flicker8k_Dataset/._7.jpg").write_bytes(b"left by an archiver")
    with pytest.raises(ValueError, match=r"1 images in .* have no caption in .*: 7.jpg. Caption them, or pass miss"):
        read_flickr8k(original)
    dataset = read_flickr8k(original, missing_captions="drop")
    assert (len(dataset), dataset.dropped) == (3, ("2258277193_586949ec62.jpg", "7"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a.jpg#0 no tab", r"not `name.jpg#number<TAB>caption`: line 21\. Correct"),
        ("a.jpg\tno number", "not `name.jpg#number<TAB>caption`: line 21"),
        ("a.jpg#0\t \t", r"empty caption: line 21 \(a.jpg#0\)"),
        ("102455176_5f8ead62d5.jpg#3\tagain", r"second caption of this number: line 21 \(102455176_5f8ead62d5.jpg#3\)"),
        ("../a.jpg#0\tx", r"no plain file name: line 21 \(../a.jpg#0\)"),
        ("#0\tx", "no plain file name: line 21"),
    ],
)
def test_damaged_lines(original, line, message):
    with tokens(original).open("a") as file:
        file.write(line + "\n")
    with pytest.raises(ValueError, match=message):
        read_flickr8k(original)


def test_a_line_without_its_end_is_still_a_caption(original):
    tokens(original).write_text(tokens(original).read_text().rstrip("\n"))
    assert len(read_flickr8k(original)) == 3


def test_unreadable_directories(original, tmp_path):
    with pytest.raises(ValueError, match="gone is not a folder"):
        read_flickr8k(tmp_path / "gone")
    with pytest.raises(ValueError, match="no captions file gone.txt: looked for gone.txt and for"):
        read_flickr8k(original, "gone.txt")
    tokens(original).write_bytes(b"a.jpg#0\t\xff\n")
    with pytest.raises(ValueError, match=r"token.txt is not UTF-8 \(line"):
        read_flickr8k(original)
    tokens(original).write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(ValueError, match=r"token.txt is a Git LFS pointer, not the captions: run `git lfs pull`"):
        read_flickr8k(original)
    tokens(original).unlink()
    with pytest.raises(
        ValueError,
        match="no captions file in .*captions.csv, Flickr8k.token.txt, Flickr8k_text/captions.txt",
    ):
        read_flickr8k(original)


def test_no_item_left(original):
    for path in (original / "Flicker8k_Dataset").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match="no item is left: none of the 4 images"):
        read_flickr8k(original, missing_images="drop")


@pytest.mark.parametrize("setting", ["missing_images", "missing_captions"])
def test_unknown_policy(original, setting):
    with pytest.raises(ValueError, match=f"{setting}='ignore'; expected one of drop, refuse"):
        read_flickr8k(original, **{setting: "ignore"})


def test_real_captions_in_both_forms(tmp_path):
    root = os.environ.get("VLA_TEST_DATA")
    folder = Path(root or "", "data", "flickr8k")
    if not root or not folder.is_dir():
        pytest.skip("VLA_TEST_DATA names no folder with data/flickr8k")
    kaggle = read_flickr8k(folder, missing_images="drop")
    assert (len(kaggle), len(kaggle.dropped)) == (1000, 7091)
    with (folder / "captions.txt").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    numbers: dict[str, int] = {}
    with (tmp_path / "Flickr8k.token.txt").open("w", encoding="utf-8") as file:
        for row in rows:
            number = numbers[row["image"]] = numbers.get(row["image"], -1) + 1
            file.write(f"{row['image']}#{number}\t{row['caption']}\n")
    assert read_flickr8k(folder / "Images", tmp_path / "Flickr8k.token.txt", missing_images="drop") == kaggle
    rows_read = read_captions(folder / "captions.txt")
    assert [(row.image, row.captions) for row in rows_read] == [
        (row["image"], (row["caption"].strip(),)) for row in rows
    ]
    assert len(rows_read) == 40455 and set(collections.Counter(row.image for row in rows_read).values()) == {5}
