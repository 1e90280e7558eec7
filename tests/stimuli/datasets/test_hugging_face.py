"""Hugging Face datasets of every kind that has images and texts, made on this machine."""

import base64
import hashlib
import io
import pickle

import datasets
import numpy as np
import pytest
from PIL import Image

from tests.stimuli.datasets.published import jpeg
from vla.records import Dataset, Item, LazyImage
from vla.stimuli import decode_image, read_dataset, sample
from vla.stimuli.datasets.hugging_face import TableImage, read_hugging_face

JPEGS = [jpeg(seed) for seed in range(6)]
SAID = [[f"caption {i}", f" Bild {i} 🐕\n"] for i in range(6)]


@pytest.fixture(autouse=True)
def nothing_in_the_home(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    # After a stream the library waits this long for its threads.
    monkeypatch.setattr(datasets.config, "SLEEP_TIME_ON_THREADS_SHUTDOWN", 0)
    datasets.disable_progress_bars()


def table(encoded=True, **columns):
    whole = {"image": JPEGS, "captions": SAID, "key": [f"k{i}" for i in range(6)], **columns}
    rows = datasets.Dataset.from_dict(whole)
    return rows.cast_column("image", datasets.Image()) if encoded else rows


def check(dataset, rows=range(6), ids=None):
    """Whether items are these rows of the table."""
    assert dataset.ids == tuple(ids or [str(row) for row in rows])
    for item, row in zip(dataset.items, rows, strict=True):
        assert item.captions == (f"caption {row}", f"Bild {row} 🐕")
        data = item.image.open() if isinstance(item.image, LazyImage) else item.image.read_bytes()
        assert data == JPEGS[row]
        assert decode_image(data).size == (8, 6)


@pytest.mark.parametrize("form", ["saved", "saved splits", "parquet", "parquet folder", "bytes"])
def test_every_form_gives_the_same_items(tmp_path, form):
    place = tmp_path / "my_data"
    options = {}
    if form == "saved":
        table().save_to_disk(place)
    elif form == "saved splits":
        datasets.DatasetDict({"train": table(key=list("abcdef")), "test": table()}).save_to_disk(place)
        options["split"] = "test"
    else:
        rows = table(encoded=form != "bytes")
        place.mkdir()
        rows.to_parquet(place / "my_data.parquet")
        place = place if form == "parquet folder" else place / "my_data.parquet"
    dataset = read_dataset("hugging_face", place, text="captions", id="key", **options)
    check(dataset, ids=[f"k{i}" for i in range(6)])
    assert dataset.name == "my_data"
    assert dataset.items[2].image.content() == hashlib.sha256(JPEGS[2]).hexdigest()
    assert pickle.loads(pickle.dumps(dataset.items[2].image)).open() == JPEGS[2]


def test_a_dot_is_part_of_a_name_and_a_suffix_is_not(tmp_path):
    table().save_to_disk(tmp_path / "photos-1.5")
    table().to_parquet(tmp_path / "photos-1.5.parquet")
    for place in ("photos-1.5", "photos-1.5.parquet"):
        assert read_dataset("hugging_face", tmp_path / place, text="captions").name == "photos-1.5"


def test_an_imagefolder(tmp_path):
    for i, data in enumerate(JPEGS):
        (tmp_path / f"{i}.jpg").write_bytes(data)
    lines = "".join(f'{i}.jpg,caption {i},"Bild {i} 🐕"\n' for i in range(6))
    (tmp_path / "metadata.csv").write_text("file_name,one,two\n" + lines)
    check(read_dataset("hugging_face", tmp_path, text=("one", "two"), split="train"))


def test_paths_in_files_of_ones_own(tmp_path):
    (tmp_path / "pictures").mkdir()
    for i, data in enumerate(JPEGS):
        (tmp_path / "pictures" / f"{i}.jpg").write_bytes(data)
    lines = "".join(f"pictures/{i}.jpg\tx\n".replace("\t", f",caption {i},Bild {i} 🐕,") for i in range(6))
    (tmp_path / "table.csv").write_text("image,one,two,rest\n" + lines)
    check(read_dataset("hugging_face", tmp_path / "table.csv", text=["one", "two"]))


def test_csv_is_read_as_published(tmp_path):
    for i, data in enumerate(JPEGS[:3]):
        (tmp_path / f"{i}.jpg").write_bytes(data)
    # Ids with leading zeros, and captions that pandas takes for missing or for numbers.
    (tmp_path / "table.csv").write_text("image,id,text\n0.jpg,007,NA\n1.jpg,010,null\n2.jpg,7,2020\n")
    dataset = read_dataset("hugging_face", tmp_path / "table.csv", id="id")
    assert dataset.ids == ("007", "010", "7")
    assert [item.captions for item in dataset.items] == [("NA",), ("null",), ("2020",)]
    (tmp_path / "table.csv").write_text("image,id,text\n0.jpg,007,one\n1.jpg,010,nan\n2.jpg,7,\n")
    with pytest.raises(
        ValueError, match="2 rows of .* have an empty caption, none, or one that stands for none.*010, 7"
    ):
        read_dataset("hugging_face", tmp_path / "table.csv", id="id")
    folder = tmp_path / "photographs"
    folder.mkdir()
    for i in range(3):
        (tmp_path / f"{i}.jpg").rename(folder / f"{i}.jpg")
    (folder / "metadata.csv").write_text("file_name,id,text\n0.jpg,007,one\n1.jpg,010,two\n2.jpg,8,three\n")
    with pytest.raises(
        ValueError, match="id='id': .*metadata.csv has ids with leading zeros, such as '007', which are"
    ):
        read_dataset("hugging_face", folder, id="id", split="train")


@pytest.mark.parametrize("name", ["table.csv", "metadata.csv"])
def test_lines_swallowed_by_a_quotation_mark_are_refused(tmp_path, name):
    for i, data in enumerate(JPEGS[:4]):
        (tmp_path / f"{i}.jpg").write_bytes(data)
    column, place = ("image", tmp_path / name) if name == "table.csv" else ("file_name", tmp_path)
    lines = [f"{column},text", "0.jpg,a dog", '1.jpg,"Stop here', "2.jpg,a dog runs", '3.jpg,a sign says go"', ""]
    (tmp_path / name).write_text("\n".join(lines))
    with pytest.raises(ValueError, match=rf"{name} has captions that run over several lines.*: line 3 \(1.jpg"):
        read_dataset("hugging_face", place, split="train")


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        (["https://a.org/0.jpg"] * 6, "the column of .* has 'https://a.org/0.jpg', which is a URL, and URLs are not"),
        (
            [base64.b64encode(data).decode() for data in JPEGS],
            "the column of .* has '/9j/.*', which is an image in bas",
        ),
        (["a.jpg"] * 6, r"the column of .* holds text, such as 'a.jpg'.*Paths are read of local tables only"),
    ],
)
def test_tables_of_urls_and_base64_are_refused(tmp_path, cells, words, monkeypatch):
    table(encoded=False, image=cells).to_parquet(tmp_path / "x.parquet")
    if "local tables only" in words:
        rows = table(encoded=False, image=cells)
        monkeypatch.setattr("vla.stimuli.datasets.hugging_face._loaded", lambda *options: rows)
        source = "somebody/somewhere"
    else:
        source = tmp_path / "x.parquet"
    with pytest.raises(ValueError, match=words):
        read_hugging_face(source, text="captions")


