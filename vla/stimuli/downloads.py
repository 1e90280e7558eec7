"""Downloads published files: resumed after interruptions, and verified before they get their final name."""

import dataclasses
import json
import os
import re
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import requests
from filelock import FileLock

from vla.files import file_hash, write_file
from vla.progress import bar

ATTEMPTS = 6
CHUNK = 1 << 16
# Seconds until a connection is established, and between two bytes.
TIMEOUTS = (15, 60)
MAX_WAIT = 60
# HTTP statuses of errors that may pass.
TRANSIENT_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
HEX_DIGITS = {"sha256": 64, "md5": 32}


class Checksum(NamedTuple):
    """The expected checksum of a file: "sha256" or "md5", lower-case hex digits, and its origin, for messages."""

    algorithm: str
    digest: str
    origin: str


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
    """Download a file; returns its absolute path.

    The bytes go to `<path>.part`, which is renamed when size and checksum are correct. A later call resumes the part
    file if the server still has the same version (its ETag or date). A file that exists is verified and kept, so on a
    machine without network access it can be put there by hand. If no checksum is published, the SHA-256 of the first
    download is recorded in `<path>.sha256`, and later downloads must match it. Proxies come from the environment
    (HTTP_PROXY, HTTPS_PROXY, NO_PROXY).

    Args:
      url: Address, http or https; redirects are followed.
      path: Path of the file; its folder is created.
      sha256: Published SHA-256, 64 hex digits.
      md5: Published MD5, if there is no SHA-256.
      size: Published size in bytes.
      headers: Further request headers. Authorization is not sent to other hosts after a redirect; other headers are.
      attempts: Largest number of consecutive attempts without progress, with waits of 1, 2, 4, ... seconds.
      show_progress: Show a progress bar on standard error.

    Raises:
      ValueError: The server refuses or cannot be reached; the disk is too small; size or checksum differ.
    """
    target = Path(os.path.abspath(Path(path).expanduser()))
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    with FileLock(f"{target}.lock"):
        expected = expected_checksum(target, sha256, md5)
        if target.is_file():
            fault = _difference(target, expected, size)
            if fault:
                raise ValueError(f"{target} is not the published file: {fault}. Delete it to download it again")
            if expected is None:
                _record_checksum(target, target)
            return target
        transfer = Transfer(url, part, size, dict(headers or {}), attempts, show_progress)
        resumed = transfer.run()
        while (fault := _difference(part, expected, size)) and resumed:
            # The part file may be from another version of the file: download again from the first byte.
            transfer.restart()
            resumed = transfer.run()
        if fault:
            transfer.restart()
            raise ValueError(
                f"{url} is not what was expected: {fault}. Nothing was kept. Either the publisher has changed the "
                "file, or a proxy alters it: try another network, or download the file elsewhere and put it at "
                f"{target}"
            )
        if expected is None:
            _record_checksum(target, part)
        transfer.note.unlink(missing_ok=True)
        os.replace(part, target)
    return target


def _difference(path: Path, expected: Checksum | None, size: int | None) -> str:
    """How a file differs from the published one, for messages; empty if it does not."""
    actual = path.stat().st_size
    if size is not None and actual != size:
        return f"it has {actual} bytes, {size} are published"
    if expected is not None and (digest := file_hash(path, expected.algorithm)) != expected.digest:
        return f"its {expected.algorithm} is {digest}, but {expected.digest} is {expected.origin}"
    return ""


def expected_checksum(path: Path, sha256: str | None = None, md5: str | None = None) -> Checksum | None:
    """The checksum that the file at `path` must have: the published one, else the one of its first download."""
    for algorithm, digest in (("sha256", sha256), ("md5", md5)):
        if digest is not None:
            if not re.fullmatch(f"[0-9a-f]{{{HEX_DIGITS[algorithm]}}}", digest):
                raise ValueError(
                    f"{algorithm}={digest!r} of {path.name}; expected {HEX_DIGITS[algorithm]} hex digits in lower case"
                )
            return Checksum(algorithm, digest, "published")
    record = _record_path(path)
    if not record.is_file():
        return None
    digest = record.read_text(encoding="utf-8").split(" ")[0]
    if not re.fullmatch("[0-9a-f]{64}", digest):
        raise ValueError(f"{record} does not begin with a SHA-256 of 64 hex digits. Delete it to record a new one")
    return Checksum("sha256", digest, f"recorded in {record} by the first download")


def _record_path(path: Path) -> Path:
    """The file with the checksum of the first download; `sha256sum -c` reads it too."""
    return path.with_name(f"{path.name}.sha256")


def _record_checksum(path: Path, content: Path) -> None:
    write_file(_record_path(path), f"{file_hash(content)}  {path.name}\n")


class _Interrupted(Exception):
    """A transfer stopped for a reason that may pass; `wait` is the wait in seconds that the server asks for."""

    def __init__(self, reason: str, wait: float | None = None):
        super().__init__(reason)
        self.wait = wait


