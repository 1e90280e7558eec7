"""Downloads shards of Pick-a-Pic from the Hugging Face Hub, no more than needed."""

import collections
import dataclasses
import json
import math
import os
import re
import shutil
from pathlib import Path, PurePosixPath
from typing import Any

from vla.checks import WholeNumber, check_whole_number, listed, refuse_listed
from vla.files import write_file
from vla.records import Dataset, canonical_hash
from vla.stimuli.datasets.pick_a_pic import SHARD, read_pick_a_pic
from vla.stimuli.datasets.prepared import read_prepared
from vla.stimuli.datasets.register import published
from vla.stimuli.downloads import fetch
from vla.stimuli.draws import sample

REPOSITORY = "yuvalkirstain/pickapic_v1"
SPLIT = "train"


@dataclasses.dataclass(frozen=True)
class Shard:
    """A parquet file of the Hub: its path in the repository, size, and SHA-256 as the Hub gives it."""

    path: str
    bytes: int
    sha256: str

    @property
    def name(self) -> str:
        """File name without extension."""
        return PurePosixPath(self.path).stem


def pick_a_pic(
    data_dir: Path,
    n: WholeNumber | str | None = None,
    seed: int = 42,
    *,
    repository: str = REPOSITORY,
    revision: str | None = None,
    split: str = SPLIT,
    shards: WholeNumber | str | None = None,
    ties: str = "drop",
    unlabelled: str = "drop",
    empty_prompts: str = "refuse",
) -> Dataset:
    """A sample of judgments from Pick-a-Pic, from as few shards as contain that many.

    A split has up to hundreds of shards of about 500 MB, each with about 1,500 judgments. Shards are downloaded in the
    order of a hash of seed and name until there are `n` judgments, and the sample is drawn from all of these, so it
    depends only on the seed, `n` and the published files. Each shard becomes a prepared dataset and its parquet file is
    deleted. The list of shards is kept in `data_dir/downloads`, so prepared shards are read without a network and from
    one version.

    Args:
      data_dir: The folder of datasets.
      n: Number of judgments; None or "all" for all in `shards` shards.
      seed: Seed of the order of shards and of the sample.
      repository: "yuvalkirstain/pickapic_v1" or "yuvalkirstain/pickapic_v2".
      revision: Branch, tag or commit; None for the one in the register.
      split: "train" (the most prompts), "validation", "test", "validation_unique" or "test_unique" (500 judgments, one
        per prompt).
      shards: Number of shards to draw from, or "all"; more have more prompts. None for as few as contain `n` judgments.
      ties: As of `read_pick_a_pic`.
      unlabelled: As of `read_pick_a_pic`.
      empty_prompts: As of `read_pick_a_pic`.

    Raises:
      ValueError: Neither `n` nor `shards` is given; no such split; fewer judgments than `n`; one judgment in two
      shards;
        the Hub cannot be reached; or as `fetch` and `read_pick_a_pic`.
    """
    everything = n is None or n == "all"
    if everything and shards is None:
        raise ValueError(
            "all judgments of Pick-a-Pic are hundreds of gigabytes. Say how many to draw with n=, or from how many "
            'shards of about 500 MB to take all with shards= (a number, or "all")'
        )
    check_whole_number("n", n, other=["all", None])
    check_whole_number("shards", shards, other=["all", None])
    enough = math.inf if shards is not None or n is None else float(n)
    options = {"ties": ties, "unlabelled": unlabelled, "empty_prompts": empty_prompts}
    commit, every = _listing(repository, revision or published("pick_a_pic").revision, data_dir)
    ordered = sorted(_of_split(repository, every, split), key=lambda shard: canonical_hash([seed, shard.name]))
    if isinstance(shards, int):
        if shards > len(ordered):
            raise ValueError(f"shards={shards}; the split {split!r} of {repository} has {len(ordered)}")
        ordered = ordered[:shards]
    parts: list[Dataset] = []
    for shard in ordered:
        if sum(map(len, parts)) >= enough:
            break
        parts.append(read_prepared(_prepared(shard, repository, commit, data_dir, options)))
    items = tuple(item for part in parts for item in part.items)
    # Each shard was checked when it was read.
    twice = [id for id, times in collections.Counter(item.id for item in items).items() if times > 1]
    refuse_listed(
        twice,
        f"{len(twice)} judgments of {repository} are in more than one of its shards",
        "Draw from other shards, by another seed or fewer of them",
    )
    dropped = tuple(sorted(id for part in parts for id in part.dropped))
    return sample(Dataset("pick_a_pic", items, dropped), n, seed)


def _prepared(shard: Shard, repository: str, commit: str, data_dir: Path, options: dict[str, Any]) -> Path:
    from huggingface_hub.utils import build_hf_headers

    from vla.stimuli.datasets.prepare import prepare

    config = f"{_plain(repository)}-{shard.name}-{canonical_hash([shard.sha256, options])[:8]}"
    downloads = data_dir / "downloads" / "pick_a_pic" / config
    path = downloads / f"{shard.name}.parquet"

    def read() -> Dataset:
        url = f"{_endpoint()}/datasets/{repository}/resolve/{commit}/{shard.path}"
        # With the user's token, if there is one.
        fetch(url, path, sha256=shard.sha256, size=shard.bytes, headers=build_hf_headers())
        return read_pick_a_pic(path, **options)

    folder = prepare("pick_a_pic", config, read, data_dir)
    shutil.rmtree(downloads, ignore_errors=True)
    return folder


def _of_split(repository: str, every: list[Shard], split: str) -> list[Shard]:
    names = [SHARD.fullmatch(shard.name) for shard in every]
    splits = sorted({match["split"] for match in names if match})
    if split not in splits:
        raise ValueError(f"{repository} has no split {split!r}; it has {listed(splits, 20) or 'no parquet shards'}")
    return [shard for shard, match in zip(every, names, strict=True) if match and match["split"] == split]


def _listing(repository: str, revision: str, data_dir: Path) -> tuple[str, list[Shard]]:
    """The commit of a revision at its first use, and all its shards, from the Hub or as kept on disk."""
    path = data_dir / "downloads" / "pick_a_pic" / f"{_plain(repository)}-{_plain(revision)}.json"
    if not path.is_file():
        from huggingface_hub import HfApi

        try:
            info = HfApi(endpoint=_endpoint()).dataset_info(repository, revision=revision, files_metadata=True)
        # Network libraries, the Hub's client and its offline mode raise errors of many types.
        except Exception as error:
            raise ValueError(
                f"the list of files of {repository} ({revision}) cannot be fetched from {_endpoint()}: {error}. Give a "
                "directory with shards fetched elsewhere instead"
            ) from error
        shards = [
            {"path": file.rfilename, "bytes": file.lfs.size, "sha256": file.lfs.sha256}
            for file in info.siblings or ()
            if file.rfilename.endswith(".parquet") and file.lfs is not None
        ]
        write_file(path, json.dumps({"commit": info.sha, "shards": shards}, indent=1))
    listing = json.loads(path.read_text(encoding="utf-8"))
    return listing["commit"], [Shard(**shard) for shard in listing["shards"]]


def _endpoint() -> str:
    """The Hub, or the mirror in HF_ENDPOINT."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def _plain(text: str) -> str:
    return re.sub("[^A-Za-z0-9_.-]+", "-", text)
