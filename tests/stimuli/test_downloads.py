"""Downloads against servers that cut, change, refuse and lie."""

import hashlib
import re
import shutil

import numpy as np
import pytest

from tests.stimuli.servers import Site, serving
from vla.stimuli import downloads
from vla.stimuli.downloads import fetch

BODY = np.random.default_rng(0).bytes(3_000_000)
SHA256 = hashlib.sha256(BODY).hexdigest()
MD5 = hashlib.md5(BODY).hexdigest()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    waits = []
    monkeypatch.setattr(downloads.time, "sleep", waits.append)
    monkeypatch.setenv("NO_PROXY", "*")
    return waits


def left(folder):
    """What a download leaves beside its lock."""
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


@pytest.mark.parametrize("pin", [{"sha256": SHA256}, {"md5": MD5}, {"sha256": SHA256, "size": len(BODY)}])
def test_a_file_arrives_whole_and_is_not_fetched_twice(tmp_path, pin):
    with serving(Site({"/a.bin": BODY})) as site:
        path = fetch(f"{site.url}/a.bin", tmp_path / "new" / "a.bin", **pin)
        assert fetch(f"{site.url}/a.bin", path, **pin) == path == tmp_path / "new" / "a.bin"
        assert len(site.requests) == 1
    assert path.read_bytes() == BODY and left(path.parent) == ["a.bin"]


def test_a_cut_connection_is_continued_where_it_was_cut(tmp_path):
    with serving(Site({"/a.bin": BODY}, cut_after=[1_200_000, 700_000])) as site:
        path = fetch(f"{site.url}/a.bin", tmp_path / "a.bin", sha256=SHA256, size=len(BODY))
        _, second, third = site.ranges_asked
        # A buffered piece may be lost at the cut, never more.
        first_kept, second_kept = (int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) for asked in (second, third))
        assert 0 < first_kept <= 1_200_000 < second_kept <= 1_900_000
    assert path.read_bytes() == BODY and left(tmp_path) == ["a.bin"]


def test_a_later_call_continues_what_a_killed_one_left(tmp_path):
    with serving(Site({"/a.bin": BODY}, cut_after=[2_200_000])) as site:
        with pytest.raises(ValueError, match="could not be fetched"):
            fetch(f"{site.url}/a.bin", tmp_path / "a.bin", sha256=SHA256, attempts=1)
        assert left(tmp_path) == ["a.bin.part", "a.bin.part.json"]
        have = (tmp_path / "a.bin.part").stat().st_size
        fetch(f"{site.url}/a.bin", tmp_path / "a.bin", sha256=SHA256)
        assert site.ranges_asked == [None, f"bytes={have}-"]
        assert site.requests[1][1]["If-Range"] == '"1"'
    assert (tmp_path / "a.bin").read_bytes() == BODY


@pytest.mark.parametrize("change", ["version", "no ranges", "no version", "another url"])
def test_bytes_that_cannot_be_continued_are_dropped(tmp_path, change):
    other = BODY[::-1]
    with serving(Site({"/a.bin": other}, cut_after=[1_500_000])) as site:
        with pytest.raises(ValueError):
            fetch(f"{site.url}/a.bin", tmp_path / "a.bin", attempts=1)
        site.files = {"/a.bin": BODY, "/b.bin": BODY}
        site.ranges = change != "no ranges"
        site.version = {"version": '"2"', "no version": None}.get(change, '"1"')
        name = "b.bin" if change == "another url" else "a.bin"
        path = fetch(f"{site.url}/{name}", tmp_path / "a.bin", sha256=SHA256 if change == "no ranges" else None)
    assert path.read_bytes() == BODY


def test_bytes_of_another_file_under_the_same_version_are_found_by_the_checksum(tmp_path):
    with serving(Site({"/a.bin": BODY[::-1]}, cut_after=[1_500_000])) as site:
        with pytest.raises(ValueError):
            fetch(f"{site.url}/a.bin", tmp_path / "a.bin", attempts=1)
        site.files = {"/a.bin": BODY}
        assert fetch(f"{site.url}/a.bin", tmp_path / "a.bin", sha256=SHA256).read_bytes() == BODY
        assert len(site.requests) == 3


def test_a_part_that_is_already_whole_is_taken(tmp_path):
    with serving(Site({"/a.bin": BODY})) as site:
        (tmp_path / "a.bin.part").write_bytes(BODY)
        (tmp_path / "a.bin.part.json").write_text(f'{{"url": "{site.url}/a.bin", "version": "\\"1\\""}}')
        assert fetch(f"{site.url}/a.bin", tmp_path / "a.bin", sha256=SHA256).read_bytes() == BODY
        assert site.ranges_asked == [f"bytes={len(BODY)}-"]


@pytest.mark.parametrize(("pin", "digest"), [("sha256", SHA256), ("md5", MD5)])
def test_another_checksum_is_refused_with_both_sums(tmp_path, pin, digest):
    wrong = digest[:-1] + ("0" if digest[-1] != "0" else "1")
    with serving(Site({"/a.bin": BODY})) as site, pytest.raises(ValueError) as refusal:
        fetch(f"{site.url}/a.bin", tmp_path / "a.bin", **{pin: wrong})
    for part in (f"{site.url}/a.bin", digest, wrong, "published", str(tmp_path / "a.bin")):
        assert part in str(refusal.value)
    assert left(tmp_path) == []


