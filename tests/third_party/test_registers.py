"""The registers of what comes from outside are whole."""

import re
import tomllib
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "third_party"
FIELDS = {
    "checkpoint": {
        "id": str,
        "family": str,
        "modality": str,
        "depth": int,
        "width": int,
        "licence": str,
        "origin": str,
        "revision": str,
        "note": str,
    },
    "dataset": {
        "id": str,
        "name": str,
        "images": int,
        "captions": int,
        "licence": str,
        "origin": str,
        "citation": str,
        "note": str,
    },
}


def entries(kind: str) -> list[dict]:
    register = tomllib.loads((FOLDER / f"{kind}s.toml").read_text(encoding="utf-8"))
    assert set(register) == {kind}
    return register[kind]


@pytest.mark.parametrize("kind", FIELDS)
def test_every_field_is_there_and_ids_are_unique(kind):
    listed = entries(kind)
    for entry in listed:
        pins = {"sha256"} & set(entry)
        assert set(entry) - pins == set(FIELDS[kind]), entry["id"]
        for field, form in FIELDS[kind].items():
            assert isinstance(entry[field], form) and entry[field], (entry["id"], field)
        assert entry["origin"].startswith("https://")
        assert all(re.fullmatch("[0-9a-f]{64}", entry[pin]) for pin in pins)
    assert len({entry["id"] for entry in listed}) == len(listed) > 0


def test_checkpoints_are_pinned_or_say_that_they_are_not():
    for entry in entries("checkpoint"):
        assert re.fullmatch("main|[0-9a-f]{40}", entry["revision"]), entry["id"]
        assert entry["modality"] in ("vision", "language")
        assert entry["origin"] == f"https://huggingface.co/{entry['id']}"


def test_the_folder_holds_the_register_alone():
    assert sorted(path.name for path in FOLDER.iterdir()) == ["README.md", "checkpoints.toml", "datasets.toml"]
