"""GGUF headers over real HTTP: ranges, redirects, splits, and servers that misbehave."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mathcore.gguf.cursor import MAX_HEADER_BYTES
from providers.base import ModelError
from providers.sources import http
from providers.sources.resolve import resolve
from tests.mathcore.fixtures import write_sparse
from tests.providers.sources.test_resolve import part

Serve = Callable[["Handler", bytes, int, int], None]


class Server(ThreadingHTTPServer):
    """Files in memory, and how to answer for them."""

    daemon_threads = True
    files: dict[str, bytes]
    answer: "Serve"
    sent: int

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that has seen enough hangs up."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        data = self.server.files.get(self.path.partition("?")[0].lstrip("/"))
        if data is None:
            self.send_error(404)
            return
        first, _, last = self.headers["Range"].removeprefix("bytes=").partition("-")
        self.server.answer(self, data, int(first), int(last))

    def part(self, body: bytes, said: str) -> None:
        self.send_response(206)
        self.send_header("Content-Range", said)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.server.sent += len(body)
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Silence."""


def honest(handler: Handler, data: bytes, first: int, last: int) -> None:
    body = data[first : last + 1]
    handler.part(body, f"bytes {first}-{first + len(body) - 1}/{len(data)}")


def whole(handler: Handler, data: bytes, first: int, last: int) -> None:
    """Ignores the range, as many simple servers do."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()


def elsewhere(handler: Handler, data: bytes, first: int, last: int) -> None:
    handler.part(data[:64], f"bytes {first + 7}-{first + 70}/{len(data)}")


def short(handler: Handler, data: bytes, first: int, last: int) -> None:
    """Promises the range and hangs up in the middle of it."""
    handler.send_response(206)
    handler.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
    handler.send_header("Content-Length", str(last - first + 1))
    handler.end_headers()
    handler.wfile.write(data[first : first + 100])
    handler.close_connection = True


def changing(handler: Handler, data: bytes, first: int, last: int) -> None:
    """Another file after the first piece."""
    body = data[first : last + 1]
    handler.part(body, f"bytes {first}-{first + len(body) - 1}/{len(data) + first}")


def away(handler: Handler, data: bytes, first: int, last: int) -> None:
    """To the file's other name, as a hub does to its storage."""
    if "?" in handler.path:
        honest(handler, data, first, last)
        return
    handler.send_response(302)
    handler.send_header("Location", f"{handler.path}?signed=1")
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def to_a_file(handler: Handler, data: bytes, first: int, last: int) -> None:
    handler.send_response(302)
    handler.send_header("Location", "file:///etc/passwd")
    handler.send_header("Content-Length", "0")
    handler.end_headers()


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server(("127.0.0.1", 0), Handler)
    found.files, found.answer, found.sent = {}, honest, 0
    thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield found
    found.shutdown()
    thread.join()
    found.server_close()


def url(server: Server, name: str = "m.gguf") -> str:
    return f"http://127.0.0.1:{server.server_address[1]}/{name}"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("http") / "m.gguf"
    write_sparse(path, 4, 512, 1536, 8, 2, 30_000)
    return path.read_bytes()


def test_a_url_reads_as_the_file_does(server: Server, model: bytes, tmp_path: Path) -> None:
    server.files["m.gguf"] = model
    (tmp_path / "m.gguf").write_bytes(model)
    there, here = resolve(url(server)), resolve(str(tmp_path / "m.gguf"))
    assert there.path is None
    assert (there.spec.layers, there.spec.tensors) == (here.spec.layers, here.spec.tensors)
    assert server.sent < len(model) / 30


def test_a_redirect_is_followed_with_its_range(server: Server, model: bytes) -> None:
    server.files["m.gguf"], server.answer = model, away
    assert len(resolve(url(server)).spec.layers) == 4


def test_every_file_of_a_split_model_is_asked_for(server: Server) -> None:
    server.files["d/m-00001-of-00002.gguf"] = part(0, 2, ["a"], 3)
    server.files["d/m-00002-of-00002.gguf"] = part(1, 2, ["b", "c"], 3)
    header = http.read_url(url(server, "d/m-00002-of-00002.gguf?download=true"))
    assert [tensor.name for tensor in header.tensors] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (whole, "ignores byte ranges"),
        (elsewhere, "not the range asked for"),
        (short, "in the middle"),
        (to_a_file, "answered 302"),
    ],
)
def test_a_server_that_misbehaves_is_refused(
    server: Server, model: bytes, answer: Serve, says: str
) -> None:
    server.files["m.gguf"], server.answer = model, answer
    with pytest.raises(ModelError, match=says) as caught:
        resolve(url(server))
    assert caught.value.hint


def test_a_file_that_changes_meanwhile_is_refused(server: Server, model: bytes) -> None:
    server.files["m.gguf"], server.answer = model, changing
    with pytest.raises(ModelError, match="changed while"):
        resolve(url(server))


def test_a_missing_file_and_a_missing_server_are_told_apart(server: Server) -> None:
    with pytest.raises(ModelError, match="404"):
        resolve(url(server, "no.gguf"))
    place = url(server)
    server.server_close()
    with pytest.raises(ModelError, match="cannot read from"):
        resolve(place.replace("127.0.0.1", "127.0.0.2"))


def test_what_is_no_gguf_is_refused_after_one_piece(server: Server) -> None:
    server.files["m.gguf"] = b"<html>" * 1_000_000
    with pytest.raises(ModelError, match="not a GGUF"):
        resolve(url(server))
    assert server.sent < MAX_HEADER_BYTES / 60


def test_a_slow_server_is_given_up_on(
    server: Server, model: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "TOTAL_S", 0.0)
    server.files["m.gguf"] = model
    with pytest.raises(ModelError, match="took more than"):
        resolve(url(server))
