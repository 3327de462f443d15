"""A hub on this machine: as much of its HTTP as the client uses to fetch a repository."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

COMMIT = "0123456789abcdef0123456789abcdef01234567"
PIECE = 1 << 16


class FakeHub(ThreadingHTTPServer):
    """Serves one folder as the repository `repo`. `pause` is slept after each 64 KiB of weights.

    `sent` counts the bytes given out by file, over all requests.
    """

    daemon_threads = True

    def __init__(self, repo: str, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.repo, self.folder, self.pause = repo, folder, 0.0
        self.sent: dict[str, int] = {}
        self.closing = threading.Event()
        self.kept: list[Any] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *_: object) -> None:
        """Clients that hang up are expected here."""

    def process_request(self, request: Any, client_address: Any) -> None:
        self.kept.append(request)
        super().process_request(request, client_address)

    def stop(self) -> None:
        """Be gone: connections that clients keep open end too, or they would still be answered."""
        self.closing.set()
        self.shutdown()
        self.server_close()
        for connection in self.kept:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def files(self) -> list[Path]:
        return sorted(path for path in self.folder.rglob("*") if path.is_file())


@contextmanager
def serving(repo: str, folder: Path) -> Iterator[FakeHub]:
    hub = FakeHub(repo, folder)
    thread = threading.Thread(target=hub.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.stop()
        thread.join()


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeHub

    def log_message(self, *_: Any) -> None:
        return None

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        path = unquote(urlparse(self.path).path)
        hub, api = self.server, f"/api/models/{self.server.repo}"
        names = [str(file.relative_to(hub.folder)) for file in hub.files()]
        if path in (api, f"{api}/revision/main", f"{api}/revision/{COMMIT}"):
            siblings = [{"rfilename": name} for name in names]
            self.send_json({"id": hub.repo, "sha": COMMIT, "siblings": siblings}, body)
        elif path.startswith(f"{api}/tree/"):
            self.send_json([self.entry(name) for name in names], body)
        elif path.startswith(f"/{hub.repo}/resolve/"):
            self.send_file(path.split("/resolve/")[1].split("/", 1)[1], body)
        else:
            self.send_json({"error": "Repository not found"}, body, 404, "RepoNotFound")

    def entry(self, name: str) -> dict[str, Any]:
        content = (self.server.folder / name).read_bytes()
        oid = hashlib.sha1(content).hexdigest()
        return {"type": "file", "path": name, "size": len(content), "oid": oid}

    def send_json(self, value: Any, body: bool, status: int = 200, error: str = "") -> None:
        encoded = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(encoded)))
        if error:
            self.send_header("X-Error-Code", error)
        self.end_headers()
        if body:
            self.wfile.write(encoded)

    def send_file(self, name: str, body: bool) -> None:
        path = self.server.folder / name
        if not path.is_file():
            self.send_json({"error": "Entry not found"}, body, 404, "EntryNotFound")
            return
        content = path.read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if not body:
            return
        try:
            for start in range(0, len(content), PIECE):
                piece = content[start : start + PIECE]
                self.wfile.write(piece)
                self.server.sent[name] = self.server.sent.get(name, 0) + len(piece)
                if name.endswith(".safetensors"):
                    self.server.closing.wait(self.server.pause)
        except OSError:
            self.close_connection = True
