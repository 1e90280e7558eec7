"""A folder is there whole or not at all, and is made once."""

import json

import pytest

from vla.microworld.make_once import make_once


def fill(draft):
    (draft / "sub").mkdir()
    (draft / "sub" / "a.txt").write_text("four")


def never(draft):
    raise AssertionError("made again")


def test_made_once(tmp_path):
    place = make_once(tmp_path / "new" / "x", {"n": 3, "tuple": (1,)}, fill)
    assert place == tmp_path / "new" / "x"
    assert (place / "sub" / "a.txt").read_text() == "four"
    recorded = json.loads((place / "microworld.json").read_text())
    assert recorded == {"recipe": {"n": 3, "tuple": [1]}, "files": {"sub/a.txt": 4}}
    assert make_once(place, {"n": 3, "tuple": (1,)}, never) == place
    assert [path.name for path in place.parent.iterdir()] == ["x"]


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "x").mkdir()
    assert (make_once(tmp_path / "x", {}, fill) / "sub").is_dir()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_nothing_is_left_of_a_broken_run(tmp_path, error):
    def breaks(draft):
        fill(draft)
        raise error

    with pytest.raises(error):
        make_once(tmp_path / "x", {}, breaks)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_leaves_does_not_count(tmp_path):
    (tmp_path / ".x.0123").mkdir()
    make_once(tmp_path / "x", {}, fill)
    assert (tmp_path / "x" / "sub" / "a.txt").is_file()


def test_a_faster_process_wins(tmp_path):
    def overtaken(draft):
        fill(draft)
        make_once(tmp_path / "x", {"n": 1}, fill)

    make_once(tmp_path / "x", {"n": 1}, overtaken)
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_something_else_is_left_alone(tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="x holds something else; expected .*Name another folder, or delete"):
        make_once(tmp_path / "x", {"n": 1}, fill)
    assert (tmp_path / "x" / "thesis.txt").read_text() == "years of work"
    (tmp_path / "y").write_text("a file")
    with pytest.raises(ValueError, match="y holds something else"):
        make_once(tmp_path / "y", {"n": 1}, fill)


def test_another_recipe_is_refused(tmp_path):
    make_once(tmp_path / "x", {"n": 1}, fill)
    with pytest.raises(ValueError, match=r'the result of \{"n": 1\}; expected the result of \{"n": 2\}'):
        make_once(tmp_path / "x", {"n": 2}, never)


@pytest.mark.parametrize("harm", [lambda file: file.unlink(), lambda file: file.write_text("fou")])
def test_files_that_are_gone_or_cut_are_named(tmp_path, harm):
    harm(make_once(tmp_path / "x", {}, fill) / "sub" / "a.txt")
    with pytest.raises(ValueError, match="is incomplete: files missing or truncated: sub/a.txt. Delete it"):
        make_once(tmp_path / "x", {}, never)
