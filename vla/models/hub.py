"""Selected files of a repository of the Hugging Face Hub, in the cache that Hugging Face's tools use.

HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE and HF_ENDPOINT work as in huggingface_hub. A token is taken only from HF_TOKEN.
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
# Bytes that a download leaves free on the disk.
_SPARE = 1 << 28


@dataclasses.dataclass(frozen=True)
class Entry:
    """A file of a repository: bytes, and the SHA-256 of a large one."""

    size: int
    sha256: str | None = None


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """One version of a repository.

    Attributes:
      repository: Its id.
      revision: The requested branch, tag or commit.
      commit: Its commit.
      entries: Its files by name; None if only the cached files are known.
    """

    repository: str
    revision: str
    commit: str
    entries: dict[str, Entry] | None

    @property
    def storage(self) -> Path:
        """The folder of the repository in the cache."""
        cache = Path(huggingface_hub.constants.HF_HUB_CACHE).expanduser()
        return cache / repo_folder_name(repo_id=self.repository, repo_type="model")

    @property
    def folder(self) -> Path:
        """The folder of this version in the cache."""
        return self.storage / "snapshots" / self.commit

    @property
    def is_named(self) -> bool:
        """Whether the cache knows that the revision is this commit."""
        return self.revision == self.commit or _named(self.storage, self.revision) == self.commit

    @property
    def names(self) -> Collection[str]:
        """Names of all known files."""
        if self.entries is not None:
            return self.entries.keys()
        return {path.name for path in self.folder.iterdir()}

    def lacks(self, names: Collection[str]) -> list[str]:
        """The files that are not in the cache in their full size."""
        return sorted(name for name in names if not self._has(name))

    def _has(self, name: str) -> bool:
        path = self.folder / name
        if not path.is_file():
            return False
        return self.entries is None or path.stat().st_size == self.entries[name].size


def commit_of(folder: Path) -> str | None:
    """The commit of a folder of the cache; None for any other folder."""
    return folder.name if folder.parent.name == "snapshots" and COMMIT.fullmatch(folder.name) else None


def token() -> str | bool:
    """The value of HF_TOKEN; False if it is not set, so that no token from elsewhere is used."""
    text = os.environ.get("HF_TOKEN", "").strip()
    if not re.fullmatch("[!-~]*", text):
        # An HTTP library would print it in its message.
        raise ValueError("HF_TOKEN holds blanks or characters that no token has; set it anew")
    return text or False


def look_up(repository: str, revision: str) -> Snapshot:
    """The repository on the Hub at that revision; raises the errors of the Hub's client."""
    api = huggingface_hub.HfApi(token=token())
    commit = revision
    if not COMMIT.fullmatch(revision):
        commit = _checksum(COMMIT, api.model_info(repository, revision=revision).sha, repository)
    entries = {}
    for file in api.list_repo_tree(repository, revision=commit):
        if isinstance(file, huggingface_hub.RepoFile):
            sha256 = None if file.lfs is None else _checksum(_SHA256, file.lfs.sha256, repository)
            entries[file.path] = Entry(file.size, sha256)
    return Snapshot(repository, revision, commit, entries)


def _checksum(form: re.Pattern[str], text: str | None, repository: str) -> str:
    """A checksum of the Hub, checked because it becomes the name of a folder or a file."""
    if text is None or not form.fullmatch(text):
        raise ValueError(
            f"the server of the Hub says {text!r} of {repository}, which is not a checksum; see HF_ENDPOINT"
        )
    return text


def in_cache(repository: str, revision: str) -> Snapshot | None:
    """The cached files of that revision, without a network; None if there are none."""
    snapshot = Snapshot(repository, revision, revision, None)
    if not COMMIT.fullmatch(revision):
        snapshot = dataclasses.replace(snapshot, commit=_named(snapshot.storage, revision))
    try:
        tree = huggingface_hub.get_cached_repo_tree(repository, revision=snapshot.commit)
        # Only files at the top, as in `look_up`.
        entries = {file.path: Entry(file.size) for file in tree if "/" not in file.path}
        snapshot = dataclasses.replace(snapshot, entries=entries)
    except CachedRepoTreeNotFoundError:
        pass
    return snapshot if snapshot.commit and snapshot.folder.is_dir() else None


def _named(storage: Path, revision: str) -> str:
    """The commit of a branch or tag when it was last requested; "" if it never was."""
    reference = storage / "refs" / revision
    return reference.read_text().strip() if reference.is_file() else ""


def fetch(snapshot: Snapshot, names: Collection[str]) -> None:
    """Download files of a snapshot into the cache; interrupted downloads of large files resume.

    Raises:
      ValueError: A full disk, a file that differs from what the Hub lists, a snapshot that changed meanwhile.
      Exception: Errors of the Hub's client.
    """
    assert snapshot.entries is not None
    missing = {name: snapshot.entries[name] for name in snapshot.lacks(names)}
    if not missing and snapshot.is_named:
        return
    _check_disk(snapshot, missing)
    for name, entry in missing.items():
        # A link to a file of another size would be used as the file.
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


def _check_disk(snapshot: Snapshot, missing: dict[str, Entry]) -> None:
    """Refuse a download that the disk cannot hold."""
    partial = [_partial(snapshot, entry) for entry in missing.values()]
    needed = sum(entry.size for entry in missing.values())
    needed -= sum(path.stat().st_size for path in partial if path.is_file())
    folder = next(path for path in (snapshot.storage, *snapshot.storage.parents) if path.is_dir())
    free = shutil.disk_usage(folder).free
    if needed + _SPARE > free:
        raise ValueError(
            f"{snapshot.repository} needs {needed / 1e9:.2f} GB, but {folder} has {free / 1e9:.2f} GB free; make room "
            "there, or set HF_HOME to a folder of a larger disk. Nothing was downloaded"
        )


def _fetch_large(snapshot: Snapshot, name: str, entry: Entry) -> None:
    """Download a large file to where the Hub's client looks for it, resuming an interrupted download.

    The client itself restarts the download of a file in a new process.
    """
    partial = _partial(snapshot, entry)
    blob = partial.with_suffix("")
    # The lock of the Hub's client, which may download the same file.
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
                f"{name} of {snapshot.repository} does not have the SHA-256 that the Hub lists; it was "
                "deleted, try again"
            )
        os.replace(partial, blob)
