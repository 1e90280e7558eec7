"""The registers of what comes from outside are whole."""

import re
import tomllib
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "third_party"
FIELDS = {
    "checkpoint": {
        "id": str,
        "family": str,
        "modality": str,
        "depth": int,
        "width": int,
        "heads": int,
        "input": int,
        "parameters": int,
        "dtype": str,
        "config": dict,
        "licence": str,
        "origin": str,
        "revision": str,
        "note": str,
    },
    "dataset": {
        "id": str,
        "name": str,
        "licence": str,
        "origin": str,
        "citation": str,
        "note": str,
    },
}
# How much there is, in the words of each kind of dataset; and what only some entries have.
SIZES = [{"images", "captions"}, {"judgments"}]
OPTIONAL = {"checkpoint": set(), "dataset": {"file", "revision", *SIZES[0], *SIZES[1]}}
FILE = {"name": str, "url": str, "bytes": int, "sha256": str, "md5": str}


def entries(kind: str) -> list[dict]:
    register = tomllib.loads((FOLDER / f"{kind}s.toml").read_text(encoding="utf-8"))
    assert set(register) == {kind}
    return register[kind]


@pytest.mark.parametrize("kind", FIELDS)
def test_every_field_is_there_and_ids_are_unique(kind):
    listed = entries(kind)
    for entry in listed:
        pins = {"sha256"} & set(entry)
        assert set(entry) - pins - OPTIONAL[kind] == set(FIELDS[kind]), entry["id"]
        for field, form in FIELDS[kind].items():
            assert isinstance(entry[field], form) and entry[field], (entry["id"], field)
        assert entry["origin"].startswith("https://")
        assert all(re.fullmatch("[0-9a-f]{64}", entry[pin]) for pin in pins)
    assert len({entry["id"] for entry in listed}) == len(listed) > 0


def test_datasets_say_how_much_there_is_and_where_to_fetch_it():
    for entry in entries("dataset"):
        sizes = {size for size in set().union(*SIZES) if size in entry}
        assert sizes in SIZES and all(isinstance(entry[size], int) and entry[size] > 0 for size in sizes), entry["id"]
        assert re.fullmatch("main|[0-9a-f]{40}", entry.get("revision", "main"))
        files = entry.get("file", [])
        assert bool(files) != ("revision" in entry), f"{entry['id']}: either files, or a repository that lists its own"
        for file in files:
            assert all(isinstance(file[field], FILE[field]) for field in file)
            assert {"name", "url"} <= set(file) and not {"sha256", "md5"} <= set(file)
            assert re.fullmatch("https?://.+", file["url"]) and file["url"].endswith(f"/{file['name']}")
            assert re.fullmatch("[0-9a-f]{64}", file.get("sha256", "0" * 64))
            assert re.fullmatch("[0-9a-f]{32}", file.get("md5", "0" * 32))
            assert file.get("bytes", 1) > 0
        assert len({file["name"] for file in files}) == len(files)


def test_checkpoints_are_pinned_or_say_that_they_are_not():
    for entry in entries("checkpoint"):
        assert re.fullmatch("main|[0-9a-f]{40}", entry["revision"]), entry["id"]
        assert entry["modality"] in ("vision", "language")
        assert entry["origin"] == f"https://huggingface.co/{entry['id']}"


def test_the_papers_checkpoints_and_those_of_platonic_rep_are_all_there():
    """PAPER's tables; the 12 language and 17 vision models of platonic-rep's `val` lists."""
    bloomz = [f"bigscience/bloomz-{size}" for size in ("560m", "1b1", "1b7", "3b", "7b1")]
    llama = [f"openlm-research/open_llama_{size}" for size in ("3b", "7b", "13b")]
    llama += [f"huggyllama/llama-{size}" for size in ("7b", "13b", "30b", "65b")]
    paper = """facebook/dinov2-base facebook/dinov2-large facebook/dino-vitb16 facebook/deit-base-distilled-patch16-224
    timm/vit_base_patch16_224.augreg_in1k timm/vit_base_patch16_224.augreg_in21k timm/vit_large_patch16_224.augreg_in21k
    timm/vit_base_patch14_dinov2.lvd142m timm/vit_large_patch14_dinov2.lvd142m openai/clip-vit-base-patch32
    Qwen/Qwen2.5-3B Qwen/Qwen2.5-7B microsoft/Phi-3-mini-128k-instruct HuggingFaceTB/SmolLM2-1.7B""".split()
    clip = ("base_patch16", "large_patch14", "huge_patch14")
    timm = [f"timm/vit_{size}_patch16_224.augreg_in21k" for size in ("tiny", "small", "base", "large")]
    timm += [f"timm/vit_{size}_224.mae" for size in ("base_patch16", "large_patch16", "huge_patch14")]
    timm += [f"timm/vit_{size}_patch14_dinov2.lvd142m" for size in ("small", "base", "large", "giant")]
    timm += [f"timm/vit_{size}_clip_224.{tag}" for size in clip for tag in ("laion2b", "laion2b_ft_in12k")]
    assert len(bloomz + llama) == 12 and len(timm) == 17
    assert {*bloomz, *llama, *paper, *timm} <= {entry["id"] for entry in entries("checkpoint")}


def test_the_folder_holds_the_register_alone():
    assert sorted(path.name for path in FOLDER.iterdir()) == [
        "README.md",
        "checkpoints.toml",
        "datasets.toml",
        "generators.toml",
    ]


def test_every_generator_says_whose_it_is():
    entries = tomllib.loads((FOLDER / "generators.toml").read_text(encoding="utf-8"))["generator"]
    assert len({entry["id"] for entry in entries}) == len(entries)
    for entry in entries:
        assert all(entry[field] for field in ("id", "makes", "licence", "origin", "note")), entry
        assert entry["origin"].startswith("https://")
