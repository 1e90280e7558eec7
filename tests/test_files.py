"""Files are written completely or not at all, and any text becomes a file name."""

import hashlib
import os
from pathlib import Path

import fsspec
import pytest

from vla.files import file_hash, open_root, put_file, replacing, safe_name, write_file


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = write_file(tmp_path / "folder" / "scores.csv", "old")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError("disk full")
    assert path.read_text() == "old"
    write_file(path, "neü")
    assert path.read_bytes() == "neü".encode() and list(path.parent.iterdir()) == [path]


def test_folders_too_are_written_completely_or_not_at_all(tmp_path):
    path = tmp_path / "folder"
    with pytest.raises(KeyboardInterrupt), replacing(path) as temporary:
        temporary.mkdir()
        (temporary / "half").write_text("")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    with replacing(path) as temporary:
        temporary.mkdir()
        (temporary / "file").write_text("")
    assert [file.name for file in path.iterdir()] == ["file"] and list(tmp_path.iterdir()) == [path]
    with pytest.raises(OSError), replacing(path) as temporary:
        temporary.mkdir()
    assert [file.name for file in path.iterdir()] == ["file"] and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("left", ["file", "folder"])
def test_a_fixed_temporary_path_is_cleared_first(left, tmp_path):
    temporary = tmp_path / ".name.tmp"
    if left == "file":
        temporary.write_text("of a killed run")
    else:
        (temporary / "of a killed run").mkdir(parents=True)
    with replacing(tmp_path / "name", temporary) as path:
        assert path == temporary and not path.exists()
        path.mkdir()
    assert [path.name for path in tmp_path.iterdir()] == ["name"]


def test_a_file_that_cannot_be_written_is_named_and_nothing_is_left(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(ValueError, match=r"a\.json cannot be written: No space left"):
        write_file(tmp_path / "a.json", b"x")
    assert list(tmp_path.iterdir()) == []


def test_a_local_root_is_absolute_and_a_url_stays_as_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert open_root("store/", "store")[1:] == (f"{tmp_path}/store", f"{tmp_path}/store")
    assert not Path("store").exists()
    assert open_root("memory://bucket/store/", "store")[2] == "memory://bucket/store"
    with pytest.raises(ValueError, match=r"score store 'nowhere://x': .*Expected a local path or a URL"):
        open_root("nowhere://x", "score store")


@pytest.mark.parametrize("root", ["local", "memory://bucket"])
def test_a_file_of_a_store_is_replaced(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fs, base, _ = open_root(root, "store")
    for data in (b"first", b"second, and longer"):
        put_file(fs, f"{base}/deep/er/file", data, f"{base}/name")
        assert fs.cat_file(f"{base}/deep/er/file") == data
    assert [path.rsplit("/", 1)[-1] for path in fs.find(base)] == ["file"]


def test_a_failed_write_to_a_store_leaves_the_old_file(tmp_path, monkeypatch):
    fs = fsspec.filesystem("file")
    put_file(fs, f"{tmp_path}/file", b"kept", f"{tmp_path}/name")

    def full(self, data):
        with open(self, "wb") as file:
            file.write(data[:2])
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="disk full"):
        put_file(fs, f"{tmp_path}/file", b"other", f"{tmp_path}/name")
    assert os.listdir(tmp_path) == ["file"] and (tmp_path / "file").read_bytes() == b"kept"


@pytest.mark.parametrize("name", ["000000000139", "1000268201_693b08cb0e", "a photo.2-b~c"])
def test_usual_ids_stay(name):
    assert safe_name(name) == name


@pytest.mark.parametrize(
    "name", ["a/b", "..", ".", " ", "../../etc", "a\\b", "c:d", "狗" * 100, "x" * 300, "a\0b", "%2F"]
)
def test_no_id_leads_out_of_the_folder(tmp_path, name):
    safe = safe_name(name)
    assert os.sep not in safe and "\\" not in safe and ":" not in safe and len(safe.encode()) < 200
    path = write_file(tmp_path / safe / safe, b"x")
    assert path.resolve().parent.parent == tmp_path.resolve() and path.read_bytes() == b"x"


def test_ids_stay_apart():
    names = ["a/b", "a%2Fb", "a_b", "x" * 300, "x" * 301, ".", "%2E", "..", " ", "%20"]
    assert len({safe_name(name) for name in names}) == len(names)


def test_the_longest_name_can_be_written(tmp_path):
    name = "狗" * 85  # 255 bytes
    assert write_file(tmp_path / name, b"x").read_bytes() == b"x"


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
def test_a_file_hash_is_that_of_its_bytes(algorithm, tmp_path):
    content = bytes(range(256)) * 5000
    (tmp_path / "a").write_bytes(content)
    assert file_hash(tmp_path / "a", algorithm) == hashlib.new(algorithm, content).hexdigest()
