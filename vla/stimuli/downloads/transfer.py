"""Moves bytes from a server into a part file, going on where an earlier attempt stopped."""

import dataclasses
import json
import re
import shutil
import time
from pathlib import Path

import requests

from vla.progress import bar

CHUNK = 1 << 16
# Seconds until a connection stands, and between two bytes.
TIMEOUTS = (15, 60)
LONGEST_WAIT = 60
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


class _Cut(Exception):
    """The transfer stopped for a reason that may pass; `wait` is how long the server asks us to stay away."""

    def __init__(self, why: str, wait: float | None = None):
        super().__init__(why)
        self.wait = wait


@dataclasses.dataclass(frozen=True)
class Transfer:
    """One file on its way.

    Beside the part file lies a note of the URL and of the version (ETag or date) that the server gave, so that
    bytes of two versions are never joined.

    Attributes:
      url: Where it comes from.
      part: The part file.
      size: Published size in bytes, if known.
      headers: Of every request.
      attempts: How often to try in a row without receiving a byte.
      show_progress: Whether to show a bar.
    """

    url: str
    part: Path
    size: int | None
    headers: dict[str, str]
    attempts: int
    show_progress: bool

    @property
    def note(self) -> Path:
        """Where URL and version are noted."""
        return self.part.with_name(f"{self.part.name}.json")

    def run(self) -> bool:
        """Receive what is missing; returns whether bytes of an earlier run were kept.

        Raises:
          ValueError: as `fetch`, checksums aside.
        """
        resumed, failures = self._version() is not None and self._have() > 0, 0
        while True:
            before = self._have()
            try:
                resumed &= self._attempt()
                return resumed
            except _Cut as cut:
                failures = 1 if self._have() > before else failures + 1
                if failures >= self.attempts:
                    raise ValueError(
                        f"{self.url} could not be fetched: {cut}; tried {failures} times without receiving more than "
                        f"{self._have()} bytes. They are kept in {self.part} and continued by the next call; check "
                        "the network and the proxy settings (HTTP_PROXY, HTTPS_PROXY)"
                    ) from cut
                time.sleep(min(cut.wait if cut.wait is not None else 2.0 ** (failures - 1), LONGEST_WAIT))

    def restart(self) -> None:
        """Drop what was received."""
        self.part.unlink(missing_ok=True)
        self.forget()

    def forget(self) -> None:
        """Drop the note; the part file is whole or gone."""
        self.note.unlink(missing_ok=True)

    def _have(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _version(self) -> str | None:
        """The version that the part file is the beginning of; None where that is not known."""
        try:
            note = json.loads(self.note.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return note.get("version") if note.get("url") == self.url else None

    def _attempt(self) -> bool:
        """One request; returns whether it went on from the bytes already there."""
        have, version = self._have(), self._version()
        # Content-Encoding would make lengths and ranges those of the compressed bytes.
        headers = {**self.headers, "Accept-Encoding": "identity"}
        if have and version:
            headers |= {"Range": f"bytes={have}-", "If-Range": version}
        try:
            with requests.get(self.url, headers=headers, stream=True, timeout=TIMEOUTS) as response:
                if response.status_code == 416 and have and self._is_all(response, have):
                    return True
                resumed = response.status_code == 206 and _start(response) == have
                if response.status_code in (206, 416) and not resumed:
                    self.restart()
                    raise _Cut("the server did not go on where the part file ends", wait=0)
                self._check(response)
                if not resumed:
                    self.restart()
                    self.note.write_text(json.dumps({"url": self.url, "version": _version(response)}), encoding="utf-8")
                self._receive(response, have if resumed else 0)
                return resumed
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
            raise _Cut(f"{type(error).__name__}: {error}") from error
        except requests.RequestException as error:
            raise ValueError(f"{self.url} cannot be fetched: {error}") from error

    def _is_all(self, response: requests.Response, have: int) -> bool:
        """Whether the server says that there is nothing beyond the part file."""
        return response.headers.get("Content-Range", "").rpartition("/")[2] == str(have)

    def _check(self, response: requests.Response) -> None:
        """Refuse an answer that holds no file."""
        status = f"{response.status_code} {response.reason}"
        if response.status_code in PASSING:
            after = response.headers.get("Retry-After", "")
            raise _Cut(f"the server answered {status}", float(after) if after.isdigit() else None)
        if response.status_code in (401, 403):
            raise ValueError(
                f"{self.url} may not be fetched: the server answered {status}. If it asks for an account or for "
                "accepted terms, do that at the origin; of a Hugging Face dataset set HF_TOKEN"
            )
        if response.status_code not in (200, 206):
            raise ValueError(
                f"{self.url} cannot be fetched: the server answered {status}. Is it still published there?"
            )

    def _receive(self, response: requests.Response, have: int) -> None:
        """Append the answer's bytes to the part file."""
        length = response.headers.get("Content-Length", "")
        total = have + int(length) if length.isdigit() else self.size
        if self.size is not None and total != self.size:
            raise ValueError(f"{self.url} is now a file of {total:,} bytes; {self.size:,} are published")
        free = shutil.disk_usage(self.part.parent).free
        if total is not None and total - have > free:
            raise ValueError(
                f"{self.url} needs {total - have:,} more bytes, but {self.part.parent} has only {free:,} free. "
                "Make room, or name a folder on another disk"
            )
        name = self.part.name.removesuffix(".part")
        shown = self.show_progress and total is not None
        with self.part.open("ab") as file, bar(f"{name} (MiB)", (total or 0) >> 20, shown) as advance:
            advance(have >> 20)
            for chunk in response.iter_content(CHUNK):
                file.write(chunk)
                advance(((have + len(chunk)) >> 20) - (have >> 20))
                have += len(chunk)
                if self.size is not None and have > self.size:
                    break  # a file longer than published is refused without filling the disk
        if self.size is not None and have < self.size:
            raise _Cut(f"the answer ended after {have:,} of {self.size:,} bytes")


def _start(response: requests.Response) -> int | None:
    """The first byte of a partial answer."""
    match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(match[1]) if match else None


def _version(response: requests.Response) -> str | None:
    """What tells this version of the file from others: a strong ETag, else the date."""
    etag = response.headers.get("ETag", "")
    return etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified")