def test_git_lfs_pointers_are_named(tmp_path):
    (tmp_path / "x.parquet").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    for place in (tmp_path, tmp_path / "x.parquet"):
        with pytest.raises(
            ValueError, match="holds Git LFS pointers, not the files themselves: x.parquet. Run `git lfs"
        ):
            read_hugging_face(place, text="captions")


def test_nested_columns(tmp_path):
    nested = [[{"raw": text, "tokens": text.split()} for text in said] for said in SAID]
    table(captions=nested).save_to_disk(tmp_path / "x")
    check(read_dataset("hugging_face", tmp_path / "x", text="captions.raw"))
    with pytest.raises(ValueError, match="captions.raw, captions.tokens"):
        read_dataset("hugging_face", tmp_path / "x", text="captions")


def test_the_sample_is_the_one_of_other_readers(tmp_path):
    table().save_to_disk(tmp_path / "x")
    drawn = read_dataset("hugging_face", tmp_path / "x", text="captions", n=3, seed=7)
    plain = Dataset("x", tuple(Item(str(row), tmp_path, ()) for row in range(6)))
    assert drawn.ids == sample(plain, 3, 7).ids
    check(drawn, [int(id) for id in drawn.ids])


def test_empty_captions_matter_where_they_are_drawn(tmp_path):
    table(captions=[[" "], *SAID[1:]]).save_to_disk(tmp_path / "x")
    with pytest.raises(ValueError, match="1 rows of .* empty caption.*: 0"):
        read_dataset("hugging_face", tmp_path / "x", text="captions")


