import pytest

from vla.report.whole import whole


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "scores.csv"
    whole(path, lambda p: p.write_text("old"))

    def fails(p):
        p.write_text("half")
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError):
        whole(path, fails)
    assert path.read_text() == "old"
    whole(path, lambda p: p.write_text("new"))
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


def test_folders_are_replaced_too(tmp_path):
    for text in ("old", "new"):
        whole(tmp_path / "group", lambda p, text=text: (p.mkdir(), (p / text).write_text(text)))
    assert [p.name for p in (tmp_path / "group").iterdir()] == ["new"]
