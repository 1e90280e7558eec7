"""A server on this machine that speaks the answers of Gemini's and OpenAI's interfaces, and fails as they do."""

import contextlib
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

TEN = "\n".join(f"{i}. a fresh caption number {word}" for i, word in enumerate("abcdefghij", 1))

# Gets the number of the request, from 0, and its JSON; gives the model's words, or a status with headers and body.
Script = Callable[[int, dict[str, Any]], str | tuple[int, dict[str, str], str]]


class Server:
    """What was asked of it: path, headers and JSON of each request."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.requests: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.url = ""
        self.lock = threading.Lock()


@contextlib.contextmanager
def serving(script: Script) -> Iterator[Server]:
    state = Server(script)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # noqa: N802
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with state.lock:
                number = len(state.requests)
                state.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}, asked))
            answer = state.script(number, asked)
            status, headers, body = answer if isinstance(answer, tuple) else (200, {}, speak(self.path, answer))
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **headers}.items():
                self.send_header(name, value)
            data = body.encode()
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()


def speak(path: str, words: str) -> str:
    """A good answer in the interface that the path belongs to."""
    if path.endswith(":generateContent"):
        candidate = {"content": {"role": "model", "parts": [{"text": words}]}, "finishReason": "STOP", "index": 0}
        return json.dumps({"candidates": [candidate], "modelVersion": "gemini-2.5-flash"})
    message = {"role": "assistant", "content": words}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    return json.dumps({"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]})


def gemini_error(status: int, name: str, message: str, details: list[Any] | None = None) -> tuple[int, dict, str]:
    error = {"code": status, "status": name, "message": message, "details": details or []}
    return status, {}, json.dumps({"error": error})


def openai_error(status: int, message: str, code: str | None = None, **headers: str) -> tuple[int, dict, str]:
    error = {"message": message, "type": "error", "param": None, "code": code}
    return status, headers, json.dumps({"error": error})
