"""Datasets of TensorFlow Datasets by the names of their features."""

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from tests.stimuli.datasets.published import jpeg
from vla.stimuli import decode_image, read_dataset

JPEGS = [jpeg(seed) for seed in range(4)]
PIXELS = np.random.default_rng(0).integers(0, 256, (4, 6, 8, 3), dtype=np.uint8)


class Someones(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A dataset that knows nothing of this library."""

    VERSION = tfds.core.Version("2.0.0")

    def _info(self):
        features = {
            "photo": tfds.features.Image(shape=(None, None, 3)),
            "pixels": tfds.features.Tensor(shape=(6, 8, 3), dtype=np.uint8),
            "captions": tfds.features.Sequence({"id": tfds.features.Scalar(np.int64), "text": tfds.features.Text()}),
            "title": tfds.features.Text(),
            "number": tfds.features.Scalar(np.int64),
        }
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(features), disable_shuffling=True
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(range(3)), "test": self._generate_examples(range(4))}

    def _generate_examples(self, rows):
        for row in rows:
            yield (
                row,
                {
                    "photo": io.BytesIO(JPEGS[row]),
                    "pixels": PIXELS[row],
                    "captions": [{"id": i, "text": f" caption {row} {i} ü"} for i in range(row + 1)],
                    "title": f"title {row}",
                    "number": 10 + row,
                },
            )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    builder = Someones(data_dir=tmp_path_factory.mktemp("tfds"), file_format="array_record")
    builder.download_and_prepare()
    return Path(builder.data_dir)


def test_nested_captions_and_encoded_images(folder):
    dataset = read_dataset("tfds", folder, image="photo", text="captions.text", id="number", split="test")
    assert dataset.name == "someones" and dataset.ids == ("10", "11", "12", "13")
    assert dataset.items[1].captions == ("caption 1 0 ü", "caption 1 1 ü")
    assert [item.image.open() for item in dataset.items] == JPEGS
    assert dataset.items[3].image.content() == hashlib.sha256(JPEGS[3]).hexdigest()


def test_kept_pixels(folder):
    dataset = read_dataset("tfds", folder, image="pixels", text=("title", "captions.text"), split="train", called="x")
    assert (
        dataset.name == "x"
        and dataset.ids == ("0", "1", "2")
        and dataset.items[0].captions == ("title 0", "caption 0 0 ü")
    )
    assert np.array_equal(np.asarray(decode_image(dataset.items[2].image.open())), PIXELS[2])
    assert len({item.image.content() for item in dataset.items}) == 3


def test_a_sample(folder):
    drawn = read_dataset("tfds", folder, image="photo", text="title", split="test", n=2, seed=5)
    assert [item.captions[0] for item in drawn.items] == [f"title {id}" for id in drawn.ids]
    assert [item.image.open() for item in drawn.items] == [JPEGS[int(id)] for id in drawn.ids]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"split": "dev"}, "test, train"),
        ({}, "name one of them"),
        ({"split": "test", "image": "image"}, "image='image'.*captions, number, photo, pixels, title"),
        ({"split": "test", "image": "title"}, "is a Text; expected an Image"),
        ({"split": "test", "text": "captions"}, "captions.id, captions.text"),
        ({"split": "test", "text": "number"}, "expected a string"),
    ],
)
def test_what_cannot_be_is_told(folder, options, words):
    with pytest.raises(ValueError, match=words):
        read_dataset("tfds", folder, **{"image": "photo", "text": "title", **options})


@pytest.mark.parametrize("name", ["kaggle:evil", "huggingface:some/thing", "../somewhere", "No_Such"])
def test_names_that_are_none_are_refused(name, tmp_path):
    with pytest.raises(ValueError, match="neither a prepared dataset"):
        read_dataset("tfds", name, data_dir=tmp_path)


def test_a_name_that_is_unknown_there_is_told(tmp_path):
    with pytest.raises(ValueError, match="TensorFlow Datasets cannot prepare no_such_dataset_at_all"):
        read_dataset("tfds", "no_such_dataset_at_all", data_dir=tmp_path)


def test_files_of_another_form_are_refused(tmp_path, folder):
    info = (folder / "dataset_info.json").read_text()
    (tmp_path / "dataset_info.json").write_text(info.replace("array_record", "tfrecord"))
    (tmp_path / "features.json").write_text((folder / "features.json").read_text())
    with pytest.raises(ValueError, match='tfrecord files.*file_format="array_record"'):
        read_dataset("tfds", tmp_path, image="photo", text="title", split="test")
