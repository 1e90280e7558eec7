"""From what a user calls a checkpoint to a directory: against a local server that speaks the Hub's protocol."""

import hashlib
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch

from tests.checkpoints import write_language, write_vision
from tests.models.hub_server import COMMIT, Hub, running
from vla.models import catalogue, load_model, source
from vla.models.source import find_directory, is_cached

NAME = "facebook/dinov2-tiny"
NAMES = ("preprocessor_config.json", "tokenizer.json")


@pytest.fixture
def cache(tmp_path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def hub(monkeypatch, cache):
    # waiting between attempts is the client's own
    monkeypatch.setattr(time, "sleep", lambda _: None)
    with running(monkeypatch, cache) as hub:
        yield hub


def serve(hub: Hub, tmp_path: Path, **options) -> Path:
    """Put a tiny checkpoint on the server, among files that nobody needs."""
    directory = tmp_path / "published"
    write_vision(directory, "dinov2", **options)
    for other in ("flax_model.msgpack", "tf_model.h5", "model.onnx", "pytorch_model.bin", "README.md", "train.py"):
        (directory / other).write_bytes(b"not needed")
    hub.serve(NAME, directory)
    return directory


def snapshot(cache: Path, commit: str = COMMIT) -> Path:
    return cache / "models--facebook--dinov2-tiny" / "snapshots" / commit


def test_only_what_is_needed_is_fetched_and_only_once(hub, tmp_path, cache):
    serve(hub, tmp_path)
    model = load_model(NAME)
    assert (model.name, model.source, model.width) == ("dinov2-tiny", NAME, 24)
    assert hub.fetched() == {"config.json", "preprocessor_config.json", "model.safetensors"}
    hub.asked.clear()
    again = load_model(NAME)
    assert hub.fetched() == set()
    published = load_model(tmp_path / "published")
    assert again.fingerprint == model.fingerprint == published.fingerprint
    assert (model.commit, again.commit, published.commit) == (COMMIT, COMMIT, None)


def test_of_shards_those_that_the_index_names_are_fetched(hub, tmp_path):
    serve(hub, tmp_path, shard="10KB")
    hub.repositories[NAME]["model-00009-of-00009.safetensors"] = b"of another checkpoint"
    expected = load_model(tmp_path / "published").fingerprint
    assert load_model(NAME).fingerprint == expected
    index = json.loads(hub.repositories[NAME]["model.safetensors.index.json"])
    shards = set(index["weight_map"].values())
    assert len(shards) > 1
    assert hub.fetched() == {"config.json", "preprocessor_config.json", "model.safetensors.index.json", *shards}


def test_bin_is_fetched_where_there_is_no_safetensors(hub, tmp_path):
    directory = tmp_path / "published"
    reference = write_language(directory)
    (directory / "model.safetensors").unlink()
    torch.save(reference.state_dict(), directory / "pytorch_model.bin")
    (directory / "flax_model.msgpack").write_bytes(b"")
    hub.serve("owner/llama", directory)
    load_model("owner/llama")
    assert "pytorch_model.bin" in hub.fetched() and "flax_model.msgpack" not in hub.fetched()


def test_a_repository_without_weights_is_refused_before_anything_is_fetched(hub, tmp_path):
    serve(hub, tmp_path)
    del hub.repositories[NAME]["model.safetensors"], hub.repositories[NAME]["pytorch_model.bin"]
    with pytest.raises(ValueError, match=r"no weights in facebook/dinov2-tiny: .*found .*flax_model\.msgpack"):
        find_directory(NAME, weights=True)
    assert hub.fetched() == set()


def test_an_index_that_names_absent_files_is_refused(hub, tmp_path):
    serve(hub, tmp_path, shard="10KB")
    gone = next(name for name in hub.repositories[NAME] if re.match("model-0.*", name))
    del hub.repositories[NAME][gone]
    with pytest.raises(ValueError, match=f"model.safetensors.index.json in {NAME} names 1 of .* do not exist: {gone}"):
        find_directory(NAME, weights=True)
    assert not [name for name in hub.fetched() if name.endswith(".safetensors")]


def test_the_pinned_revision_is_taken_unless_another_is_given(hub, tmp_path, monkeypatch, cache):
    serve(hub, tmp_path)
    pin, tag = "ab" * 20, "cd" * 20
    hub.revisions |= {"pinned": pin, "v1": tag}
    monkeypatch.setattr(source, "pinned", lambda repository: {NAME: pin}.get(repository))
    assert find_directory(NAME) == snapshot(cache, pin)
    assert find_directory(NAME, revision="v1") == snapshot(cache, tag)
    assert find_directory(NAME, revision="main") == snapshot(cache)
    assert catalogue.pinned("facebook/dinov2-base") != catalogue.pinned("facebook/dinov2-large")


def test_what_is_known_of_a_commit_needs_no_network(hub, tmp_path, cache):
    serve(hub, tmp_path)
    find_directory(NAME, NAMES, COMMIT, weights=True)
    hub.asked.clear()
    assert find_directory(NAME, NAMES, COMMIT, weights=True) == snapshot(cache)
    assert hub.asked == []


def test_a_branch_that_moved_is_followed(hub, tmp_path, cache):
    serve(hub, tmp_path)
    find_directory(NAME, weights=True)
    hub.revisions["main"] = "ee" * 20
    assert find_directory(NAME, weights=True) == snapshot(cache, "ee" * 20)


def test_a_processor_has_a_revision_of_its_own(hub, tmp_path):
    directory = serve(hub, tmp_path)
    hub.revisions["old"] = "ab" * 20
    (directory / "preprocessor_config.json").unlink()
    load_model(directory, processor=NAME, processor_revision="old")
    assert hub.fetched() == {"config.json", "preprocessor_config.json"}
    assert f"GET /{NAME}/resolve/{'ab' * 20}/preprocessor_config.json" in hub.asked
    with pytest.raises(ValueError, match="processor_revision 'old' was given without processor="):
        load_model(directory, processor_revision="old")


def test_a_cut_connection_is_continued(hub, tmp_path, monkeypatch):
    directory = serve(hub, tmp_path)
    monkeypatch.setattr(huggingface_hub.constants, "DOWNLOAD_CHUNK_SIZE", 100)
    hub.cut_after["model.safetensors"] = 1000
    found = find_directory(NAME, weights=True)
    assert (found / "model.safetensors").read_bytes() == (directory / "model.safetensors").read_bytes()
    assert hub.ranges == ["bytes=1000-"]


def test_what_a_run_that_was_ended_has_left_is_continued(hub, tmp_path, cache):
    content = (serve(hub, tmp_path) / "model.safetensors").read_bytes()
    find_directory(NAME)
    partial = snapshot(cache).parents[1] / "blobs" / f"{hashlib.sha256(content).hexdigest()}.incomplete"
    partial.write_bytes(content[:1234])
    found = find_directory(NAME, weights=True)
    assert hub.ranges == ["bytes=1234-"]
    assert (found / "model.safetensors").read_bytes() == content and not partial.exists()


@pytest.mark.parametrize("left", [b"x" * 1234, b"x" * 10**6])
def test_what_was_left_of_something_else_is_not_used(left, hub, tmp_path, cache):
    content = (serve(hub, tmp_path) / "model.safetensors").read_bytes()
    find_directory(NAME)
    partial = snapshot(cache).parents[1] / "blobs" / f"{hashlib.sha256(content).hexdigest()}.incomplete"
    partial.write_bytes(left)
    if len(left) < len(content):
        with pytest.raises(ValueError, match="model.safetensors of .* does not have the SHA-256"):
            find_directory(NAME, weights=True)
    assert (find_directory(NAME, weights=True) / "model.safetensors").read_bytes() == content


def test_other_bytes_than_listed_are_refused_and_deleted(hub, tmp_path, cache):
    serve(hub, tmp_path)
    hub.flipped.add("model.safetensors")
    with pytest.raises(ValueError, match="model.safetensors of .* does not have the SHA-256"):
        find_directory(NAME, weights=True)
    assert not (snapshot(cache) / "model.safetensors").exists()
    assert not list((snapshot(cache).parents[1] / "blobs").glob("*.incomplete"))


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_another_size_than_listed_is_refused(name, hub, tmp_path, cache):
    serve(hub, tmp_path)
    hub.unlisted[name] = 7
    with pytest.raises(ValueError, match="download failed: Consistency check failed|came in another size"):
        find_directory(NAME, weights=True)


def test_half_a_snapshot_is_not_taken_for_the_whole(hub, tmp_path, cache, monkeypatch):
    """A tool that asked for less leaves a folder that looks like a checkpoint."""
    serve(hub, tmp_path, shard="10KB")
    huggingface_hub.snapshot_download(NAME, allow_patterns=["config.json", "*.index.json", "model-00001*"])
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    message = r"is only in part in the local cache \(.*model-00002.*HF_HUB_OFFLINE is set"
    for listing_is_known in (True, False):
        with pytest.raises(ValueError, match=message):
            find_directory(NAME, NAMES, weights=True)
        if listing_is_known:
            shutil.rmtree(snapshot(cache).parents[1] / "trees")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    assert load_model(NAME).width == 24


def test_a_cached_file_of_another_size_is_fetched_again(hub, tmp_path, cache):
    directory = serve(hub, tmp_path)
    found = find_directory(NAME, weights=True) / "model.safetensors"
    blob = found.resolve()
    blob.write_bytes(blob.read_bytes()[:-5])
    assert (find_directory(NAME, weights=True) / "model.safetensors").read_bytes() == (
        directory / "model.safetensors"
    ).read_bytes()


@pytest.mark.parametrize("trouble", ["offline", "down", "gone"])
def test_the_cache_serves_where_the_hub_does_not(trouble, hub, tmp_path, monkeypatch):
    serve(hub, tmp_path)
    fingerprint = load_model(NAME).fingerprint
    if trouble == "offline":
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    elif trouble == "down":
        hub.down = True
    else:
        del hub.repositories[NAME]
    assert load_model(NAME).fingerprint == fingerprint


def test_whether_a_checkpoint_is_cached_is_known_without_the_hub(hub, tmp_path):
    serve(hub, tmp_path)
    assert not is_cached(NAME)
    find_directory(NAME)
    assert not is_cached(NAME), "without its weights it is not there"
    find_directory(NAME, weights=True)
    hub.asked.clear()
    assert is_cached(NAME) and not is_cached("owner/other")
    assert hub.asked == []


def test_too_small_a_disk_is_refused_before_anything_large_is_fetched(hub, tmp_path, monkeypatch, cache):
    serve(hub, tmp_path)
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(ValueError, match=r"facebook/dinov2-tiny needs .* GB, but .* GB free; .*Nothing was downloaded"):
        find_directory(NAME, weights=True)
    assert hub.fetched() == set()
    assert not (snapshot(cache) / "config.json").exists()


def test_a_disk_that_fills_up_on_the_way_is_reported(hub, tmp_path, monkeypatch):
    from vla.models import hub as module

    serve(hub, tmp_path)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "http_get", full)
    with pytest.raises(ValueError, match="download failed: .*No space left on device"):
        find_directory(NAME, weights=True)


