"""A file of a store is there whole or not at all."""

import os
from pathlib import Path

import fsspec
import pytest

from vla.activations.whole_files import open_root, put_whole


def test_a_local_root_is_absolute_and_a_url_stays_as_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert open_root("store/", "store")[1:] == (f"{tmp_path}/store", f"{tmp_path}/store")
    assert not Path("store").exists()
    assert open_root("memory://bucket/store/", "store")[2] == "memory://bucket/store"
    with pytest.raises(ValueError, match=r"score store 'nowhere://x': .*Expected a local path or a URL"):
        open_root("nowhere://x", "score store")


@pytest.mark.parametrize("root", ["local", "memory://whole"])
def test_what_is_put_is_there_and_what_was_there_is_replaced(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fs, base, _ = open_root(root, "store")
    for data in (b"first", b"second, and longer"):
        put_whole(fs, f"{base}/deep/er/file", data, f"{base}/name")
        assert fs.cat_file(f"{base}/deep/er/file") == data
    assert [path.rsplit("/", 1)[-1] for path in fs.find(base)] == ["file"]


def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    fs = fsspec.filesystem("file")
    put_whole(fs, f"{tmp_path}/file", b"kept", f"{tmp_path}/name")

    def full(self, data):
        with open(self, "wb") as file:
            file.write(data[:2])
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="disk full"):
        put_whole(fs, f"{tmp_path}/file", b"other", f"{tmp_path}/name")
    assert os.listdir(tmp_path) == ["file"] and (tmp_path / "file").read_bytes() == b"kept"
