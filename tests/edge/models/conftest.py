"""A stand-in for another peer: a real HTTP server that serves one model, or misbehaves."""

import json
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from mesh.edge.models.local import LocalModels
from providers.models import manifest
from providers.models.identity import ModelIdentity, Part
from providers.models.known import Known


class Peer(ThreadingHTTPServer):
    """What it serves, and how it fails: set by the test."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, folder: Path, path: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        known, self.parts = Known(folder / "theirs"), (Part(name=path.name, path=path),)
        self.manifest: Any = known.manifest(self.parts).to_json()
        self.identity: ModelIdentity = known.identity(path.stem, self.parts)
        self.cuts: list[int] = []  # hang up after so many bytes of a range
        self.lie_at = -1  # a byte of the file that is sent wrong
        self.waits = 0  # how often it says that it still hashes
        self.busy = 0  # how often it says that it is busy
        self.busy_after_cut = 0
        self.sent = 0

    def connect(self) -> HTTPConnection:
        return HTTPConnection("127.0.0.1", self.server_port, timeout=10)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hung up is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Peer

    def log_message(self, *_: object) -> None:
        """Tests print nothing."""

    def do_GET(self) -> None:
        if self.server.busy:
            self.server.busy -= 1
            self.say(503, {"code": "Busy", "text": "busy", "hint": ""})
        elif self.path.endswith("/manifest"):
            self.server.waits -= 1
            waits = self.server.waits >= 0
            self.say(202 if waits else 200, {"hashed_bytes": 7} if waits else self.server.manifest)
        else:
            self.send_range()

    def say(self, status: int, value: object) -> None:
        raw = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def send_range(self) -> None:
        peer, asked = self.server, self.headers["Range"].removeprefix("bytes=")
        first, last = map(int, asked.split("-"))
        data = bytearray(peer.parts[0].path.read_bytes()[first : last + 1])
        if first <= peer.lie_at <= last:
            data[peer.lie_at - first] ^= 1
        self.send_response(206)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        cut = peer.cuts.pop(0) if peer.cuts else len(data)
        self.wfile.write(data[:cut])
        peer.sent += len(data[:cut])
        self.close_connection = cut < len(data)
        peer.busy = peer.busy_after_cut if cut < len(data) else peer.busy


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> int:
    """Chunks of 64 KiB, so that a small file has many."""
    size = 64 << 10
    for name in ("providers.models.manifest", "providers.models.incoming", "mesh.edge.models.line"):
        monkeypatch.setattr(f"{name}.CHUNK_BYTES", size)
    manifest.zeros_hash.cache_clear()
    return size


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalModels:
    """A machine with no models but what it fetches."""
    nobodys_models(tmp_path, monkeypatch)
    return LocalModels(tmp_path / "home", ())


def nobodys_models(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The models of whoever runs the tests are no part of them."""
    for name in ("HOME", "HF_HOME", "LLAMA_CACHE", "OLLAMA_MODELS", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(folder / "nobody"))


@pytest.fixture
def peer(tmp_path: Path, small_chunks: int) -> Iterator[Peer]:
    """Serves a model of 3 MB in 46 chunks."""
    path = tmp_path / "theirs.gguf"
    path.write_bytes(b"GGUF" + bytes(range(1, 256)) * 11_765)
    assert small_chunks
    served = Peer(tmp_path, path)
    thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield served
    served.shutdown()
    thread.join()
    served.server_close()