@pytest.mark.parametrize("lengths", [True, False])
@pytest.mark.parametrize("off", [-1, 1])
def test_another_size_is_refused(tmp_path, off, lengths):
    with serving(Site({"/a.bin": BODY}, lengths=lengths)) as site, pytest.raises(ValueError, match="bytes"):
        fetch(f"{site.url}/a.bin", tmp_path / "a.bin", size=len(BODY) + off, attempts=2)
    assert not (tmp_path / "a.bin").exists()


def test_without_a_published_checksum_the_first_download_is_the_measure(tmp_path):
    with serving(Site({"/a.bin": BODY})) as site:
        fetch(f"{site.url}/a.bin", tmp_path / "a.bin")
        assert (tmp_path / "a.bin.sha256").read_text() == f"{SHA256}  a.bin\n"
        (tmp_path / "a.bin").unlink()
        site.files = {"/a.bin": BODY[:-1]}
        with pytest.raises(ValueError, match=f"{SHA256} is recorded in"):
            fetch(f"{site.url}/a.bin", tmp_path / "a.bin")
        assert left(tmp_path) == ["a.bin.sha256"]
        site.files = {"/a.bin": BODY}
        assert fetch(f"{site.url}/a.bin", tmp_path / "a.bin").read_bytes() == BODY


def test_a_file_put_there_by_hand_is_verified_without_a_network(tmp_path):
    (tmp_path / "a.bin").write_bytes(BODY)
    assert fetch("http://127.0.0.1:9/a.bin", tmp_path / "a.bin", sha256=SHA256) == tmp_path / "a.bin"
    (tmp_path / "a.bin").write_bytes(BODY[:-1])
    with pytest.raises(ValueError, match="is not the published file.*Delete it"):
        fetch("http://127.0.0.1:9/a.bin", tmp_path / "a.bin", sha256=SHA256)
    assert (tmp_path / "a.bin").read_bytes() == BODY[:-1]


def test_a_passing_fault_is_waited_for_longer_and_longer(tmp_path, no_waiting):
    with serving(Site({"/a.bin": BODY}, statuses=[503, 500, 429])) as site:
        fetch(f"{site.url}/a.bin", tmp_path / "a.bin", sha256=SHA256)
    assert no_waiting == [1, 2, 4]


def test_a_fault_that_does_not_pass_is_told_after_the_last_attempt(tmp_path, no_waiting):
    with serving(Site({}, statuses=[503] * 9)) as site, pytest.raises(ValueError, match="503.*tried 3 times"):
        fetch(f"{site.url}/a.bin", tmp_path / "a.bin", attempts=3)
    assert len(no_waiting) == 2 and left(tmp_path) == []


@pytest.mark.parametrize(("status", "words"), [(404, "still published"), (403, "HF_TOKEN"), (410, "410")])
def test_a_refusal_is_not_tried_again(tmp_path, status, words):
    with serving(Site({}, statuses=[status])) as site, pytest.raises(ValueError, match=words):
        fetch(f"{site.url}/a.bin", tmp_path / "a.bin")
    assert len(site.requests) == 1


def test_a_server_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match="http://127.0.0.1:9/a.bin could not be fetched.*proxy"):
        fetch("http://127.0.0.1:9/a.bin", tmp_path / "a.bin", attempts=2)


def test_no_url_is_refused(tmp_path):
    with pytest.raises(ValueError, match="cannot be fetched"):
        fetch("file:///etc/hostname", tmp_path / "a.bin")


def test_a_disk_that_is_too_small_is_told_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1_000_000))
    with (
        serving(Site({"/a.bin": BODY})) as site,
        pytest.raises(ValueError, match="3,000,000 more bytes.*1,000,000 free"),
    ):
        fetch(f"{site.url}/a.bin", tmp_path / "a.bin")
    assert not (tmp_path / "a.bin.part").exists()


def test_headers_are_sent(tmp_path):
    with serving(Site({"/a.bin": BODY})) as site:
        fetch(f"{site.url}/a.bin", tmp_path / "a.bin", headers={"Authorization": "Bearer x"})
        assert site.requests[0][1]["Authorization"] == "Bearer x"


def test_a_token_is_not_passed_on_to_another_host(tmp_path):
    with serving(Site({"/b.bin": BODY})) as other, serving(Site({}, moved={"/a.bin": f"{other.url}/b.bin"})) as site:
        fetch(f"{site.url}/a.bin", tmp_path / "a.bin", headers={"authorization": "Bearer x"})
        assert site.requests[0][1]["authorization"] == "Bearer x"
        assert not {"authorization", "Authorization"} & set(other.requests[0][1])


@pytest.mark.parametrize("pin", [{"sha256": "abc"}, {"md5": SHA256}, {"sha256": SHA256.upper()}])
def test_a_checksum_that_is_none_is_refused(tmp_path, pin):
    with pytest.raises(ValueError, match="hex digits"):
        fetch("http://127.0.0.1:9/a.bin", tmp_path / "a.bin", **pin)
