"""Chosen files of one repository of the Hugging Face Hub, in the cache that Hugging Face's own tools use.

HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE and HF_ENDPOINT mean what they mean there. A token is taken from HF_TOKEN alone.
"""

import dataclasses
import glob
import os
import re
import shutil
from collections.abc import Collection
from pathlib import Path

import huggingface_hub
from huggingface_hub.errors import CachedRepoTreeNotFoundError
from huggingface_hub.file_download import http_get, repo_folder_name
from huggingface_hub.utils import WeakFileLock, build_hf_headers

from vla.checks import listed
from vla.files import file_hash

COMMIT = re.compile("[0-9a-f]{40}")
_SHA256 = re.compile("[0-9a-f]{64}")
# Left free on the disk beside what is downloaded.
_SPARE = 1 << 28


@dataclasses.dataclass(frozen=True)
class Entry:
    """One file of a repository: bytes, and the SHA-256 that its publisher gives of a large one."""

    size: int
    sha256: str | None = None


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """One version of a repository.

    Attributes:
      repository: Its id.
      revision: The branch, tag or commit that was asked for.
      commit: The commit that it is.
      entries: Its files by name; None where only what is in the cache is known.
    """

    repository: str
    revision: str
    commit: str
    entries: dict[str, Entry] | None

    @property
    def storage(self) -> Path:
        """What the cache has of the repository."""
        cache = Path(huggingface_hub.constants.HF_HUB_CACHE).expanduser()
        return cache / repo_folder_name(repo_id=self.repository, repo_type="model")

    @property
    def folder(self) -> Path:
        """Where the files of this version are, as far as they are there."""
        return self.storage / "snapshots" / self.commit

    @property
    def is_named(self) -> bool:
        """Whether the cache knows that the revision is this commit."""
        return self.revision == self.commit or _named(self.storage, self.revision) == self.commit

    @property
    def names(self) -> Collection[str]:
        """Names of all files, as far as known."""
        if self.entries is not None:
            return self.entries.keys()
        return {path.name for path in self.folder.iterdir()}

    def lacks(self, names: Collection[str]) -> list[str]:
        """Those of the files that are not in the cache, or not in their full size."""
        return sorted(name for name in names if not self._has(name))

    def _has(self, name: str) -> bool:
        path = self.folder / name
        if not path.is_file():
            return False
        return self.entries is None or path.stat().st_size == self.entries[name].size


def commit_of(folder: Path) -> str | None:
    """The commit that a folder of the cache is; None for any other folder."""
    return folder.name if folder.parent.name == "snapshots" and COMMIT.fullmatch(folder.name) else None


def token() -> str | bool:
    """What HF_TOKEN holds; False, which asks for no token from elsewhere, where it is not set.

    Raises:
      ValueError: It holds something that is no token.
    """
    text = os.environ.get("HF_TOKEN", "").strip()
    if not re.fullmatch("[!-~]*", text):
        # An HTTP library would quote it in its own message.
        raise ValueError("HF_TOKEN holds blanks or characters that no token has; set it anew")
    return text or False


def look_up(repository: str, revision: str) -> Snapshot:
    """What the Hub has at that revision; raises whatever the Hub's client raises."""
    api = huggingface_hub.HfApi(token=token())
    commit = revision
    if not COMMIT.fullmatch(revision):
        commit = _proper(COMMIT, api.model_info(repository, revision=revision).sha, repository)
    entries = {}
    for found in api.list_repo_tree(repository, revision=commit):
        if isinstance(found, huggingface_hub.RepoFile):
            sha256 = None if found.lfs is None else _proper(_SHA256, found.lfs.sha256, repository)
            entries[found.path] = Entry(found.size, sha256)
    return Snapshot(repository, revision, commit, entries)


def _proper(form: re.Pattern[str], text: str | None, repository: str) -> str:
    """What the Hub says, in the form that may become the name of a folder or a file."""
    if text is None or not form.fullmatch(text):
        raise ValueError(
            f"what answers for the Hub says {text!r} of {repository}, which is no checksum; see HF_ENDPOINT"
        )
    return text