def test_a_gated_repository_says_what_to_do_and_opens_to_the_token_of_the_environment(hub, tmp_path, monkeypatch):
    serve(hub, tmp_path)
    hub.gated.add(NAME)
    with pytest.raises(ValueError, match=r"it is a gated repository.*Accept the terms on its page, then set HF_TOKEN"):
        find_directory(NAME, weights=True)
    monkeypatch.setenv("HF_TOKEN", "hf_right\n")
    assert find_directory(NAME, weights=True).is_dir()


def test_a_token_comes_from_the_environment_alone_and_stays_with_the_hub(hub, tmp_path, monkeypatch, caplog):
    serve(hub, tmp_path)
    stored = tmp_path / "token"
    stored.write_text("hf_stored_by_login")
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(stored))
    find_directory(NAME)
    assert set(hub.tokens.values()) == {None}
    monkeypatch.setenv("HF_TOKEN", "hf_secret_of_the_environment")
    with caplog.at_level(logging.DEBUG):
        find_directory(NAME, weights=True)
    assert "Bearer hf_secret_of_the_environment" in hub.tokens.values()
    assert "hf_secret_of_the_environment" not in caplog.text
    monkeypatch.setenv("HF_TOKEN", "hf_secret\nof two lines")
    with pytest.raises(ValueError, match="HF_TOKEN holds blanks") as error:
        find_directory(NAME, revision="main")
    assert "hf_secret" not in str(error.value)


