"""The register of datasets as the library reads it."""

import csv
from pathlib import Path

import pytest
import tensorflow_datasets

from vla.stimuli.datasets import register
from vla.stimuli.datasets.register import published


def test_cocos_checksums_are_those_tensorflow_datasets_ships():
    shipped = Path(tensorflow_datasets.__file__).parent / "url_checksums" / "coco_captions.txt"
    known = {row[0]: (int(row[1]), row[2]) for row in csv.reader(shipped.read_text().splitlines(), delimiter="\t")}
    files = [file for file in published("coco_val2017").files.values() if file.sha256]
    assert len(files) == 2
    for file in files:
        assert known[file.url] == (file.bytes, file.sha256)


def test_what_is_not_registered_is_told(monkeypatch, tmp_path):
    with pytest.raises(ValueError, match="no dataset 'imagenet'.*coco_val2017, flickr8k, pick_a_pic"):
        published("imagenet")
    monkeypatch.setattr(register, "REGISTER", tmp_path / "datasets.toml")
    with pytest.raises(ValueError, match="register of datasets .* cannot be read.*name a directory"):
        published("flickr8k")
