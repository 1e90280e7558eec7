"""Fetches one file over HTTP: resumed where it was cut, verified before it bears its name."""

import os
from collections.abc import Mapping
from pathlib import Path

from filelock import FileLock

from vla.stimuli.downloads.checksums import Checksum, digest_of, known, remember
from vla.stimuli.downloads.transfer import Transfer

ATTEMPTS = 6


def fetch(
    url: str,
    path: str | os.PathLike[str],
    *,
    sha256: str | None = None,
    md5: str | None = None,
    size: int | None = None,
    headers: Mapping[str, str] | None = None,
    attempts: int = ATTEMPTS,
    show_progress: bool = True,
) -> Path:
    """The file published at `url`, at `path`.

    It is written to `path` with `.part` added, which a later call continues if the server still has the same file
    (its ETag or date is asked for), and renamed when its size and checksum are right. A file that is already at
    `path` is verified and kept, so that a machine without a network can be given it by hand. Where no checksum is
    published, the SHA-256 of the first download is recorded in `path` with `.sha256` added, and every later
    download must agree with it. Proxies are those of the environment (HTTP_PROXY, HTTPS_PROXY, NO_PROXY).

    Args:
      url: What to fetch, http or https; redirections are followed.
      path: Where the file shall be; its folder is made.
      sha256: Published SHA-256, 64 hex digits.
      md5: Published MD5, where there is no SHA-256.
      size: Published size in bytes.
      headers: Further request headers; a token, in Authorization, is not passed on to another host, others are.
      attempts: How often to try in a row without receiving a byte, waiting 1, 2, 4, ... seconds in between.
      show_progress: Whether to show a bar on standard error.

    Returns:
      The file's absolute path.

    Raises:
      ValueError: the server refuses; it cannot be reached after all attempts; the disk is too small; size or
        checksum differ (both sums are named, and nothing is left at `path` that was not there).
    """
    place = Path(os.path.abspath(Path(path).expanduser()))
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_name(f"{place.name}.part")
    with FileLock(f"{place}.lock"):
        expected = known(place, sha256, md5)
        if place.is_file():
            _verify_present(place, expected, size)
            if expected is None:
                remember(place, digest_of(place, "sha256"))
            return place
        transfer = Transfer(url, part, size, dict(headers or {}), attempts, show_progress)
        resumed = transfer.run()
        wrong = _difference(part, expected, size)
        if wrong and resumed:
            # The beginning may have come from another version of the file: once more, from its first byte.
            transfer.restart()
            transfer.run()
            wrong = _difference(part, expected, size)
        if wrong:
            transfer.restart()
            raise ValueError(
                f"{url} is not what was expected: {wrong}. Nothing was kept. Either the publisher has changed the file "
                "or something between you and the publisher alters it: try another network, or fetch the file "
                f"elsewhere and put it at {place}"
            )
        if expected is None:
            remember(place, digest_of(part, "sha256"))
        transfer.forget()
        os.replace(part, place)
    return place


def _difference(path: Path, expected: Checksum | None, size: int | None) -> str:
    """What is wrong with a file, in words; empty if nothing is."""
    found = path.stat().st_size
    if size is not None and found != size:
        return f"it has {found} bytes, {size} are published"
    if expected is not None and (digest := digest_of(path, expected.kind)) != expected.digest:
        return f"its {expected.kind} is {digest}, but {expected.digest} is {expected.origin}"
    return ""


def _verify_present(place: Path, expected: Checksum | None, size: int | None) -> None:
    """Refuse a file that lies where the download shall be but is another."""
    wrong = _difference(place, expected, size)
    if wrong:
        raise ValueError(f"{place} is not the published file: {wrong}. Delete it, and it is fetched anew")
