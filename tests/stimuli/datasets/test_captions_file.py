"""Captions files as people publish them, and as they break them."""

import json

import pytest

from vla.stimuli.datasets.captions_file import CaptionRow, read_captions


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
