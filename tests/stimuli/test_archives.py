"""Archives, well-made and hostile."""

import io
import shutil
import stat
import subprocess
import sys
import tarfile
import zipfile

import numpy as np
import pytest

from vla.stimuli import archives
from vla.stimuli.archives import extract

NOISE = np.random.default_rng(0).bytes(300_000)
FILES = {"val2017/1.jpg": NOISE, "val2017/ü.txt": "Zwei Hunde 🐕".encode(), "read me": b""}


def zipped(path, files, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.mkdir("val2017")
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def tarred(path, files=(), more=(), mode="w"):
    """A tar of files, then of ready-made entries."""
    with tarfile.open(path, mode) as archive:
        for name, data in dict(files).items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for info in more:
            archive.addfile(info)
    return path


def entry(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def nothing_but(folder, *names):
    """Whether a folder holds these and locks alone."""
    return sorted(p.name for p in folder.iterdir() if p.suffix != ".lock") == sorted(names)


@pytest.mark.parametrize("form", ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_everything_arrives_byte_for_byte(tmp_path, form):
    path = tmp_path / f"a.{form}"
    if form == "zip":
        zipped(path, FILES)
    else:
        tarred(path, FILES, mode=f"w:{form[4:]}")
    assert contents(extract(path, tmp_path / "out")) == FILES
    assert nothing_but(tmp_path, path.name, "out")


def test_what_the_systems_own_unzip_reads_is_the_same(tmp_path):
    path = zipped(tmp_path / "a.zip", FILES)
    subprocess.run([sys.executable, "-m", "zipfile", "-e", path, tmp_path / "other"], check=True)
    assert contents(extract(path, tmp_path / "out")) == contents(tmp_path / "other")


def test_archives_within_an_archive_are_files(tmp_path):
    inner = zipped(tmp_path / "inner.zip", {"a.txt": b"a"}).read_bytes()
    within = {"b.txt": b"b", "inner.zip": inner, "inner.tar": tarred(tmp_path / "inner.tar", FILES).read_bytes()}
    for order in (within, dict(reversed(within.items()))):
        for path in (tarred(tmp_path / "a.tar", order), zipped(tmp_path / "a.zip", order, zipfile.ZIP_STORED)):
            out = tmp_path / f"{path.suffix}-{next(iter(order))}"
            found = contents(extract(path, out))
            assert found == within


def test_only_what_is_wanted(tmp_path):
    path = zipped(tmp_path / "a.zip", FILES)
    assert list(contents(extract(path, tmp_path / "out", wanted=lambda name: name.endswith(".jpg")))) == [
        "val2017/1.jpg"
    ]
    with pytest.raises(ValueError, match="nothing that is wanted"):
        extract(path, tmp_path / "none", wanted=lambda name: False)
    assert not (tmp_path / "none").exists()


def test_a_finished_folder_is_not_made_again_and_a_killed_one_is(tmp_path, monkeypatch):
    path = zipped(tmp_path / "a.zip", FILES)
    stale = tmp_path / ".out.tmp"
    (stale / "val2017").mkdir(parents=True)
    (stale / "rest").write_bytes(b"of a killed run")
    extract(path, tmp_path / "out")
    assert contents(tmp_path / "out") == FILES
    monkeypatch.setattr(archives, "_unpack", None)
    assert extract(path, tmp_path / "out") == tmp_path / "out"


def test_a_kill_leaves_no_folder(tmp_path, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    path = zipped(tmp_path / "a.zip", FILES)
    monkeypatch.setattr(archives.shutil, "copyfileobj", killed)
    with pytest.raises(KeyboardInterrupt):
        extract(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


CLIMBING = {
    "../evil": "climbs",
    "a/../../evil": "climbs",
    "a\\..\\..\\evil": "climbs",
    "/tmp/evil": "absolute",
    "C:\\evil": "absolute",
    "\\\\host\\evil": "absolute",
}


@pytest.mark.parametrize("name", CLIMBING)
@pytest.mark.parametrize("form", ["zip", "tar"])
def test_a_path_that_climbs_is_refused_before_anything_is_written(tmp_path, form, name):
    (tmp_path / "in").mkdir()
    make = {"zip": zipped, "tar": tarred}[form]
    path = make(tmp_path / "in" / f"a.{form}", {**FILES, name: b"x"})
    with pytest.raises(ValueError, match=CLIMBING[name]) as refusal:
        # Asking for the good ones alone does not make the archive a good one.
        extract(path, tmp_path / "in" / "out", wanted=lambda name: name.endswith(".jpg"))
    assert str(path) in str(refusal.value) and repr(name) in str(refusal.value)
    assert nothing_but(tmp_path, "in") and nothing_but(tmp_path / "in", path.name)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ([entry("val2017/l", tarfile.SYMTYPE, "../../etc/passwd")], "no file that comes before it"),
        ([entry("l", tarfile.SYMTYPE, "/etc/passwd")], "'/etc/passwd'"),
        ([entry("l", tarfile.LNKTYPE, "../a")], "'../a'"),
        ([entry("d", tarfile.SYMTYPE, "..")], "no file that comes before it"),
        ([entry("d", tarfile.SYMTYPE, "."), entry("d/x", tarfile.REGTYPE)], "no file that comes before it"),
        ([entry("null", tarfile.CHRTYPE)], "device"),
        ([entry("pipe", tarfile.FIFOTYPE)], "device"),
        ([entry("val2017/1.jpg", tarfile.REGTYPE)], "twice"),
    ],
)
def test_links_that_lead_out_and_devices_are_refused(tmp_path, more, words):
    path = tarred(tmp_path / "a.tar", FILES, more)
    with pytest.raises(ValueError, match=words) as refusal:
        extract(path, tmp_path / "out")
    assert str(path) in str(refusal.value) and "member" in str(refusal.value)
    assert nothing_but(tmp_path, "a.tar")


def test_links_within_the_archive_become_copies(tmp_path):
    links = [
        entry("val2017/soft", tarfile.SYMTYPE, "../val2017/1.jpg"),
        entry("hard", tarfile.LNKTYPE, "val2017/1.jpg"),
    ]
    out = extract(tarred(tmp_path / "a.tar", FILES, links), tmp_path / "out")
    assert contents(out) == {**FILES, "val2017/soft": NOISE, "hard": NOISE}
    assert not any(path.is_symlink() for path in out.rglob("*"))


def test_a_link_in_a_zip_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        info = zipfile.ZipInfo("link")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(ValueError, match="'link' is a link"):
        extract(tmp_path / "a.zip", tmp_path / "out")


@pytest.mark.parametrize("form", ["zip", "tar.gz"])
def test_a_bomb_is_refused_by_what_it_claims(tmp_path, form):
    zeros = {f"{i}": bytes(5_000_000) for i in range(5)}
    path = tmp_path / f"a.{form}"
    path = zipped(path, zeros) if form == "zip" else tarred(path, zeros, mode="w:gz")
    assert path.stat().st_size < 60_000
    with pytest.raises(ValueError, match="bomb") as refusal:
        extract(path, tmp_path / "out")
    assert "'3'" in str(refusal.value) and nothing_but(tmp_path, path.name)
    assert len(contents(extract(path, tmp_path / "out", max_growth=2000))) == 5


def test_a_member_that_lies_about_its_size_is_refused(tmp_path):
    path = zipped(tmp_path / "a.zip", {"zeros": bytes(3_000_000)})
    data = path.read_bytes()
    size = (3_000_000).to_bytes(4, "little")
    assert data.count(size) == 2
    path.write_bytes(data.replace(size, (1_000).to_bytes(4, "little")))
    with pytest.raises(ValueError, match="'zeros'"):
        extract(path, tmp_path / "out")
    assert nothing_but(tmp_path, "a.zip")


@pytest.mark.parametrize("form", ["zip", "tar.gz", "tar"])
def test_a_damaged_archive_is_named(tmp_path, form):
    path = tmp_path / f"a.{form}"
    path = zipped(path, FILES) if form == "zip" else tarred(path, FILES, mode="w:gz" if "gz" in form else "w")
    whole = path.read_bytes()
    for broken in (whole[: len(whole) // 2], b"no archive at all", b"", whole[:5000] + b"XXXX" + whole[5004:]):
        path.write_bytes(broken)
        if form == "tar" and broken[5000:5004] == b"XXXX":
            continue  # a plain tar has no check sums of its files
        with pytest.raises(ValueError, match=str(path)):
            extract(path, tmp_path / "out")
        assert nothing_but(tmp_path, path.name)


def test_an_encrypted_zip_is_named(tmp_path):
    path = zipped(tmp_path / "a.zip", {"a": b"abc"}, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = -1
        while (start := data.find(signature, start + 1)) >= 0:
            data[start + offset] |= 1
    path.write_bytes(bytes(data))
    with pytest.raises(ValueError, match="encrypted"):
        extract(path, tmp_path / "out")


def test_a_disk_that_is_too_small_is_told_first(tmp_path, monkeypatch):
    path = zipped(tmp_path / "a.zip", FILES)
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1000))
    with pytest.raises(ValueError, match="only 1,000 free"):
        extract(path, tmp_path / "out")