@dataclasses.dataclass(frozen=True)
class Transfer:
    """The transfer of one file into a part file.

    A note beside the part file records the URL and the version (ETag or date) of the file on the server, so that
    bytes of two versions are never joined. (`huggingface_hub`'s `http_get` resumes too, but does not check this.)
    The other attributes are those of `fetch`.
    """

    url: str
    part: Path
    size: int | None
    headers: dict[str, str]
    attempts: int
    show_progress: bool

    @property
    def note(self) -> Path:
        """The file with URL and version."""
        return self.part.with_name(f"{self.part.name}.json")

    def run(self) -> bool:
        """Receive the missing bytes; returns whether bytes of an earlier run were kept."""
        resumed, failures = self._recorded_version() is not None and self._received() > 0, 0
        while True:
            before = self._received()
            try:
                resumed &= self._attempt()
                return resumed
            except _Interrupted as error:
                failures = 1 if self._received() > before else failures + 1
                if failures >= self.attempts:
                    raise ValueError(
                        f"{self.url} could not be fetched: {error}; tried {failures} times without receiving more than "
                        f"{self._received()} bytes. They are kept in {self.part}, and the next call resumes; check "
                        "the network and the proxy settings (HTTP_PROXY, HTTPS_PROXY)"
                    ) from error
                time.sleep(min(error.wait if error.wait is not None else 2.0 ** (failures - 1), MAX_WAIT))

    def restart(self) -> None:
        """Delete everything received."""
        self.part.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)

    def _received(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _recorded_version(self) -> str | None:
        """The version of the file that the part file belongs to; None if unknown."""
        try:
            note = json.loads(self.note.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return note.get("version") if note.get("url") == self.url else None

    def _attempt(self) -> bool:
        start, version = self._received(), self._recorded_version()
        # With Content-Encoding, lengths and ranges would be those of the compressed bytes.
        headers = {**self.headers, "Accept-Encoding": "identity"}
        if start and version:
            headers |= {"Range": f"bytes={start}-", "If-Range": version}
        try:
            with requests.get(self.url, headers=headers, stream=True, timeout=TIMEOUTS) as response:
                content_range = response.headers.get("Content-Range", "")
                if response.status_code == 416 and start and content_range.rpartition("/")[2] == str(start):
                    return True  # the part file is already complete
                resumed = response.status_code == 206 and content_range.startswith(f"bytes {start}-")
                if response.status_code in (206, 416) and not resumed:
                    self.restart()
                    raise _Interrupted("the server did not resume at the end of the part file", wait=0)
                self._check(response)
                if not resumed:
                    self.restart()
                    self.note.write_text(json.dumps({"url": self.url, "version": _version(response)}), encoding="utf-8")
                self._receive(response, start if resumed else 0)
                return resumed
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
            raise _Interrupted(f"{type(error).__name__}: {error}") from error
        except requests.RequestException as error:
            raise ValueError(f"{self.url} cannot be fetched: {error}") from error

    def _check(self, response: requests.Response) -> None:
        status = f"{response.status_code} {response.reason}"
        if response.status_code in TRANSIENT_STATUS:
            retry_after = response.headers.get("Retry-After", "")
            raise _Interrupted(f"the server answered {status}", float(retry_after) if retry_after.isdigit() else None)
        if response.status_code in (401, 403):
            raise ValueError(
                f"{self.url} may not be fetched: the server answered {status}. If it requires an account or accepted "
                "terms, see its website; for a gated Hugging Face dataset set HF_TOKEN"
            )
        if response.status_code not in (200, 206):
            raise ValueError(
                f"{self.url} cannot be fetched: the server answered {status}. Is it still published there?"
            )

    def _receive(self, response: requests.Response, received: int) -> None:
        """Append the bytes of the answer to the part file, which has `received` bytes."""
        length = response.headers.get("Content-Length", "")
        total = received + int(length) if length.isdigit() else self.size
        if self.size is not None and total != self.size:
            raise ValueError(f"{self.url} is now a file of {total:,} bytes; {self.size:,} are published")
        free = shutil.disk_usage(self.part.parent).free
        if total is not None and total - received > free:
            raise ValueError(
                f"{self.url} needs {total - received:,} more bytes, but {self.part.parent} has only {free:,} free. "
                "Free disk space, or name a folder on another disk"
            )
        name = self.part.name.removesuffix(".part")
        show = self.show_progress and total is not None
        with self.part.open("ab") as file, bar(f"{name} (MiB)", (total or 0) >> 20, show) as advance:
            advance(received >> 20)
            for chunk in response.iter_content(CHUNK):
                file.write(chunk)
                advance(((received + len(chunk)) >> 20) - (received >> 20))
                received += len(chunk)
                if self.size is not None and received > self.size:
                    break  # do not fill the disk with a file that is longer than published
        if self.size is not None and received < self.size:
            raise _Interrupted(f"the answer ended after {received:,} of {self.size:,} bytes")


def _version(response: requests.Response) -> str | None:
    """The identifier of this version of the file: a strong ETag, else the date."""
    etag = response.headers.get("ETag", "")
    return etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified")
