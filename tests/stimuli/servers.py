"""Web servers on this machine that behave as badly as real ones."""

import contextlib
import dataclasses
import http.server
import threading
from collections.abc import Iterator


@dataclasses.dataclass
class Site:
    """Files by path, how they are served, and what was asked.

    Attributes:
      files: Bytes by path, such as "/a.bin".
      ranges: Whether parts of files are served.
      cut_after: For the first answers: after how many bytes the connection is cut (None: not at all).
      statuses: For the first answers: a status to answer with instead.
      version: The ETag; None serves none.
      lengths: Whether Content-Length is sent.
      moved: Where a path leads instead.
      requests: What was asked: path and headers.
    """

    files: dict[str, bytes]
    ranges: bool = True
    cut_after: list[int | None] = dataclasses.field(default_factory=list)
    statuses: list[int] = dataclasses.field(default_factory=list)
    version: str | None = '"1"'
    lengths: bool = True
    moved: dict[str, str] = dataclasses.field(default_factory=dict)
    requests: list[tuple[str, dict[str, str]]] = dataclasses.field(default_factory=list)
    url: str = ""

    @property
    def ranges_asked(self) -> list[str | None]:
        return [headers.get("Range") for _, headers in self.requests]


@contextlib.contextmanager
def serving(site: Site) -> Iterator[Site]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            site.requests.append((self.path, dict(self.headers)))
            if site.statuses:
                return self._answer(site.statuses.pop(0), b"")
            if self.path in site.moved:
                return self._answer(302, b"", {"Location": site.moved[self.path]})
            body = site.files.get(self.path.split("?")[0])
            if body is None:
                return self._answer(404, b"")
            asked, start = self.headers.get("Range"), 0
            same = self.headers.get("If-Range") in (None, site.version)
            if asked and site.ranges and same:
                start = int(asked.removeprefix("bytes=").removesuffix("-"))
                if start >= len(body):
                    return self._answer(416, b"", {"Content-Range": f"bytes */{len(body)}"})
                told = {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"}
                return self._answer(206, body[start:], told)
            return self._answer(200, body)

        def _answer(self, status: int, body: bytes, told: dict[str, str] | None = None):
            self.send_response(status)
            if site.version:
                self.send_header("ETag", site.version)
            if site.lengths:
                self.send_header("Content-Length", str(len(body)))
            for header, value in (told or {}).items():
                self.send_header(header, value)
            self.end_headers()
            cut = site.cut_after.pop(0) if body and site.cut_after else None
            self.wfile.write(body if cut is None else body[:cut])
            self.close_connection = True

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    site.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
