"""Which weights are meant: the contents of a local directory, or the commit of a Hub repository."""

import os
from pathlib import Path

import huggingface_hub

from vla.records import canonical_hash, file_hash

# What may determine what a checkpoint computes; documentation and weights in other formats do not.
_SUFFIXES = frozenset({".jinja", ".json", ".model", ".safetensors", ".txt"})


def identify(source: str | os.PathLike[str], revision: str | None, file: str) -> str:
    """`sha256:...` of a directory's contents, or `<id>@<commit>` of a repository on the Hub.

    Args:
      source: A directory, or a Hub id.
      revision: Branch, tag or commit on the Hub.
      file: A small file that the checkpoint has; of the Hub's repository only this file is fetched.

    Raises:
      ValueError: neither a directory with that file nor a repository that can be had; a revision of a directory.
    """
    directory = Path(source).expanduser()
    if directory.is_dir():
        if revision:
            raise ValueError(f"revision {revision!r} was given, but {source} is a local directory, which has none")
        if not (directory / file).is_file():
            raise ValueError(f"{source} has no {file}; expected a checkpoint directory as its publishers laid it out")
        files = sorted(path for path in directory.rglob("*") if path.is_file() and path.suffix in _SUFFIXES)
        contents = {path.relative_to(directory).as_posix(): file_hash(path) for path in files}
        return f"sha256:{canonical_hash(contents)}"
    text = str(source)
    if text.startswith(("/", ".", "~")) or text.count("/") != 1:
        raise ValueError(f"there is no directory {source}; expected a checkpoint directory, or a Hub id (owner/name)")
    try:
        path = Path(huggingface_hub.hf_hub_download(text, file, revision=revision or None))
    except Exception as error:  # the Hub's client lets the errors of its HTTP library through
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"{text!r} is no local directory, and {file} of it cannot be had from the Hub: {why}. Check the spelling, "
            "give a directory, or download it where there is a network"
        ) from error
    # The cache keeps a file under snapshots/<commit>/<path in the repository>.
    return f"{text}@{path.parents[file.count('/')].name}"
