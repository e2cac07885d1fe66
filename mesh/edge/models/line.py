"""Fetching over one pinned TLS connection: blocking, in a worker thread.

A thread that blocks receives twice what an event loop does (docs/measurements/dispatch-models.md),
and disturbs nobody else's heartbeats.
"""

import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, final

from mesh.api.errors import RequestError
from mesh.edge.transport.link import SERVER_NAME, key_behind
from mesh.state.address import Address, show_address
from providers.models.incoming import Chunk, Incoming
from providers.models.limits import Throttle
from providers.models.manifest import (
    CHUNK_BYTES,
    MAX_MANIFEST_BYTES,
    Manifest,
    manifest_from_json,
)

CONNECT_S: Final = 4.0
# A sender that gives nothing for this long is gone; what came is kept.
SILENCE_S: Final = 20.0
STEP_BYTES: Final = 1 << 20  # between two looks at the rate and at whether to stop
# Chunks asked for in one request: no pause between them, and no request lasts for hours.
RUN_CHUNKS: Final = 32
HASHING_PAUSE_S: Final = 0.1  # between two looks whether the sender has hashed its file
MAX_REFUSAL_BYTES: Final = 64 << 10


class Cut(ConnectionError):
    """The connection ended before all was there: try again."""


class Stopped(Exception):
    """Nobody wants the model any more."""


@final
class Pinned(http.client.HTTPSConnection):
    """HTTP to one member: its key is checked before anything is said."""

    def __init__(self, address: Address, context: ssl.SSLContext, key: bytes) -> None:
        super().__init__(address[0], address[1], timeout=SILENCE_S, context=context)
        self._pins: Final = (address, context, key)

    def connect(self) -> None:
        """TCP, TLS, and whose key that was."""
        address, context, key = self._pins
        raw = socket.create_connection(address, CONNECT_S)
        try:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.sock = context.wrap_socket(raw, server_hostname=SERVER_NAME)
        except OSError:
            raw.close()
            raise
        self.sock.settimeout(SILENCE_S)
        if key_behind(self.sock) != key:
            self.close()
            raise Cut(f"somebody else answers at {show_address(address)}")


@final
class Line:
    """A connection to the sender of one model. ssl.SSLError and Cut are OSErrors: try again."""

    def __init__(
        self,
        connection: http.client.HTTPConnection,
        model_id: str,
        sender: str,
        throttle: Throttle,
        stop: threading.Event,
        received: Callable[[int], None],
    ) -> None:
        self._connection = connection
        self._path: Final = f"/v1/models/{model_id}"
        self._sender: Final = sender
        self._throttle: Final = throttle
        self._stop: Final = stop
        self._buffer: Final = memoryview(bytearray(CHUNK_BYTES))
        self._received: Final = received

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    def manifest(self, hashing: Callable[[int], None]) -> Manifest:
        """The sender's manifest; `hashing` hears how far it is where it must hash first."""
        while True:
            status, said = self._json("/manifest")
            if status == 200:
                try:
                    return manifest_from_json(said)
                except ValueError as error:
                    raise self._odd(str(error)) from error
            hashed = said.get("hashed_bytes") if isinstance(said, dict) else None
            hashing(hashed if isinstance(hashed, int) else 0)
            if self._stop.wait(HASHING_PAUSE_S):
                raise Stopped

    def _json(self, path: str) -> tuple[int, Any]:
        response = self._ask(path, {})
        raw = response.read(MAX_MANIFEST_BYTES + 1)
        if len(raw) > MAX_MANIFEST_BYTES:
            self.close()
            raise self._odd("its manifest is too long")
        try:
            return response.status, json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise self._odd("its manifest is not JSON") from error

    def fetch(self, incoming: Incoming, took: Callable[[int], None]) -> None:
        """Everything that is missing, chunk by chunk; BadChunk names the sender."""
        for run in runs([*incoming.missing()]):
            size = sum(chunk.size for chunk in run)
            first = run[0]
            asked = f"bytes={first.offset}-{first.offset + size - 1}"
            response = self._ask(f"/files/{first.number}", {"Range": asked})
            if response.status != 206 or response.length != size:
                raise self._odd(f"it answers {response.status} to a range")
            for chunk in run:
                data = self._buffer[: chunk.size]
                self._read(response, data)
                incoming.take(chunk, data, self._sender)
                took(chunk.size)

    def _ask(self, path: str, headers: dict[str, str]) -> http.client.HTTPResponse:
        self._connection.request("GET", self._path + path, headers=headers)
        response = self._connection.getresponse()
        if response.status >= 400:
            raise self._refused(response)
        return response

    def _refused(self, response: http.client.HTTPResponse) -> Exception:
        raw = response.read(MAX_REFUSAL_BYTES)
        self.close()
        if response.status == 503:
            return Cut("it is busy")
        try:
            said = json.loads(raw)
            code, text, hint = (str(said[name])[:500] for name in ("code", "text", "hint"))
        except (ValueError, KeyError, TypeError, RecursionError):
            return self._odd(f"it answers {response.status}")
        return RequestError(code, f"{self._sender} says: {text}", hint, response.status)

    def _odd(self, text: str) -> RequestError:
        self.close()
        return RequestError("BadAnswer", f"{self._sender} is not understood: {text}", "", 502)

    def _read(self, response: http.client.HTTPResponse, into: memoryview) -> None:
        done = 0
        while done < len(into):
            if self._stop.is_set():
                raise Stopped
            got = response.readinto(into[done : done + STEP_BYTES])
            if not got:
                raise Cut("the connection ended in the middle of a chunk")
            done += got
            self._received(got)
            wait = self._throttle.wait_s(got, time.monotonic())
            if wait and self._stop.wait(wait):
                raise Stopped


def runs(chunks: Iterable[Chunk]) -> Iterator[list[Chunk]]:
    """Chunks that follow each other in one file, at most RUN_CHUNKS together."""
    run: list[Chunk] = []
    for chunk in chunks:
        follows = run and (chunk.number, chunk.index) == (run[-1].number, run[-1].index + 1)
        if run and (not follows or len(run) >= RUN_CHUNKS):
            yield run
            run = []
        run.append(chunk)
    if run:
        yield run
