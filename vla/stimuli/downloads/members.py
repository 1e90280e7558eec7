"""Lists what an archive claims to hold, and says of each member why it may not be unpacked."""

import dataclasses
import posixpath
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from typing import Any


@dataclasses.dataclass(frozen=True)
class Member:
    """One entry of an archive.

    Attributes:
      path: Its path below the folder, with `/`.
      shown: Its name as the archive has it.
      size: Bytes it claims to unpack to.
      is_folder: Whether it is a folder.
      handle: What the archive opens it by.
      fault: Why it is refused, to follow its name; empty if it is not.
    """

    path: str
    shown: str
    size: int
    is_folder: bool
    handle: Any
    fault: str = ""


def zip_members(archive: zipfile.ZipFile) -> Iterator[Member]:
    """The members of a zip; links are refused, since published data sets hold none."""
    for info in archive.infolist():
        path, fault = _inside(info.filename)
        # The upper half is the Unix mode, where the archive was packed on such a system.
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            fault = fault or "is a link or a device, no file"
        yield Member(path, info.filename, info.file_size, info.is_dir(), info, fault)


def tar_members(archive: tarfile.TarFile) -> Iterator[Member]:
    """The members of a tar; a link to another file of the archive stands for a copy of that file."""
    files: dict[str, int] = {}
    for info in archive:
        path, fault = _inside(info.name)
        size = info.size if info.isreg() else 0
        if info.issym() or info.islnk():
            start = posixpath.dirname(path) if info.issym() else ""
            target, beyond = _inside(posixpath.normpath(posixpath.join(start, info.linkname)))
            if not fault and (beyond or target not in files):
                fault = f"is a link to {info.linkname!r}, which is no file that comes before it in the archive"
            size = files.get(target, 0)
        elif not (info.isreg() or info.isdir()):
            fault = fault or "is a device, no file"
        if not fault and not info.isdir():
            files[path] = size
        yield Member(path, info.name, size, info.isdir(), info, fault)


def _inside(name: str) -> tuple[str, str]:
    """A member's path below the folder, and what is wrong with it."""
    plain = name.replace("\\", "/")
    first, *_ = plain.split("/")
    if plain.startswith("/") or first.endswith(":") or (len(first) > 1 and first[1] == ":"):
        return "", "has an absolute path"
    path = posixpath.normpath(plain) if plain else ""
    if path == ".." or path.startswith("../") or ".." in plain.split("/"):
        return "", "has a path that climbs out of the folder (`..`)"
    if not path or "\0" in path:
        return "", "has no usable name"
    return path, ""
