"""Files: written completely or not at all, hashed, and named.

Whatever this tree writes appears under its final name in one step. Until then it has a temporary name beside it,
`.<name>.<random>.tmp`, so an interrupted run leaves nothing that looks finished.
"""

import contextlib
import hashlib
import os
import shutil
import urllib.parse
import uuid
from collections.abc import Iterator
from pathlib import Path

import fsspec
import fsspec.core
from fsspec.implementations.local import LocalFileSystem

# File systems allow names of 255 bytes; suffixes and temporary names need a part of them.
_LONGEST_NAME = 150


@contextlib.contextmanager
def replacing(path: Path, temporary: Path | None = None) -> Iterator[Path]:
    """Give the block a temporary path, and rename what it has written there to `path`.

    The block writes a file or a folder. If it raises, `path` is as it was and the temporary file or folder is removed.

    Args:
      path: The final path; its folder is created. An existing file is replaced; a folder that is not empty is an error.
      temporary: The temporary path, on the same disk. By default a new hidden name beside `path`. Give a fixed one only
        while holding a lock: what an interrupted run has left there is removed first.

    Raises:
      OSError: The path cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if temporary is None:
        # Cut, because names of files may have the greatest length already (in bytes; a letter has up to four).
        temporary = path.with_name(f".{path.name[:50]}.{uuid.uuid4().hex}.tmp")
    else:
        _remove(temporary)
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        _remove(temporary)


def write_file(path: Path, data: bytes | str) -> Path:
    """Write a file in one step, text as UTF-8; returns its path. Its folder is created.

    Raises:
      ValueError: The file cannot be written.
    """
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(data.encode() if isinstance(data, str) else data)
    except OSError as error:
        raise ValueError(
            f"{path} cannot be written: {error.strerror}. Free disk space or allow writing, then run again: finished "
            "work is kept"
        ) from error
    return path


def _remove(path: Path) -> None:
    """Remove a file or a folder, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def open_root(root: str | os.PathLike[str], what: str) -> tuple[fsspec.AbstractFileSystem, str, str]:
    """The file system of a store, the path of the store in it, and its absolute path or URL.

    Args:
      root: A local path, or a URL such as `gs://bucket/folder`; nothing is created.
      what: The kind of store, for the message.

    Raises:
      ValueError: fsspec does not know this kind of URL, or its package is not installed.
    """
    text = os.fspath(root)
    try:
        fs, base = fsspec.core.url_to_fs(text)
    except (ImportError, ValueError) as error:
        raise ValueError(f"{what} {text!r}: {error}. Expected a local path or a URL that fsspec knows.") from error
    # Absolute, so that a location stays true wherever it is read.
    return fs, base, (base if isinstance(fs, LocalFileSystem) else text).rstrip("/")


def put_file(fs: fsspec.AbstractFileSystem, path: str, data: bytes, stem: str) -> None:
    """Write a file of a store in one step; folders are created.

    Args:
      fs: From `open_root`.
      path: In that file system.
      data: The content.
      stem: How the temporary path begins on a local disk; `.<random>.tmp` follows.

    Raises:
      OSError: The file system does not take it.
    """
    if not isinstance(fs, LocalFileSystem):
        fs.pipe_file(path, data)
        return
    with replacing(Path(path), Path(f"{stem}.{uuid.uuid4().hex}.tmp")) as temporary:
        temporary.write_bytes(data)


def safe_name(text: str) -> str:
    """Any text, such as an item id, as a file name: all but letters, digits, spaces and `_.-~` is percent-encoded.

    Long texts are cut and end in a hash. `.` and `..` are encoded too, so no id leads out of a folder.
    """
    name = urllib.parse.quote(text, safe=" ")
    if not name.strip(". "):
        name = name.replace(".", "%2E").replace(" ", "%20")
    if len(name) > _LONGEST_NAME:
        name = f"{name[:_LONGEST_NAME]}~{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    return name


def file_hash(path: Path, algorithm: str = "sha256") -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


def is_git_lfs_pointer(data: bytes) -> bool:
    """Whether the content of a file is the text that Git leaves in place of a file kept in Git LFS."""
    return data.startswith(b"version https://git-lfs.github.com/spec/")


def register_path(name: str) -> Path:
    """The file of a register of third-party material, such as "checkpoints.toml".

    An installed package holds the registers as its own data (`vla/third_party`); a checkout of the repository has them
    in `third_party`.
    """
    installed = Path(__file__).with_name("third_party") / name
    return installed if installed.is_file() else Path(__file__).parents[1] / "third_party" / name
