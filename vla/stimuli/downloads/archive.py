"""Unpacks a zip or tar archive into one folder, and nowhere else."""

import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from io import BufferedIOBase
from pathlib import Path
from typing import Any

from filelock import FileLock

from vla.stimuli.downloads.members import Member, tar_members, zip_members

CHUNK = 1 << 20
# Photographs and label maps hardly shrink and JSON shrinks tenfold; deflate's own limit is about 1,030.
MOST_GROWTH = 100
# Below this nobody is harmed, however well it was packed.
HARMLESS = 1 << 24


def extract(
    archive: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    wanted: Callable[[str], bool] | None = None,
    most_growth: int = MOST_GROWTH,
) -> Path:
    """The archive's files in `folder`; the folder is there whole or not at all.

    Every member is looked at before anything is written. Files are unpacked beside the folder and renamed, so a
    folder that exists is finished and is returned as it is. Times, owners and permissions are not restored.

    Args:
      archive: A zip, or a tar with or without gzip, bzip2 or xz.
      folder: What to make.
      wanted: Which files to unpack, by their path in the archive with `/`; None for all.
      most_growth: How many times larger than the archive all its files together may be.

    Returns:
      The folder's absolute path.

    Raises:
      ValueError: no archive, truncated, encrypted, or with a wrong check sum; a member whose path is absolute or
        climbs, that is a link out of the folder or a device, or that is there twice; too much in too small an
        archive; not enough disk; nothing wanted in it. The archive and the member are named.
    """
    source, place = (Path(os.path.abspath(Path(path).expanduser())) for path in (archive, folder))
    place.parent.mkdir(parents=True, exist_ok=True)
    draft = place.parent / f".{place.name}.unpacking"
    with FileLock(f"{place}.lock"):
        if place.is_dir():
            return place
        shutil.rmtree(draft, ignore_errors=True)
        try:
            draft.mkdir()
            _unpack(source, draft, wanted, most_growth)
            os.replace(draft, place)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return place


def _unpack(archive: Path, draft: Path, wanted: Callable[[str], bool] | None, most_growth: int) -> None:
    """Write the wanted members below `draft`."""
    try:
        size = archive.stat().st_size
        limit = max(size * most_growth, HARMLESS)
        # A tar first: one that ends in a zip has that zip's end, by which zips are known.
        if tarfile.is_tarfile(archive):
            with tarfile.open(archive) as opened:
                members = _checked(archive, tar_members(opened), limit, size)
                _write_all(archive, draft, members, wanted, opened.extractfile)
                # The check sum of gzip and its kind comes after the last member.
                while opened.fileobj is not None and opened.fileobj.read(CHUNK):
                    pass
        elif zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as opened:
                members = _checked(archive, zip_members(opened), limit, size)
                _write_all(archive, draft, members, wanted, opened.open)
        else:
            raise ValueError(
                f"{archive} is neither a zip nor a tar archive, or it is cut short. Delete it to fetch it anew"
            )
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError, zlib.error, NotImplementedError) as error:
        raise _broken(archive, error) from error


def _checked(archive: Path, members: Iterable[Member], limit: int, size: int) -> list[Member]:
    """The members, if together they stay within the limit and no two share a path."""
    found: dict[str, Member] = {}
    total = 0
    for member in members:
        if member.fault:
            raise ValueError(f"{archive} was not unpacked: its member {member.shown!r} {member.fault}")
        if member.path in found and not member.is_folder:
            raise ValueError(f"{archive} was not unpacked: its member {member.shown!r} is there twice")
        found[member.path] = member
        total += member.size
        if total > limit:
            raise ValueError(
                f"{archive} was not unpacked: its {size:,} bytes claim to hold more than {limit:,} (reached at the "
                f"member {member.shown!r}), as a decompression bomb does. If you trust it, unpack it yourself"
            )
    return [member for member in found.values() if not member.is_folder]


def _write_all(
    archive: Path,
    draft: Path,
    members: list[Member],
    wanted: Callable[[str], bool] | None,
    open_member: Callable[[Any], Any],
) -> None:
    """Write the wanted ones of checked members."""
    chosen = [member for member in members if wanted is None or wanted(member.path)]
    if not chosen:
        raise ValueError(f"{archive} holds nothing that is wanted: none of its {len(members)} files")
    need, free = sum(member.size for member in chosen), shutil.disk_usage(draft).free
    if need > free:
        raise ValueError(f"{archive} unpacks to {need:,} bytes, but {draft.parent} has only {free:,} free. Make room")
    for member in chosen:
        target = draft / member.path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with _opened(member, open_member) as source, target.open("xb") as file:
                written = _copy(source, file, member.size)
        except (RuntimeError, zipfile.BadZipFile, tarfile.TarError, EOFError, OSError, zlib.error) as error:
            raise _broken(archive, error, member) from error
        if written != member.size:
            raise ValueError(f"{archive} is broken: its member {member.shown!r} is not of {member.size:,} bytes")


def _opened(member: Member, open_member: Callable[[Any], Any]) -> BufferedIOBase:
    opened = open_member(member.handle)
    assert opened is not None, "folders and devices were sorted out"
    return opened


def _copy(source: BufferedIOBase, file: BufferedIOBase, most: int) -> int:
    """Copy until the end, or one piece beyond what was declared; returns how many bytes were read."""
    read = 0
    for chunk in _pieces(source):
        read += len(chunk)
        if read > most:
            break
        file.write(chunk)
    return read


def _pieces(source: BufferedIOBase) -> Iterator[bytes]:
    while chunk := source.read(CHUNK):
        yield chunk


def _broken(archive: Path, error: BaseException, member: Member | None = None) -> ValueError:
    """What to tell of an archive that cannot be read."""
    where = f" at its member {member.shown!r}" if member else ""
    # Decompressors raise OSError as well, but without a number.
    if isinstance(error, OSError) and error.errno is not None:
        return ValueError(f"{archive} cannot be unpacked{where}: {error}")
    return ValueError(
        f"{archive} cannot be unpacked{where}: {error or type(error).__name__}. It is encrypted, truncated or damaged: "
        "delete it to fetch it anew"
    )
