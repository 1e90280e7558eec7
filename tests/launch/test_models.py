"""launch.models: the register as a table, as CSV, as JSON."""

import csv
import io
import json

import huggingface_hub
import pytest
from absl import flags
from absl.testing import flagsaver

from launch import models
from vla.models.catalogue import checkpoints


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    if not flags.FLAGS.is_parsed():
        flags.FLAGS(["launch.models"])
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))


def printed(capsys, **options) -> str:
    with flagsaver.flagsaver(**options):
        models.main()
    return capsys.readouterr().out


def test_every_checkpoint_is_listed_with_its_sizes(capsys):
    text = printed(capsys)
    assert all(checkpoint.id in text for checkpoint in checkpoints())
    [line] = [line for line in text.splitlines() if "openlm-research/open_llama_3b" in line]
    cells = [cell.strip() for cell in line.split("│")[1:-1]]
    assert cells == [
        "openlm-research/open_llama_3b", "llama", "26", "3200", "2048", "3,426 M", "6.85 GB float16", "Apache-2.0",
        "1410670", "",
    ]  # fmt: skip
    [loose] = [line for line in text.splitlines() if "bigscience/bloomz-1b1" in line]
    assert "not pinned" in loose


def test_modality_and_family_choose(capsys):
    found = json.loads(printed(capsys, modality="vision", family="dinov2", format="json"))
    assert [row["id"] for row in found] == ["facebook/dinov2-base", "facebook/dinov2-large"]
    assert found[0] == {
        "id": "facebook/dinov2-base",
        "family": "dinov2",
        "modality": "vision",
        "layers": 12,
        "width": 768,
        "heads": 12,
        "input": 518,
        "parameters": 86580480,
        "disk_gb": 0.35,
        "dtype": "float32",
        "licence": "Apache-2.0",
        "cached": False,
        "revision": "f9e44c814b77203eaa57a6bdbbd535f21ede1415",
    }
    assert json.loads(printed(capsys, modality="language", family="dinov2", format="json")) == []


def test_csv_holds_the_same(capsys):
    rows = list(csv.DictReader(io.StringIO(printed(capsys, format="csv"))))
    assert [row["id"] for row in rows] == [checkpoint.id for checkpoint in checkpoints()]
    assert rows[0]["layers"] == "24"


def test_what_is_in_the_cache_is_marked(capsys, tmp_path):
    commit = "f9e44c814b77203eaa57a6bdbbd535f21ede1415"
    snapshot = tmp_path / "models--facebook--dinov2-base" / "snapshots" / commit
    snapshot.mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        (snapshot / name).write_bytes(b"")
    found = json.loads(printed(capsys, family="dinov2", format="json"))
    assert [row["cached"] for row in found] == [True, False]


def test_an_unknown_family_lists_the_known_ones(capsys):
    with pytest.raises(ValueError, match="no family is called 'bert'; there are: bloom, clip, "):
        printed(capsys, family="bert")
