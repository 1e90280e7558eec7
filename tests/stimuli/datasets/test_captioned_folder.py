"""Folders of images: as Kaggle and Hugging Face lay them out, incomplete, contradictory."""

import csv
import json
import os
import unicodedata
from pathlib import Path

import pytest

from vla.records import Item
from vla.stimuli import read_captioned_folder
from vla.stimuli.datasets.captioned_folder import CaptionRow, read_captions

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
    with pytest.raises(ValueError, match="1 images .* have no caption"):
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
    with pytest.raises(ValueError, match=r"3 images .*: a.png, c.jpg, more/d.png. .*missing_captions=\"drop\""):
        read_captioned_folder(flickr / "Images")
    dataset = read_captioned_folder(flickr, missing_captions="drop")
    # a.png is recorded by its name: `a` is kept.
    assert (dataset.ids, dataset.dropped) == (("b", "a"), ("a.png", "c", "d"))


def test_an_empty_list_of_captions_is_a_missing_caption(tmp_path):
    touch(tmp_path, "a.jpg", "b.jpg")
    (tmp_path / "captions.jsonl").write_text(
        '{"image": "a.jpg", "captions": []}\n{"image": "b.jpg", "captions": ["B"]}\n'
    )
    with pytest.raises(ValueError, match="1 images .*: a.jpg. "):
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


def test_heic_images_without_captions_count_too(tmp_path):
    touch(tmp_path, "a.jpg", "b.HEIC")
    (tmp_path / "captions.csv").write_text("image,caption\na.jpg,one\n")
    with pytest.raises(ValueError, match="1 images in .* have no caption in .*: b.HEIC"):
        read_captioned_folder(tmp_path)


def written(tmp_path, name, text, encoding="utf-8"):
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    return path


KAGGLE = 'image,caption\na.jpg,"A dog , a ball"\na.jpg,A dog .\nb.jpg,"A ""stop"" sign"\n'
KAGGLE_ROWS = [
    CaptionRow(2, "a.jpg", ("A dog , a ball",)),
    CaptionRow(3, "a.jpg", ("A dog .",)),
    CaptionRow(4, "b.jpg", ('A "stop" sign',)),
]


@pytest.mark.parametrize("name", ["captions.txt", "captions.csv", "CAPTIONS.CSV"])
def test_kaggle_csv(tmp_path, name):
    assert read_captions(written(tmp_path, name, KAGGLE)) == KAGGLE_ROWS


def test_byte_order_mark_and_crlf(tmp_path):
    text = KAGGLE.replace("\n", "\r\n")
    assert read_captions(written(tmp_path, "captions.txt", text, "utf-8-sig")) == KAGGLE_ROWS


def test_imagefolder_csv_with_other_columns_ids_and_blank_lines(tmp_path):
    text = "label, file_name ,text,id\n3,train/./a.jpg,  Un café ,7\n\n  \t\n4,train/b.jpg,B,\n"
    assert read_captions(written(tmp_path, "metadata.csv", text)) == [
        CaptionRow(2, "train/a.jpg", ("Un café",), "7"),
        CaptionRow(5, "train/b.jpg", ("B",), None),
    ]


def test_caption_over_two_lines_keeps_line_numbers(tmp_path):
    text = 'image,caption\na.jpg,"one\ntwo"\nb.jpg,three\n'
    assert read_captions(written(tmp_path, "captions.csv", text)) == [
        CaptionRow(2, "a.jpg", ("one\ntwo",)),
        CaptionRow(4, "b.jpg", ("three",)),
    ]


