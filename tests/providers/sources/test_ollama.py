"""Ollama's models, from its store on disk and from its server."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from providers.base import ModelError
from providers.sources.ollama import server as address
from providers.sources.resolve import resolve
from tests.mathcore.fixtures import write_sparse
from tests.mathcore.formats.test_ollama import manifest, reply

HEX = "ab" * 32


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path))
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:9")
    (tmp_path / "blobs").mkdir()
    return tmp_path


def pull(store: Path, place: str, **layer: object) -> None:
    """A manifest where Ollama puts it."""
    path = store / "manifests" / place
    path.parent.mkdir(parents=True)
    kind = "application/vnd.ollama.image.model"
    given = {"mediaType": kind, "digest": f"sha256:{HEX}", "size": 9, **layer}
    path.write_text(json.dumps(manifest(given)))


def test_a_pulled_model_is_read_from_its_blob(store: Path) -> None:
    pull(store, "registry.ollama.ai/library/tiny/1b")
    blob = store / "blobs" / f"sha256-{HEX}"
    write_sparse(blob, 4, 128, 384, 8, 2, 384)
    found = resolve("ollama:tiny:1b")
    assert (found.path, found.spec.source) == (str(blob), "ollama:tiny:1b")
    assert len(found.spec.layers) == 4


def test_a_pull_that_did_not_end_says_how_to_end_it(store: Path) -> None:
    pull(store, "hf.co/a/b/latest")
    with pytest.raises(ModelError) as caught:
        resolve("ollama:hf.co/a/b")
    assert caught.value.hint == "ollama pull hf.co/a/b:latest"


def test_a_manifest_cannot_lead_out_of_the_store(store: Path) -> None:
    pull(store, "registry.ollama.ai/library/evil/latest", digest="sha256:../../../etc/passwd")
    with pytest.raises(ModelError, match="digest"):
        resolve("ollama:evil")


class Ollama(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        known = self.path == "/api/show" and asked["model"] == "tiny:latest"
        body = json.dumps(reply() if known else {"error": "model not found"}).encode()
        self.send_response(200 if known else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Silence."""


@pytest.fixture
def ollama(store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    server = HTTPServer(("127.0.0.1", 0), Ollama)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("OLLAMA_HOST", f"http://127.0.0.1:{server.server_address[1]}")
    yield
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_model_of_another_store_is_described_by_the_server(ollama: None) -> None:
    found = resolve("ollama:tiny")
    assert (found.path, found.spec.quant, len(found.spec.layers)) == (None, "Q4_K_M", 2)


def test_a_model_nobody_pulled_says_so(ollama: None) -> None:
    with pytest.raises(ModelError) as caught:
        resolve("ollama:other:7b")
    assert caught.value.hint == "ollama pull other:7b"


def test_no_server_and_no_store_is_one_clear_error(store: Path) -> None:
    with pytest.raises(ModelError, match="no Ollama answers"):
        resolve("ollama:tiny")


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("", "http://127.0.0.1:11434"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("box:80", "http://box:80"),
        ("https://box", "https://box:443"),
        ("[::1]:99", "http://[::1]:99"),
    ],
)
def test_the_server_is_where_ollama_host_says(
    text: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", text)
    assert address() == url
