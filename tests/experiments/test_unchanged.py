"""A record of files tells whether they are those that would be made again."""

import hashlib

import pytest

from vla.experiments import unchanged as module
from vla.experiments.unchanged import remove_made, still_made, unchanged, write_record

MADE_FROM = {"scores": ["a", "b"], "seed": 42}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "figures").mkdir()
    for name in ("page.html", "figures/one.svg"):
        (tmp_path / name).write_text(name)
    write_record(tmp_path / "report" / "made.json", MADE_FROM, [tmp_path / "page.html", tmp_path / "figures/one.svg"])
    return tmp_path


def test_the_same_is_unchanged(folder):
    assert unchanged(folder / "report" / "made.json", {"seed": 42, "scores": ["a", "b"]})


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "page.html").write_text("edited"),
        lambda folder: (folder / "figures/one.svg").unlink(),
        lambda folder: (folder / "report/made.json").write_text("{"),
        lambda folder: (folder / "report/made.json").write_text("[]"),
        lambda folder: (folder / "report/made.json").unlink(),
    ],
)
def test_files_that_are_not_as_they_were_made_are_made_again(spoil, folder):
    spoil(folder)
    assert not unchanged(folder / "report" / "made.json", MADE_FROM)


def test_other_settings_and_other_code_make_other_files(folder, monkeypatch):
    record = folder / "report" / "made.json"
    assert not unchanged(record, {**MADE_FROM, "seed": 43})
    monkeypatch.setattr(module, "code", lambda: "other")
    assert not unchanged(record, MADE_FROM)


def test_what_was_made_is_removed_and_what_others_wrote_stays(folder):
    (folder / "page.html").write_text("edited")
    record = folder / "report" / "made.json"
    assert [path.resolve() for path in still_made(record)] == [folder / "figures/one.svg"]
    remove_made(record)
    assert {path.name for path in folder.rglob("*") if path.is_file()} == {"page.html"}
    remove_made(record)
    assert still_made(record) == []


def test_code_is_every_source_of_the_package(tmp_path, monkeypatch):
    for name in ("records.py", "report/page.j2", "report/picture.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    monkeypatch.setattr("vla.records.__file__", str(tmp_path / "records.py"))
    lines = [f"{name}\0{hashlib.sha256(name.encode()).hexdigest()}\n" for name in ("records.py", "report/page.j2")]
    assert module.code.__wrapped__() == hashlib.sha256("".join(lines).encode()).hexdigest()
