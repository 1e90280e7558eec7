"""From the name of a checkpoint to a local directory; downloads what is needed."""

import json
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import validate_repo_id

from vla.checks import listed
from vla.files import is_git_lfs_pointer
from vla.models import hub
from vla.models.catalogue import checkpoints, pinned, similar_ids
from vla.models.checkpoint import choose_weights
from vla.models.fields import pointer_message, read_json

CONFIG, ADAPTER, MODULES = "config.json", "adapter_config.json", "modules.json"

# More bytes than a Git LFS pointer has.
_POINTER_BYTES = 1024


class Unreachable(ValueError):
    """A repository that is available neither on the Hub nor in the cache."""


def find_directory(
    source: str | Path, names: Sequence[str] = (), revision: object = None, *, weights: bool = False
) -> Path:
    """The directory itself, or the cached files of the Hub repository of that name.

    A local directory wins over a Hub id of the same spelling. Only the requested files of a repository are downloaded,
    and a single format of the weights: safetensors, else torch's. An interrupted download of a large file resumes.
    Without a network, or with HF_HUB_OFFLINE, the cache is used if it has all that is needed.

    Args:
      source: A directory, or a Hub id such as "facebook/dinov2-base".
      names: Files that are needed if they exist, besides config.json.
      revision: Branch, tag or commit on the Hub; by default the one that the register of checkpoints pins, else main.
      weights: Whether the weights are needed.

    Raises:
      ValueError: Neither a directory nor an available repository; a revision of a directory; a repository without
        weights, or with an index that names absent files; a full disk; a failed download.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        if revision is not None:
            raise ValueError(f"revision {revision!r} was given, but {source} is a local directory, which has none")
        return path
    if path.exists():
        raise ValueError(f"{source} is a file; expected the checkpoint directory that contains it, or a Hub id")
    text = str(source)
    if text.startswith(("/", ".", "~")) or text.count("/") > 1:
        raise ValueError(
            f"there is no directory {source}; expected a checkpoint directory, or a Hub id (owner/name), of which "
            "python -m launch.models lists those that are registered"
        )
    if revision is not None and not (isinstance(revision, str) and revision):
        raise ValueError(f"revision is {revision!r}; expected the name of a branch or tag, or a commit")
    version = revision if isinstance(revision, str) else pinned(text) or "main"
    return _from_hub(text, (CONFIG, *names), version, weights)


def find_config(source: str | Path, revision: object = None) -> Path:
    """The directory, or the cached files, of a checkpoint with its config.json, without downloading weights.

    Raises:
      ValueError: As `find_directory`; it is an adapter, GGUF or a pipeline of sentence-transformers, not a checkpoint.
    """
    path = Path(source).expanduser()
    if path.is_file() and path.suffix == ".gguf":
        raise ValueError(_gguf(str(source)))
    directory = find_directory(source, (ADAPTER, MODULES), revision)
    # A repository without any of the requested files has no folder in the cache.
    repository = str(source)
    snapshot = None if path.is_dir() else hub.in_cache(repository, directory.name)
    if snapshot is None and not directory.is_dir():
        snapshot = hub.look_up(repository, directory.name)
    names = {file.name for file in directory.iterdir()} if snapshot is None else set(snapshot.names)
    if ADAPTER in names:
        base = read_json(directory / ADAPTER).get("base_model_name_or_path") or "its base model"
        raise ValueError(
            f"{source} is an adapter (LoRA) of {base}, not a model: merge it by peft's "
            "merge_and_unload(), save the result and the tokenizer with save_pretrained(DIR), and name DIR; if the "
            f"weights beside it are merged already, remove {ADAPTER}"
        )
    if CONFIG in names:
        return directory
    if any(name.endswith(".gguf") for name in names):
        raise ValueError(_gguf(str(source)))
    if MODULES in names:
        raise ValueError(
            f"{source} is a pipeline of sentence-transformers whose transformer is in a subfolder: name "
            f"{_transformer(source, directory)} instead"
        )
    return directory


def _gguf(source: str) -> str:
    return (
        f"{source} is in GGUF, the format of llama.cpp, which is not read here: name the repository that it was "
        "converted from, or convert it by transformers' from_pretrained(..., gguf_file=FILE).save_pretrained(DIR) and "
        "name DIR"
    )


def _transformer(source: str | Path, directory: Path) -> str:
    """The path of the transformer in a pipeline of sentence-transformers."""
    modules = json.loads((directory / MODULES).read_text(encoding="utf-8"))
    paths = [
        part["path"]
        for part in (modules if isinstance(modules, list) else [])
        if isinstance(part, dict) and part.get("path") and str(part.get("type", "")).endswith(".Transformer")
    ]
    return f"{str(source).rstrip('/')}/{paths[0] if paths else '0_Transformer'}" + (
        "" if Path(source).expanduser().is_dir() else ", downloaded as a directory,"
    )


def refuse_pointers(directory: Path, names: Sequence[str] = ()) -> None:
    """Refuse Git LFS pointers, which a clone without Git LFS has in place of large files.

    Raises:
      ValueError: Such a file among the weights or `names`.
    """
    weights = [path.name for path in directory.iterdir() if path.suffix in (".bin", ".safetensors")]
    for name in sorted({*names, *weights}):
        path = directory / name
        if path.is_file() and path.stat().st_size < _POINTER_BYTES and is_git_lfs_pointer(path.read_bytes()):
            raise ValueError(pointer_message(path))


def is_cached(repository: str) -> bool:
    """Whether the cache has config and weights of a Hub repository, in the version that `find_directory` uses."""
    snapshot = hub.in_cache(repository, pinned(repository) or "main")
    return snapshot is not None and not _missing(snapshot, (), True)


def _from_hub(repository: str, names: Sequence[str], revision: str, weights: bool) -> Path:
    """The cached folder of a repository, with what is needed."""
    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        reason = f"{_first_line(error).rstrip('.')}{_hint(repository)}"
        raise ValueError(f"{repository!r} is no local directory and no Hub id (owner/name): {reason}") from error
    snapshot = hub.in_cache(repository, revision)
    # A commit never changes, so that its file list needs no network.
    settled = snapshot is not None and hub.COMMIT.fullmatch(revision) and snapshot.entries is not None
    if snapshot is None or not settled or _missing(snapshot, names, weights):
        try:
            snapshot = hub.look_up(repository, revision)
            if weights:
                _fetch_weights(snapshot)
            hub.fetch(snapshot, [name for name in names if name in snapshot.names])
            return snapshot.folder
        except ValueError:
            raise
        except Exception as error:  # the Hub's client lets the errors of its HTTP library through
            return _without_hub(hub.in_cache(repository, revision), repository, revision, names, weights, error)
    return snapshot.folder


def _fetch_weights(snapshot: hub.Snapshot) -> None:
    """Download the weights in one format; of shards, those that the index names."""

    def open_index(name: str) -> Path:
        hub.fetch(snapshot, [name])
        return snapshot.folder / name

    hub.fetch(snapshot, choose_weights(snapshot.names, snapshot.repository, open_index))


def _missing(snapshot: hub.Snapshot, names: Sequence[str], weights: bool) -> list[str]:
    """The needed files that the cache lacks, as far as known: an index that is absent names further files."""
    needed = [name for name in names if name in snapshot.names]
    needed += [] if CONFIG in needed else [CONFIG]
    if weights:
        try:
            needed += choose_weights(snapshot.names, str(snapshot.folder), snapshot.folder.joinpath)
        except ValueError as error:
            return [str(error)]
    return snapshot.lacks(needed)


def _without_hub(
    snapshot: hub.Snapshot | None, repository: str, revision: str, names: Sequence[str], weights: bool, error: Exception
) -> Path:
    """The cached folder if it is complete; otherwise an error with the reason for the failed download."""
    missing = [] if snapshot is None else _missing(snapshot, names, weights)
    if snapshot is not None and not missing and not isinstance(error, RevisionNotFoundError):
        return snapshot.folder
    cached = (
        "is not in the local cache" if snapshot is None else f"is only in part in the local cache ({listed(missing)})"
    )
    begin = f"{repository!r} is no local directory, {cached}, and"
    if isinstance(error, OfflineModeIsEnabled):
        why = "HF_HUB_OFFLINE is set. Give a directory, or unset it and download the rest where there is a network"
    elif isinstance(error, RevisionNotFoundError):
        why = f"the Hub has no revision {revision!r} of it. Give a branch, a tag or a commit that exists"
    elif isinstance(error, GatedRepoError):
        why = "it is a gated repository. Accept the terms on its page, then set HF_TOKEN to a token of your account"
    elif isinstance(error, RepositoryNotFoundError):
        why = "the Hub has none of that name either. Check the spelling; for a private repository set HF_TOKEN"
    elif isinstance(error, LocalEntryNotFoundError | ConnectionError) or "Connect" in type(error).__name__:
        why = (
            f"the Hub cannot be reached ({_first_line(error)}). Give a directory, or download it where there is a "
            "network"
        )
    else:
        why = f"the download failed: {_first_line(error)}. What is complete is kept; try again"
    raise Unreachable(f"{begin} {why}{_hint(repository) if snapshot is None else ''}") from error


def _hint(repository: str) -> str:
    """Similar ids for an id that is not in the register; "" for one that is."""
    names = similar_ids(repository)
    if names:
        return f". Spelt like it in the register: {', '.join(names)}; python -m launch.models lists all of it"
    known = any(checkpoint.id == repository for checkpoint in checkpoints())
    return "" if known else ". python -m launch.models lists the registered ids; a directory is named by its path"


def _first_line(error: Exception) -> str:
    """The first line of an error, without the advice that follows."""
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