@pytest.mark.parametrize(
    "repository, revision, message",
    [
        (
            "owner/absent",
            None,
            r"'owner/absent' is no local directory, is not in the local cache, .*Check the spelling",
        ),
        (NAME, "v9", "the Hub has no revision 'v9' of it"),
        ("a", None, "is no local directory"),
        ("owner/na me", None, "is no local directory and no Hub id"),
    ],
)
def test_what_the_hub_does_not_have_is_named(repository, revision, message, hub, tmp_path):
    serve(hub, tmp_path)
    with pytest.raises(ValueError, match=message):
        find_directory(repository, revision=revision)


@pytest.mark.parametrize(
    "asked, hint",
    [
        ("facebook/dinov2-bse", "Spelt like it in the register: facebook/dinov2-base, .*launch.models lists all"),
        ("dinov2 base", "Spelt like it in the register: facebook/dinov2-base"),
        ("owner/absent", "python -m launch.models lists the registered ids; a directory is named by its path$"),
        ("./absent", "there is no directory ./absent; .*python -m launch.models lists those that are registered"),
    ],
)
def test_what_may_have_been_meant_is_said(asked, hint, hub):
    with pytest.raises(ValueError, match=hint):
        find_directory(asked)


def test_a_registered_id_that_cannot_be_had_is_not_corrected(hub):
    with pytest.raises(ValueError) as error:
        find_directory("facebook/dinov2-base")
    assert "register" not in str(error.value) and "by its path" not in str(error.value)


