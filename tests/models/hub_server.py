"""A server on this machine that speaks as much of the Hub's protocol as downloads need."""

import contextlib
import dataclasses
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub.constants
import pytest

COMMIT = "c0" * 20
# On the real Hub files of more than 10 MB are large; here, smaller ones are, so that tests are quick.
LARGE = (".safetensors", ".bin", ".h5", ".msgpack", ".onnx", ".model")


@dataclasses.dataclass
class Hub:
    """What the server serves, what it was asked, and how it misbehaves.

    Attributes:
      url: Where it listens.
      elsewhere: Another name of the same place, for large files.
      repositories: Content of files by name, by id of the repository.
      revisions: Branches and tags, and the commit of each.
      gated: Repositories whose files need a token.
      cut_after: Bytes after which the connection breaks, once per file.
      flipped: Files that come with a wrong byte.
      unlisted: Bytes that the listing adds to the size of a file.
      down: Whether every answer is an error of the server.
      asked: "METHOD path" of every request, in order.
      tokens: What came as authorization, by path.
      ranges: What came as range, in order.
    """

    url: str = ""
    elsewhere: str = ""
    repositories: dict[str, dict[str, bytes]] = dataclasses.field(default_factory=dict)
    revisions: dict[str, str] = dataclasses.field(default_factory=lambda: {"main": COMMIT})
    gated: set[str] = dataclasses.field(default_factory=set)
    cut_after: dict[str, int] = dataclasses.field(default_factory=dict)
    flipped: set[str] = dataclasses.field(default_factory=set)
    unlisted: dict[str, int] = dataclasses.field(default_factory=dict)
    down: bool = False
    asked: list[str] = dataclasses.field(default_factory=list)
    tokens: dict[str, str | None] = dataclasses.field(default_factory=dict)
    ranges: list[str] = dataclasses.field(default_factory=list)

    def serve(self, repository: str, directory: Path) -> None:
        """Add all files of a directory."""
        self.repositories[repository] = {path.name: path.read_bytes() for path in directory.iterdir()}

    def fetched(self) -> set[str]:
        """Names of the files whose content was asked for."""
        found = (re.fullmatch(r"GET /(?:.*/resolve/[^/]+|cdn/[^/]+/[^/]+)/([^/?]+)", line) for line in self.asked)
        return {match[1] for match in found if match}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(head=True)

    def do_GET(self) -> None:
        self._answer(head=False)

    def _answer(self, head: bool) -> None:
        hub, path = self.hub, self.path.split("?")[0]
        hub.asked.append(f"{self.command} {path}")
        hub.tokens[path] = self.headers.get("authorization")
        if hub.down:
            return self._send(503, b"down")
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/revision/([^/]+)", path):
            return self._info(*found.groups())
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/([^/]+)", path):
            return self._tree(*found.groups())
        if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/([^/]+)", path):
            return self._resolve(*found.groups(), head=head)
        if found := re.fullmatch(r"/cdn/([^/]+/[^/]+)/([^/]+)", path):
            return self._content(found[1], found[2], head)
        self._send(404, b"", {"X-Error-Code": "EntryNotFound"})

    def _commit(self, repository: str, revision: str) -> str | None:
        """The commit of a revision; None, and an answer, where there is none."""
        if repository not in self.hub.repositories:
            self._send(401, b"{}", {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})
            return None
        commits = {**self.hub.revisions, **{commit: commit for commit in self.hub.revisions.values()}}
        if revision not in commits:
            self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound", "X-Error-Message": "Invalid rev id"})
            return None
        return commits[revision]

    def _info(self, repository: str, revision: str) -> None:
        commit = self._commit(repository, revision)
        if commit is not None:
            self._send(200, json.dumps({"id": repository, "sha": commit, "siblings": []}).encode())

    def _tree(self, repository: str, revision: str) -> None:
        if self._commit(repository, revision) is None:
            return
        entries = []
        for name, content in self.hub.repositories[repository].items():
            size = len(content) + self.hub.unlisted.get(name, 0)
            entry = {"type": "file", "path": name, "size": size, "oid": hashlib.sha1(content).hexdigest()}
            if name.endswith(LARGE):
                entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": size, "pointerSize": 134}
            entries.append(entry)
        self._send(200, json.dumps(entries).encode())

    def _resolve(self, repository: str, revision: str, name: str, head: bool) -> None:
        commit = self._commit(repository, revision)
        if commit is None:
            return
        headers = {"X-Repo-Commit": commit}
        if repository in self.hub.gated and self.headers.get("authorization") != "Bearer hf_right":
            refused = {"X-Error-Code": "GatedRepo", "X-Error-Message": f"Access to model {repository} is restricted"}
            return self._send(401, b"", {**headers, **refused})
        content = self.hub.repositories[repository].get(name)
        if content is None:
            return self._send(404, b"", {**headers, "X-Error-Code": "EntryNotFound"})
        if not name.endswith(LARGE):
            etag = {"ETag": f'"{hashlib.sha1(content).hexdigest()}"'}
            return self._send(200, content, {**headers, **etag}, head)
        linked = {"X-Linked-Etag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Linked-Size": str(len(content))}
        # as on the Hub, large files are on another host
        self._send(302, b"", {**headers, **linked, "Location": f"{self.hub.elsewhere}/cdn/{repository}/{name}"}, head)

    def _content(self, repository: str, name: str, head: bool) -> None:
        content = self.hub.repositories[repository][name]
        if name in self.hub.flipped:
            content = bytes([content[0] ^ 1]) + content[1:]
        start, status, headers = 0, 200, {}
        if found := re.fullmatch(r"bytes=(\d+)-", self.headers.get("range") or ""):
            self.hub.ranges.append(found[0])
            start, status = int(found[1]), 206
            headers = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
        cut = self.hub.cut_after.pop(name, None)
        self._send(status, content[start:], headers, head, cut)

    def _send(
        self,
        status: int,
        body: bytes,
        headers: dict[str, str] | None = None,
        head: bool = False,
        cut: int | None = None,
    ) -> None:
        self.send_response(status)
        for key, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if not head:
            self.wfile.write(body[:cut])
        if cut is not None:
            self.wfile.flush()
            self.close_connection = True


@contextlib.contextmanager
def running(monkeypatch: pytest.MonkeyPatch, cache: Path) -> Iterator[Hub]:
    """A Hub that Hugging Face's client takes for the real one, with an empty cache."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    hub.elsewhere = hub.url.replace("127.0.0.1", "localhost")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    # The client reads its environment once, when it is imported.
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
