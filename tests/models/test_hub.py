"""Snapshots as the cache of Hugging Face's tools has them; tests/models/test_source.py has the server."""

from pathlib import Path

import huggingface_hub
import pytest

from vla.models import hub
from vla.models.hub import Entry, Snapshot, commit_of, fetch, in_cache, token

COMMIT, OTHER = "a" * 40, "b" * 40


@pytest.fixture
def storage(tmp_path, monkeypatch) -> Path:
    """The cached folder of owner/net, of which main is COMMIT."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    storage = tmp_path / "models--owner--net"
    (storage / "snapshots" / COMMIT).mkdir(parents=True)
    (storage / "refs").mkdir()
    (storage / "refs" / "main").write_text(COMMIT)
    return storage


def test_the_layout_is_that_of_the_hubs_own_client(storage, tmp_path):
    (storage / "snapshots" / COMMIT / "config.json").write_text("{}")
    theirs = huggingface_hub.try_to_load_from_cache("owner/net", "config.json", cache_dir=tmp_path)
    snapshot = in_cache("owner/net", "main")
    assert snapshot is not None
    assert str(snapshot.folder / "config.json") == theirs
    assert (snapshot.commit, snapshot.is_named, set(snapshot.names)) == (COMMIT, True, {"config.json"})


@pytest.mark.parametrize("repository, revision", [("owner/net", "v2"), ("owner/net", OTHER), ("owner/other", "main")])
def test_what_the_cache_does_not_have_is_none(repository, revision, storage):
    assert in_cache(repository, revision) is None


def test_files_of_another_size_are_lacking(storage):
    (storage / "snapshots" / COMMIT / "a").write_bytes(b"123")
    (storage / "snapshots" / COMMIT / "b").write_bytes(b"12")
    snapshot = Snapshot("owner/net", "main", COMMIT, {"a": Entry(3), "b": Entry(3), "c": Entry(3)})
    assert snapshot.lacks(["c", "b", "a"]) == ["b", "c"]
    assert Snapshot("owner/net", "main", COMMIT, None).lacks(["a", "b", "c"]) == ["c"]


def test_what_is_there_needs_no_network_and_too_much_is_refused(storage, monkeypatch):
    (storage / "snapshots" / COMMIT / "a").write_bytes(b"123")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: pytest.fail("the network was used"))
    fetch(Snapshot("owner/net", "main", COMMIT, {"a": Entry(3)}), ["a"])
    huge = Snapshot("owner/net", "main", COMMIT, {"w": Entry(10**18, "0" * 64)})
    with pytest.raises(ValueError, match=r"owner/net needs 1000000000.00 GB, but .* free; make room .*HF_HOME"):
        fetch(huge, ["w"])
    assert not (storage / "blobs").exists()


def test_a_commit_is_the_name_of_a_snapshot():
    assert commit_of(Path("cache/models--a--b/snapshots") / COMMIT) == COMMIT
    assert commit_of(Path("cache/elsewhere") / COMMIT) is None
    assert commit_of(Path("cache/snapshots/main")) is None


@pytest.mark.parametrize("given, expected", [("", False), (" hf_x\n", "hf_x"), ("hf_y", "hf_y")])
def test_a_token_comes_from_the_environment(given, expected, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", given)
    assert token() == expected
    monkeypatch.delenv("HF_TOKEN")
    assert hub.token() is False


def test_a_token_that_is_none_is_not_quoted(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "secret word")
    with pytest.raises(ValueError, match="HF_TOKEN holds blanks") as error:
        token()
    assert "secret" not in str(error.value)
