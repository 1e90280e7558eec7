import os

import pytest

from vla.stimuli.generators.files import safe_name, write_whole


@pytest.mark.parametrize("name", ["000000000139", "1000268201_693b08cb0e", "a photo.2-b~c"])
def test_usual_ids_stay(name):
    assert safe_name(name) == name


@pytest.mark.parametrize(
    "name", ["a/b", "..", ".", " ", "../../etc", "a\\b", "c:d", "狗" * 100, "x" * 300, "a\0b", "%2F"]
)
def test_no_id_leads_out_of_the_folder(tmp_path, name):
    safe = safe_name(name)
    assert os.sep not in safe and "\\" not in safe and ":" not in safe and len(safe.encode()) < 200
    path = tmp_path / safe / "0.png"
    write_whole(path, b"x")
    assert path.resolve().parent.parent == tmp_path.resolve() and path.read_bytes() == b"x"


def test_ids_stay_apart():
    names = ["a/b", "a%2Fb", "a_b", "x" * 300, "x" * 301, ".", "%2E", "..", " ", "%20"]
    assert len({safe_name(name) for name in names}) == len(names)


def test_a_failure_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(ValueError, match="cannot be written: No space left"):
        write_whole(tmp_path / "a.json", b"x")
    assert list(tmp_path.iterdir()) == []