def test_an_unreachable_hub_is_named(hub, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(
        ValueError, match="not in the local cache, and the Hub cannot be reached .*where there is a net"
    ):
        find_directory("owner/name")


def test_a_server_that_names_files_with_paths_is_refused(hub, tmp_path):
    serve(hub, tmp_path)
    hub.revisions["main"] = "../../elsewhere"
    with pytest.raises(
        ValueError, match="says '../../elsewhere' of facebook/dinov2-tiny, which is not a checksum; see HF_ENDPOINT"
    ):
        find_directory(NAME)


def test_a_revision_that_is_no_text_is_refused(hub):
    with pytest.raises(ValueError, match="revision is 3; expected the name of a branch or tag"):
        find_directory("owner/name", revision=3)


def test_the_environment_is_honoured_as_users_set_it(hub, tmp_path):
    serve(hub, tmp_path)
    script = """
import sys
from vla.models.source import find_directory
print(find_directory(sys.argv[1], weights=True))
"""
    # the last of them shows progress bars where there is no terminal
    environment = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "TQDM_POSITION": "-1"}
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGINGFACE_"))}
    done = subprocess.run(
        [sys.executable, "-c", script, NAME], env={**kept, **environment}, capture_output=True, text=True
    )
    assert done.stdout.strip() == str(snapshot(tmp_path / "home" / "hub")), done.stderr
    assert "model.safetensors: 100%" in done.stderr


def test_a_directory_is_itself(hub, tmp_path, monkeypatch):
    assert find_directory(tmp_path) == tmp_path
    (tmp_path / "owner" / "name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    # a local directory wins over a Hub id of the same spelling
    assert find_directory("owner/name").resolve() == tmp_path / "owner" / "name"
    assert hub.asked == []


@pytest.mark.parametrize("place", ["/no/such/place", "./nothing", "~/nothing-there", "a/b/c"])
def test_an_absent_directory_is_not_asked_of_the_hub(place, hub):
    with pytest.raises(ValueError, match=f"there is no directory {place}"):
        find_directory(place)
    assert hub.asked == []


def test_a_file_is_refused(tmp_path):
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"")
    with pytest.raises(ValueError, match="is a file; expected the checkpoint directory that contains it"):
        find_directory(file)


def test_a_revision_of_a_directory_is_refused(tmp_path):
    with pytest.raises(ValueError, match="revision 'main' was given, but .* is a local directory"):
        find_directory(tmp_path, (), "main")


def test_a_downloaded_model_gives_what_the_directory_gives(hub, tmp_path):
    directory = serve(hub, tmp_path, shard="10KB")
    pixels = np.random.default_rng(0).normal(size=(2, 3, 28, 28)).astype(np.float32)
    read = [
        np.asarray(model.readouts(pixels, pool="cls", layers=model.layer_names))
        for model in (load_model(NAME), load_model(directory))
    ]
    assert np.array_equal(*read)
