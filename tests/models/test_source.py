"""From what a user calls a checkpoint to a directory, without any network."""

import huggingface_hub
import pytest
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

from tests.checkpoints import write_vision
from vla.models import load_model
from vla.models.source import WEIGHT_PATTERNS, find_directory


def test_a_directory_is_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "snapshot_download", None)
    assert find_directory(tmp_path, WEIGHT_PATTERNS) == tmp_path
    (tmp_path / "owner" / "name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    # a local directory wins over a Hub id of the same spelling
    assert find_directory("owner/name", WEIGHT_PATTERNS).resolve() == tmp_path / "owner" / "name"


def test_a_hub_id_is_downloaded_once_and_only_what_is_needed(tmp_path, monkeypatch):
    asked = []

    def download(repository, *, revision, allow_patterns):
        asked.append((repository, revision, allow_patterns))
        return str(tmp_path)

    write_vision(tmp_path, "dinov2")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    model = load_model("facebook/dinov2-tiny", revision="v1")
    assert (model.name, model.source) == ("dinov2-tiny", "facebook/dinov2-tiny")
    [(repository, revision, patterns)] = asked
    assert (repository, revision) == ("facebook/dinov2-tiny", "v1")
    assert {"config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json"} <= set(patterns)
    assert not [pattern for pattern in patterns if pattern.endswith(".bin")]


def test_a_cached_repository_is_found_offline(tmp_path, monkeypatch):
    commit = "0" * 40
    repository = tmp_path / "models--facebook--dinov2-tiny"
    write_vision(repository / "snapshots" / commit, "dinov2")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    real = huggingface_hub.snapshot_download
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda name, **options: real(name, cache_dir=tmp_path, **options)
    )
    assert load_model("facebook/dinov2-tiny").width == 24
    with pytest.raises(ValueError, match="'facebook/other' is no local directory, .* not in the local cache"):
        load_model("facebook/other")


@pytest.mark.parametrize("source", ["/no/such/place", "./nothing", "~/nothing-there", "a/b/c"])
def test_an_absent_directory_is_not_asked_of_the_hub(source, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "snapshot_download", None)
    with pytest.raises(ValueError, match=f"there is no directory {source}"):
        find_directory(source, WEIGHT_PATTERNS)


def test_a_file_is_refused(tmp_path):
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"")
    with pytest.raises(ValueError, match="is a file; expected the checkpoint directory that contains it"):
        find_directory(file, WEIGHT_PATTERNS)


def test_a_revision_of_a_directory_is_refused(tmp_path):
    with pytest.raises(ValueError, match="revision 'main' was given, but .* is a local directory"):
        find_directory(tmp_path, WEIGHT_PATTERNS, "main")


@pytest.mark.parametrize(
    "error, message",
    [
        (LocalEntryNotFoundError("Cannot reach.\nMore."), r"the Hub cannot be reached \(Cannot reach\.\)"),
        (HFValidationError("bad id"), "the Hub answered: bad id. Check the spelling"),
        (OSError("404 Not Found\n\nlong advice"), "the Hub answered: 404 Not Found. Check the spelling"),
        (RuntimeError(), "the Hub answered: RuntimeError"),
    ],
)
def test_what_the_hub_says_is_passed_on(error, message, monkeypatch):
    def download(*_, **__):
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(ValueError, match=f"'owner/name' is no local directory, .*{message}"):
        find_directory("owner/name", WEIGHT_PATTERNS)