@pytest.mark.parametrize("form", ["image", "bytes"])
def test_rows_without_an_image_are_a_choice(tmp_path, form):
    holed = table(encoded=form == "image", image=[JPEGS[0], None, *JPEGS[2:]])
    holed.save_to_disk(tmp_path / "x")
    with pytest.raises(ValueError, match="1 rows of .* have no image: 1"):
        read_dataset("hugging_face", tmp_path / "x", text="captions")
    dropped = read_dataset("hugging_face", tmp_path / "x", text="captions", missing_images="drop")
    check(dropped, [0, 2, 3, 4, 5])
    assert dropped.dropped == ("1",)


def test_a_stream_is_taken_from_its_beginning_shuffled(tmp_path):
    table().to_parquet(tmp_path / "x.parquet")
    options = {"text": "captions", "id": "key", "n": 4, "streaming": True}
    drawn = read_hugging_face(tmp_path / "x.parquet", **options, seed=1)
    check(drawn, [int(id[1:]) for id in drawn.ids], drawn.ids)
    samples = [read_hugging_face(tmp_path / "x.parquet", **options, seed=seed).ids for seed in (1, 2, 3)]
    assert samples[0] == drawn.ids and len(set(samples)) > 1
    table().save_to_disk(tmp_path / "saved")
    saved = read_hugging_face(tmp_path / "saved", **options, seed=1)
    check(saved, [int(id[1:]) for id in saved.ids], saved.ids)
    for n, words in ((None, "how many rows"), (7, "has 6 rows")):
        with pytest.raises(ValueError, match=words):
            read_hugging_face(tmp_path / "x.parquet", text="captions", n=n, streaming=True)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "text='text'.*no such column; it has captions, image, key, number, same"),
        ({"text": "captions", "image": "photo"}, "image='photo'.*no such column"),
        ({"text": "captions", "id": "name"}, "id='name'.*no such column"),
        ({"text": "captions", "id": "same"}, "more than once: a"),
        ({"text": "captions", "id": "captions"}, "expected text or a whole number"),
        ({"text": ()}, "at least one column"),
        ({"text": "number"}, "row 0 of .* has a int.*expected a string"),
        ({"text": "captions", "image": "number"}, "type int64; expected images"),
        ({"text": "captions", "split": "test"}, "it has no splits"),
        ({"text": "captions", "n": 7}, "at most 6"),
        ({"text": "captions", "missing_images": "skip"}, "drop, refuse"),
        ({"text": "captions", "trust_remote_code": True}, "no option trust_remote_code; it has cache_dir, config"),
    ],
)
def test_what_cannot_be_is_told(tmp_path, options, words):
    table(same=list("abacde"), number=list(range(6))).save_to_disk(tmp_path / "x")
    with pytest.raises(ValueError, match=words):
        read_dataset("hugging_face", tmp_path / "x", **options)


def test_several_splits_have_to_be_chosen_from(tmp_path):
    datasets.DatasetDict({"train": table(), "test": table()}).save_to_disk(tmp_path / "x")
    with pytest.raises(ValueError, match="splits test, train; name one"):
        read_dataset("hugging_face", tmp_path / "x", text="captions")
    with pytest.raises(ValueError, match="no split 'dev'; it has test, train"):
        read_dataset("hugging_face", tmp_path / "x", text="captions", split="dev")


def test_code_that_lies_in_a_folder_is_not_run(tmp_path):
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil" / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(ValueError, match="evil cannot be loaded"):
        read_dataset("hugging_face", tmp_path / "evil", text="captions")
    assert not (tmp_path / "ran").exists()


def test_a_hub_that_cannot_be_reached_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match="nobody/nothing cannot be loaded"):
        read_dataset("hugging_face", "nobody/nothing", text="captions", split="test")
    with pytest.raises(ValueError, match="hugging_face needs directory="):
        read_dataset("hugging_face", text="captions")


def test_pixels_are_those_the_library_decodes(tmp_path):
    png = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)).save(png, "PNG")
    rows = table(image=[png.getvalue()] * 6)
    rows.save_to_disk(tmp_path / "x")
    item = read_dataset("hugging_face", tmp_path / "x", text="captions").items[0]
    assert isinstance(item.image, TableImage)
    assert np.array_equal(np.asarray(decode_image(item.image.open())), np.asarray(rows[0]["image"]))