def test_json_lines(tmp_path):
    lines = [
        '{"image": "a.jpg", "caption": "one"}',
        "",
        '{"file_name": "b.jpg", "text": "two \\"three\\"", "id": 139}',
        '{"image": "a.jpg", "captions": ["four", "five\u2028six"], "id": "x", "height": 3}',
        '{"image": "c.jpg", "captions": []}',
    ]
    assert read_captions(written(tmp_path, "captions.jsonl", "\r\n".join(lines), "utf-8-sig")) == [
        CaptionRow(1, "a.jpg", ("one",)),
        CaptionRow(3, "b.jpg", ('two "three"',), "139"),
        CaptionRow(4, "a.jpg", ("four", "five\u2028six"), "x"),
        CaptionRow(5, "c.jpg", ()),
    ]


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("captions.json", "{}", r"suffix '.json'.*\.csv, \.jsonl, \.txt"),
        ("captions.txt", "", r"header ``; expected `image,caption`"),
        ("captions.txt", "a.jpg,A dog\n", r"header `a.jpg,A dog`; expected .*`file_name,text`"),
        ("captions.txt", "image,text,caption\n", r"header `image,text,caption`"),
        ("captions.txt", "image,image,caption\n", r"header `image,image,caption`"),
        ("captions.txt", "image,caption\n", "holds no captions"),
        ("captions.jsonl", "\n \n", "holds no captions"),
        ("captions.txt", 'image,caption\na.jpg,"A dog\nb.jpg,B\n', r"well-formed CSV near line 3.*doubled"),
        ("captions.txt", 'image,caption\na.jpg,"A" dog\n', r"well-formed CSV near line 2"),
        (
            "captions.txt",
            "image,caption\na.jpg,A dog, a ball\nb.jpg\nc.jpg,C\n",
            r"not 2 fields.*quotation marks.*line 2 \(3 fields\), line 3 \(1 fields\)",
        ),
        (
            "captions.txt",
            "image,caption\na.jpg,\nb.jpg,B\nc.jpg,  \n",
            r"empty caption: line 2 \(a.jpg\), line 4 \(c.jpg\)",
        ),
        (
            "captions.txt",
            "image,caption\n" + "a.jpg,\n" * 7,
            r"empty caption: line 2 \(a.jpg\), .*\(and 2 more\). Correct or delete",
        ),
        ("captions.txt", "image,caption\n ,A dog\n", "no image named: line 2"),
        *(
            ("captions.txt", f"image,caption\n{path},A dog\n", "leads out of the folder.*line 2")
            for path in ("../a.jpg", "x/../../a.jpg", "/a.jpg", "C:\\a.jpg", "x\\..\\..\\a.jpg", "\\a.jpg")
        ),
        (
            "captions.jsonl",
            '{"image": "a.jpg", "caption": "A"}\n{"image": \n[1]\n',
            r"not JSON: line 2 \(Expecting value, column \d+\); not a JSON object: line 3",
        ),
        ("captions.jsonl", '{"caption": "A"}', "one string under `image` or `file_name`: line 1"),
        ("captions.jsonl", '{"image": 3, "caption": "A"}', "one string under `image` or `file_name`: line 1"),
        ("captions.jsonl", '{"image": "a", "file_name": "a", "text": "A"}', "one string under `image`"),
        ("captions.jsonl", '{"image": "a"}', r"one string under `caption` or `text`: line 1 \(a\)"),
        ("captions.jsonl", '{"image": "a", "captions": "A"}', r"not a list of strings: line 1 \(a\)"),
        ("captions.jsonl", '{"image": "a", "captions": ["A", 1]}', "not a list of strings"),
        ("captions.jsonl", '{"image": "a", "captions": ["A", ""]}', r"empty caption: line 1 \(a\)"),
        ("captions.jsonl", '{"image": "a", "captions": ["A"], "text": "A"}', "both `captions` and"),
        ("captions.jsonl", '{"image": "a", "text": "A", "id": [1]}', "`id` is neither text nor"),
        ("captions.jsonl", '{"image": "a", "text": "A", "id": true}', "`id` is neither text nor"),
    ],
)
def test_refused(tmp_path, name, text, told):
    with pytest.raises(ValueError, match=told) as caught:
        read_captions(written(tmp_path, name, text))
    assert name in str(caught.value)


def test_other_encoding_is_refused_with_its_line(tmp_path):
    path = written(tmp_path, "captions.txt", "image,caption\na.jpg,A dog\nb.jpg,Un café\n", "latin-1")
    with pytest.raises(ValueError, match=r"captions.txt is not UTF-8 \(line 3, byte 0xe9\); save it"):
        read_captions(path)


SWALLOWED = [
    # Written without CSV quoting: the first caption begins with a quotation mark, a later one ends with one.
    'image,caption\n0.png,a dog\n1.png,"Stop here\n2.png,a dog runs\n3.png,a sign says go"\n0.png,a dog plays\n',
    # The name that is swallowed stands nowhere else; names without a suffix; the image's own further captions.
    'image,caption\n0.png,a dog\n1.png,"Stop here\n2.png,a sign says go"\n',
    'image,caption\n0,a dog\n1,"Stop here\n0,a sign says go"\n2,a cat\n',
    'image,caption\n0.png,a dog\n1.png,"Stop here\n1.png,a sign says go"\n',
    # The caption first, and other columns.
    'caption,image\na dog,0.png\n"Stop here,1.png\na sign says go",2.png\n',
    'caption,image,split\na dog,0.png,x\n"Stop here,1.png,x\na sign says go",2.png,x\n',
]


@pytest.mark.parametrize("text", SWALLOWED)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("name", ["captions.txt", "metadata.csv"])
def test_lines_swallowed_by_a_quotation_mark_are_refused(tmp_path, text, end, name):
    text = text.replace("\n", end)
    if name == "metadata.csv":
        text = text.replace("image,caption", "file_name,text")
    with pytest.raises(ValueError, match=r"names of images: line 3 \(.*lines\)\. A quotation mark at the") as refused:
        read_captions(written(tmp_path, name, text))
    assert '"""Stop"" says the sign"' in str(refused.value)


def test_captions_of_several_lines_without_file_names_are_read(tmp_path):
    rows = read_captions(written(tmp_path, "a.csv", 'image,caption\na,"one, 2\ntwo.jpg was"\nb,three\n'))
    assert [row.captions for row in rows] == [("one, 2\ntwo.jpg was",), ("three",)]


@pytest.mark.parametrize("missing", ["nan", "NaN", "None", "<NA>"])
def test_what_pandas_writes_for_a_missing_caption_is_refused(tmp_path, missing):
    with pytest.raises(ValueError, match=rf"caption '{missing}', which stands for a missing one: line 3 \(b.jpg\)"):
        read_captions(written(tmp_path, "captions.csv", f"image,caption\na.jpg,A dog\nb.jpg,{missing}\n"))


@pytest.mark.parametrize(
    ("image", "reason"),
    [("https://a.org/b.jpg", "is a URL"), ("data:image/png;base64,iVBO", "is an image in base64")],
)
def test_urls_and_base64_are_named(tmp_path, image, reason):
    text = json.dumps({"image": image, "caption": "A dog"})
    with pytest.raises(ValueError, match=f"image {reason}.*: line 1"):
        read_captions(written(tmp_path, "captions.jsonl", text))


def test_a_git_lfs_pointer_is_named(tmp_path):
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n"
    with pytest.raises(ValueError, match="captions.txt is a Git LFS pointer, not the captions: run `git lfs pull`"):
        read_captions(written(tmp_path, "captions.txt", pointer))
