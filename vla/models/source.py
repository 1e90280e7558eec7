"""From what a user calls a checkpoint to a local directory."""

from collections.abc import Sequence
from pathlib import Path

import huggingface_hub
from huggingface_hub.errors import LocalEntryNotFoundError

from vla.models.checkpoint import INDEX, WEIGHTS

WEIGHT_PATTERNS = ("config.json", WEIGHTS, INDEX, "model-*-of-*.safetensors")


def find_directory(source: str | Path, patterns: Sequence[str], revision: str | None = None) -> Path:
    """The directory itself, or a cached download of the Hub repository of that name.

    A local directory wins over a Hub id of the same spelling. Caches and HF_HUB_OFFLINE are honoured as everywhere
    in Hugging Face's tools.

    Args:
      source: A directory, or a Hub id such as "facebook/dinov2-base".
      patterns: Names of the files that are needed, with wildcards; nothing else is downloaded.
      revision: Branch, tag or commit on the Hub.

    Raises:
      ValueError: Neither a directory nor a repository that can be had; a revision of a directory.
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
        raise ValueError(f"there is no directory {source}; expected a checkpoint directory, or a Hub id (owner/name)")
    try:
        return Path(huggingface_hub.snapshot_download(text, revision=revision, allow_patterns=list(patterns)))
    except LocalEntryNotFoundError as error:
        raise ValueError(
            f"{source!r} is no local directory, is not in the local cache, and the Hub cannot be reached "
            f"({_first_line(error)}). Give a directory, or download it where there is a network"
        ) from error
    except Exception as error:  # the Hub's client lets the errors of its HTTP library through
        raise ValueError(
            f"{source!r} is no local directory, and the Hub answered: {_first_line(error)}. Check the spelling and "
            "the revision; for a gated or private repository log in with `hf auth login`"
        ) from error


def _first_line(error: Exception) -> str:
    """What an error says, without the advice that follows."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