def in_cache(repository: str, revision: str) -> Snapshot | None:
    """What the cache has of that revision, without a network; None for nothing."""
    snapshot = Snapshot(repository, revision, revision, None)
    if not COMMIT.fullmatch(revision):
        snapshot = dataclasses.replace(snapshot, commit=_named(snapshot.storage, revision))
    try:
        tree = huggingface_hub.get_cached_repo_tree(repository, revision=snapshot.commit)
        # only what is at the top, as `look_up` has it
        snapshot = dataclasses.replace(
            snapshot, entries={found.path: Entry(found.size) for found in tree if "/" not in found.path}
        )
    except CachedRepoTreeNotFoundError:
        pass
    return snapshot if snapshot.commit and snapshot.folder.is_dir() else None


def _named(storage: Path, revision: str) -> str:
    """The commit that a branch or tag was when it was last asked for; empty where it never was."""
    reference = storage / "refs" / revision
    return reference.read_text().strip() if reference.is_file() else ""


def fetch(snapshot: Snapshot, names: Collection[str]) -> None:
    """Put files of a snapshot into the cache; what is there is kept, and half a large file is continued.

    Raises:
      ValueError: Not enough disk, a file that is not what the Hub says, a snapshot that changed on the way.
      Exception: Whatever the Hub's client raises.
    """
    assert snapshot.entries is not None
    wanted = {name: snapshot.entries[name] for name in snapshot.lacks(names)}
    if not wanted and snapshot.is_named:
        return
    _check_disk(snapshot, wanted)
    for name, entry in wanted.items():
        # a link to a file of another size would be taken for the file
        (snapshot.folder / name).unlink(missing_ok=True)
        if entry.sha256 is not None:
            _fetch_large(snapshot, name, entry)
    patterns = [glob.escape(name) for name in names]
    folder = huggingface_hub.snapshot_download(
        snapshot.repository, revision=snapshot.revision, allow_patterns=patterns, token=token()
    )
    if Path(folder).name != snapshot.commit:
        raise ValueError(f"{snapshot.repository} changed at {snapshot.revision!r} while it was downloaded; try again")
    wrong = snapshot.lacks(names)
    if wrong:
        raise ValueError(
            f"{listed(wrong)} of {snapshot.repository} came in another size than the Hub lists; delete "
            f"{snapshot.storage} and try again"
        )


def _partial(snapshot: Snapshot, entry: Entry) -> Path:
    return snapshot.storage / "blobs" / f"{entry.sha256}.incomplete"


def _check_disk(snapshot: Snapshot, wanted: dict[str, Entry]) -> None:
    """Refuse to begin what the disk cannot hold."""
    there = [_partial(snapshot, entry) for entry in wanted.values()]
    needed = sum(entry.size for entry in wanted.values()) - sum(path.stat().st_size for path in there if path.is_file())
    place = next(path for path in (snapshot.storage, *snapshot.storage.parents) if path.is_dir())
    free = shutil.disk_usage(place).free
    if needed + _SPARE > free:
        raise ValueError(
            f"{snapshot.repository} needs {needed / 1e9:.2f} GB, but {place} has {free / 1e9:.2f} GB free; make room "
            "there, or set HF_HOME to a folder of a larger disk. Nothing was downloaded"
        )


def _fetch_large(snapshot: Snapshot, name: str, entry: Entry) -> None:
    """Put one large file where the Hub's client looks for it, continuing what an earlier run has left of it.

    The client itself begins every file anew when its process was ended.
    """
    partial = _partial(snapshot, entry)
    blob = partial.with_suffix("")
    # The lock of the Hub's client, which may be after the same file.
    lock = snapshot.storage.parent / ".locks" / snapshot.storage.name / f"{blob.name}.lock"
    for path in (partial, lock):
        path.parent.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(lock):
        if blob.is_file() and blob.stat().st_size == entry.size:
            return
        if partial.is_file() and partial.stat().st_size > entry.size:
            partial.unlink()
        url = huggingface_hub.hf_hub_url(snapshot.repository, name, revision=snapshot.commit)
        headers = build_hf_headers(token=token())
        with partial.open("ab") as file:
            http_get(
                url,
                file,
                resume_size=file.tell(),
                headers=headers,
                expected_size=entry.size,
                displayed_filename=name,
            )
        if file_hash(partial) != entry.sha256:
            partial.unlink()
            raise ValueError(
                f"{name} of {snapshot.repository} came with other bytes than the SHA-256 that the Hub lists; it was "
                "deleted, try again"
            )
        os.replace(partial, blob)
