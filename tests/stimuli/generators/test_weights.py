import huggingface_hub
import pytest

from vla.stimuli.generators.weights import identify


def test_a_directory_is_known_by_what_it_holds(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name / "unet").mkdir(parents=True)
        (tmp_path / name / "config.json").write_text("{}")
        (tmp_path / name / "unet" / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "two" / "README.md").write_text("words")
    (tmp_path / "two" / "model.bin").write_bytes(b"never read")
    one = identify(tmp_path / "one", None, "config.json")
    assert one.startswith("sha256:") and identify(tmp_path / "two", "", "config.json") == one
    (tmp_path / "two" / "unet" / "model.safetensors").write_bytes(b"other weights")
    assert identify(tmp_path / "two", None, "config.json") != one


def test_a_hub_repository_is_known_by_its_commit(tmp_path, monkeypatch):
    asked = []

    def download(source, file, revision):
        asked.append((source, file, revision))
        return str(tmp_path / "models--a--b" / "snapshots" / "0123abc" / file)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    assert identify("a/b", "main", "config.json") == "a/b@0123abc"
    assert identify("a/b", "", "unet/config.json") == "a/b@0123abc"
    assert asked == [("a/b", "config.json", "main"), ("a/b", "unet/config.json", None)]


def test_a_hub_that_does_not_answer_is_named_in_one_line(monkeypatch):
    def fail(*_, **__):
        raise OSError("no network\nand much advice")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    with pytest.raises(ValueError, match="'a/b' is no local directory, and config.json of it cannot be had") as failed:
        identify("a/b", None, "config.json")
    assert "no network" in str(failed.value) and "much advice" not in str(failed.value)
