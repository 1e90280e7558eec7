"""Shards of Pick-a-Pic from a Hub on this machine."""

import hashlib
import json

import pytest

from tests.stimuli.datasets.published import jpeg, judgment, write_pick_a_pic
from tests.stimuli.servers import Site, serving
from vla.stimuli import read_dataset
from vla.stimuli.datasets.pick_a_pic import read_pick_a_pic

COMMIT = "c0ffee" + 34 * "0"
REPOSITORY = "yuvalkirstain/pickapic_v1"
SHARDS = 4
ROWS = 5


def published(files):
    """What the Hub answers of a repository with these parquet files."""
    siblings = [
        {
            "rfilename": name,
            "size": len(data),
            "blobId": "0" * 40,
            "lfs": {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134},
        }
        for name, data in files.items()
    ]
    siblings.append({"rfilename": "README.md", "size": 3, "blobId": "0" * 40})
    listing = {"id": REPOSITORY, "sha": COMMIT, "private": False, "tags": [], "downloads": 0, "siblings": siblings}
    served = {f"/datasets/{REPOSITORY}/resolve/{COMMIT}/{name}": data for name, data in files.items()}
    served[f"/api/datasets/{REPOSITORY}/revision/main"] = json.dumps(listing).encode()
    return served


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Four shards of `train` and one of `validation`, five judgments each, the last of each a tie."""
    files = {}
    for split, shards, start in (("train", SHARDS, 0), ("validation", 1, 100)):
        for shard in range(shards):
            first = start + ROWS * shard
            rows = [judgment(first + row) for row in range(ROWS - 1)] + [judgment(first + ROWS - 1, 0.5, 0.5)]
            name = f"data/{split}-{shard:05d}-of-{shards:05d}-{shard:016x}.parquet"
            files[name] = write_pick_a_pic(tmp_path / "hub" / name, rows).read_bytes()
    monkeypatch.setenv("NO_PROXY", "*")
    with serving(Site(published(files))) as site:
        monkeypatch.setenv("HF_ENDPOINT", site.url)
        yield site


def fetched(site):
    return [path for path, _ in site.requests if path.endswith(".parquet")]


def test_as_many_shards_as_are_needed(hub, tmp_path):
    data = tmp_path / "data"
    four = read_dataset("pick_a_pic", data_dir=data, n=4)
    assert len(four) == 4 and len(fetched(hub)) == 1 and len(four.dropped) == 1
    six = read_dataset("pick_a_pic", data_dir=data, n=6)
    assert len(six) == 6 and len(fetched(hub)) == 2
    # Fetched once, listed once; nothing is left but what was prepared and the list.
    read_dataset("pick_a_pic", data_dir=data, n=6)
    assert len([path for path, _ in hub.requests if path.startswith("/api/datasets/")]) == 1 and len(fetched(hub)) == 2
    assert not list(data.rglob("*.parquet"))


def test_what_was_prepared_needs_no_network(hub, tmp_path, monkeypatch):
    online = read_dataset("pick_a_pic", data_dir=tmp_path / "data", n=3)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert read_dataset("pick_a_pic", data_dir=tmp_path / "data", n=3) == online
    item = online.items[0]
    number = int(item.id.split("-")[0]) - 1000
    assert (item.image.open(), item.rejected.open()) == (jpeg(2 * number), jpeg(2 * number + 1))


def test_the_seed_chooses_shards_and_judgments(hub, tmp_path):
    samples = {seed: read_dataset("pick_a_pic", data_dir=tmp_path / "data", n=2, seed=seed).ids for seed in range(8)}
    shards = {int(ids[0].split("-")[0]) - 1000 for ids in samples.values()}
    assert len({number // ROWS for number in shards}) > 1
    assert samples[3] == read_dataset("pick_a_pic", data_dir=tmp_path / "other", n=2, seed=3).ids


def test_all_shards_are_what_a_directory_of_them_is(hub, tmp_path):
    everything = read_dataset("pick_a_pic", data_dir=tmp_path / "data", shards="all")
    direct = read_pick_a_pic(tmp_path / "hub", split="train")
    assert set(everything.ids) == set(direct.ids) and everything.dropped == direct.dropped
    assert len(everything) == SHARDS * (ROWS - 1)
    two = read_dataset("pick_a_pic", data_dir=tmp_path / "data", n=5, shards=2)
    assert set(two.ids) < set(everything.ids) and len(two) == 5
    assert len(fetched(hub)) == SHARDS


def test_other_settings_are_another_dataset(hub, tmp_path):
    ties = read_dataset("pick_a_pic", data_dir=tmp_path / "data", split="validation", shards=1, ties="only")
    assert [id.split("-")[0] for id in ties.ids] == ["1104"]
    assert len(read_dataset("pick_a_pic", data_dir=tmp_path / "data", split="validation", shards=1)) == ROWS - 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "hundreds of gigabytes"),
        ({"n": "all"}, "hundreds of gigabytes"),
        ({"n": 17}, "at most 16"),
        ({"n": 0}, "a whole number of at least 1"),
        ({"n": True}, "a whole number of at least 1"),
        ({"n": 1, "shards": 0}, "a whole number of at least 1"),
        ({"n": 1, "shards": 5}, "has 4"),
        ({"n": 1, "split": "dev"}, "train, validation"),
        ({"n": 1, "ties": "keep"}, "ties='keep'"),
        ({"n": 1, "masks": "none"}, "no option masks.*empty_prompts, repository, revision, shards, split, ties"),
        ({"n": 1, "repository": "nobody/nothing"}, "nobody/nothing .main. cannot be fetched"),
    ],
)
def test_what_cannot_be_is_told(hub, tmp_path, options, words):
    with pytest.raises(ValueError, match=words):
        read_dataset("pick_a_pic", data_dir=tmp_path / "data", **options)


def test_a_shard_that_is_not_what_the_hub_says_is_refused(hub, tmp_path):
    for path in fetched(hub) or [path for path in hub.files if path.endswith(".parquet")]:
        hub.files[path] = hub.files[path][:-1] + b"?"
    with pytest.raises(ValueError, match="sha256"):
        read_dataset("pick_a_pic", data_dir=tmp_path / "data", n=1)
    assert not list(tmp_path.rglob("dataset_info.json"))


def test_a_judgment_in_two_shards_is_refused(hub, tmp_path):
    files = {}
    for shard in range(2):
        name = f"data/train-{shard:05d}-of-00002.parquet"
        files[name] = write_pick_a_pic(tmp_path / "twice" / name, [judgment(shard), judgment(7)]).read_bytes()
    hub.files.update(published(files))
    with pytest.raises(ValueError, match="1 judgments of .* are in more than one of its shards: 1007-"):
        read_dataset("pick_a_pic", data_dir=tmp_path / "data", n=3)
    assert len(read_dataset("pick_a_pic", data_dir=tmp_path / "data", n=2)) == 2
