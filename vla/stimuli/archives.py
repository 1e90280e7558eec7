"""Unpacks zip and tar archives into one folder, and never outside of it."""

import os
import posixpath
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

from filelock import FileLock

from vla.files import replacing

CHUNK = 1 << 20
# Limit of total unpacked size / archive size. Images and label maps hardly shrink, JSON shrinks by a factor of ten;
# the limit of deflate is about 1,030.
MAX_GROWTH = 100
# What the libraries raise for a damaged archive.
DAMAGE = (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError, zlib.error)
# Below this total size in bytes, growth is not limited.
HARMLESS = 1 << 24


class Member(NamedTuple):
    """One entry of an archive, which opens it by its handle: its path below the folder and its stated unpacked size.

    `fault` is the reason why it is refused, as a phrase that follows its name; empty if it is not.
    """

    path: str
    name: str
    size: int
    is_folder: bool
    handle: Any
    fault: str


def extract(
    archive: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    wanted: Callable[[str], bool] | None = None,
    max_growth: int = MAX_GROWTH,
) -> Path:
    """Unpack an archive into a new folder in one step; returns the folder's absolute path.

    All members are checked before anything is written. Files are unpacked beside the folder, which is then renamed, so
    a folder that exists is complete and is kept. Times, owners and permissions are not restored, and archives within
    the archive are not unpacked.

    Args:
      archive: A zip, or a tar with or without gzip, bzip2 or xz.
      folder: The folder to create.
      wanted: Whether to unpack a file, by its path in the archive with `/`; None for all files.
      max_growth: Largest ratio of the total unpacked size to the size of the archive.

    Raises:
      ValueError: The archive is damaged, encrypted or no archive; a member leaves the folder, occurs twice, is a device
      or
        a link to anything but an earlier file; it is too large for the archive or the disk; it has no wanted file.
    """
    source, target = (Path(os.path.abspath(Path(path).expanduser())) for path in (archive, folder))
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):
        if not target.is_dir():
            with replacing(target, target.parent / f".{target.name}.tmp") as temporary:
                temporary.mkdir()
                _unpack(source, temporary, wanted, max_growth)
    return target


def _unpack(archive: Path, draft: Path, wanted: Callable[[str], bool] | None, max_growth: int) -> None:
    """Check all members, and write the wanted ones below `draft`."""
    try:
        # Test for tar first: zips are recognised by their end, and a tar can end in a zip.
        if tarfile.is_tarfile(archive):
            with tarfile.open(archive) as opened:
                members = _checked(archive, tar_members(opened), max_growth)
                _write_all(archive, draft, members, wanted, opened.extractfile)
                # Read to the end: the checksums of gzip, bzip2 and xz come after the last member.
                while opened.fileobj is not None and opened.fileobj.read(CHUNK):
                    pass
        elif zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as opened:
                members = _checked(archive, zip_members(opened), max_growth)
                _write_all(archive, draft, members, wanted, opened.open)
        else:
            raise ValueError(
                f"{archive} is neither a zip nor a tar archive, or it is truncated. Delete it to download it again"
            )
    except (*DAMAGE, NotImplementedError) as error:
        raise _broken(archive, error) from error


def _checked(archive: Path, members: Iterable[Member], max_growth: int) -> list[Member]:
    """The files among the members, after all members are checked."""
    size = archive.stat().st_size
    limit = max(size * max_growth, HARMLESS)
    by_path: dict[str, Member] = {}
    total = 0
    for member in members:
        fault = member.fault or ("occurs twice" if member.path in by_path and not member.is_folder else "")
        if fault:
            raise ValueError(f"{archive} was not unpacked: its member {member.name!r} {fault}")
        by_path[member.path] = member
        total += member.size
        if total > limit:
            raise ValueError(
                f"{archive} was not unpacked: its {size:,} bytes claim to hold more than {limit:,} (reached at the "
                f"member {member.name!r}), like a decompression bomb. If you trust it, unpack it yourself"
            )
    return [member for member in by_path.values() if not member.is_folder]


def _write_all(
    archive: Path,
    draft: Path,
    members: list[Member],
    wanted: Callable[[str], bool] | None,
    open_member: Callable[[Any], IO[bytes] | None],
) -> None:
    chosen = [member for member in members if wanted is None or wanted(member.path)]
    if not chosen:
        raise ValueError(f"{archive} holds nothing that is wanted: none of its {len(members)} files")
    need, free = sum(member.size for member in chosen), shutil.disk_usage(draft).free
    if need > free:
        raise ValueError(
            f"{archive} unpacks to {need:,} bytes, but {draft.parent} has only {free:,} free. Free disk space"
        )
    for member in chosen:
        target = draft / member.path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            source = open_member(member.handle)
            assert source is not None, "folders and devices are excluded"
            # The libraries read no more than the size in the header. Links are followed, so they become copies.
            with source, target.open("xb") as file:
                shutil.copyfileobj(source, file, CHUNK)
                written = file.tell()
        except (*DAMAGE, RuntimeError) as error:
            raise _broken(archive, error, member) from error
        if written != member.size:
            raise ValueError(f"{archive} is damaged: its member {member.name!r} does not have {member.size:,} bytes")


def _broken(archive: Path, error: BaseException, member: Member | None = None) -> ValueError:
    location = f" at its member {member.name!r}" if member else ""
    # Decompressors raise OSError without an error number.
    if isinstance(error, OSError) and error.errno is not None:
        return ValueError(f"{archive} cannot be unpacked{location}: {error}")
    return ValueError(
        f"{archive} cannot be unpacked{location}: {error or type(error).__name__}. It is encrypted, truncated or "
        "damaged: delete it to download it again"
    )


def zip_members(archive: zipfile.ZipFile) -> Iterator[Member]:
    """The members of a zip; links are refused, because published datasets have none."""
    for info in archive.infolist():
        path, fault = _inside(info.filename)
        # The upper half is the Unix mode if the archive was made on a Unix system.
        file_type = stat.S_IFMT(info.external_attr >> 16)
        if file_type not in (0, stat.S_IFREG, stat.S_IFDIR):
            fault = fault or "is a link or a device, not a file"
        yield Member(path, info.filename, info.file_size, info.is_dir(), info, fault)


def tar_members(archive: tarfile.TarFile) -> Iterator[Member]:
    """The members of a tar; a link to an earlier file of the archive is unpacked as a copy of it.

    Stricter than `tarfile.data_filter`, which allows links to any path within the folder.
    """
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
            fault = fault or "is a device, not a file"
        if not fault and not info.isdir():
            files[path] = size
        yield Member(path, info.name, size, info.isdir(), info, fault)


def _inside(name: str) -> tuple[str, str]:
    """The path of a member below the folder, and why it is refused (empty if it is not)."""
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
