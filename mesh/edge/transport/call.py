"""One request to one member, over TLS pinned to its key: how peers ask each other to do things.

A call has one answer; a stream has messages until either side ends it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from functools import partial
from io import BytesIO
from types import SimpleNamespace
from typing import Any, Final, final

import aiohttp
import msgspec

from mesh.api.errors import RequestError
from mesh.edge.discovery.sightings import Sightings
from mesh.edge.transport.dial import CONNECT_S, Directory, reason_of
from mesh.edge.transport.link import SERVER_NAME
from mesh.state.address import Address, show_address
from mesh.state.peer_id import peer_id

# What a member may answer: a page of jobs or a plan, not a ledger.
MAX_ANSWER_BYTES: Final = 8 << 20
ANSWER_S: Final = 30.0
# Connections kept for the next call: a handshake takes some 5 ms of both sides, a call 1.
MAX_KEPT: Final = 64
MAX_TO_ONE: Final = 8
KEEP_S: Final = 15.0  # shorter than a server keeps its side
# Answers of models that are on their way at once, of all peers; and how long their connections are
# kept: a cold handshake makes fifty streams wait up to 150 ms, a warm one costs nothing.
MAX_POURED: Final = 512
MAX_POURED_TO_ONE: Final = 128  # further answers wait for one of them to end
MAX_HANDSHAKES: Final = 3  # at once: a member has anteroom.MAX_PER_ADDRESS until it asked something
KEEP_POURED_S: Final = 60.0
# A streaming member says something at least every 15 s, if only that it is there.
SILENCE_S: Final = 40.0
# Messages taken from one stream: more wait in its socket, so a peer that shouts fills nothing.
MAX_PER_S: Final = 5
CHUNK_BYTES: Final = 1 << 16
DATA: Final = b"data: "


class Unanswered(RequestError):
    """No answer came. `sent` False: the peer did not get the request. True: nobody knows.

    An unanswered claim is unknown: ask the same peer again, never another.
    """

    def __init__(self, text: str, *, sent: bool) -> None:
        hint = "ask it again" if sent else "see fleet doctor"
        super().__init__("Unanswered", text, hint, 504 if sent else 503)
        self.sent: Final = sent


@final
class Caller:
    """Asks members by key. A connection proves both keys and is kept for the next calls a while;
    who is no member any more is refused call by call."""

    def __init__(self, book: Sightings, directory: Directory) -> None:
        self._book = book
        self._directory = directory
        self._kept: aiohttp.ClientSession | None = None
        self._poured: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Let go of the connections that are kept."""
        both = self._kept, self._poured
        self._kept = self._poured = None
        for kept in both:
            if kept is not None:
                await kept.close()

    def _session(self) -> aiohttp.ClientSession:
        """Connections by address and by the key they prove: another key's is never taken."""
        if self._kept is None:
            connector = aiohttp.TCPConnector(
                limit=MAX_KEPT, limit_per_host=MAX_TO_ONE, keepalive_timeout=KEEP_S
            )
            self._kept = aiohttp.ClientSession(connector=connector)
        return self._kept

    async def call(
        self,
        key: bytes,
        ledger: list[Address],
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        timeout_s: float = ANSWER_S,
    ) -> Any:
        """The member's JSON answer; RequestError with its own words where it says no."""
        why = "nobody knows where it is"
        for address, _ in self._book.candidates(peer_id(key.hex()), ledger):
            try:
                return await self._ask(key, address, method, path, body, timeout_s)
            except Unanswered as error:
                if error.sent:
                    raise
                why = error.text
        raise Unanswered(f"{peer_id(key.hex())[:7]} is not reached: {why}", sent=False)

    async def stream(
        self, key: bytes, ledger: list[Address], path: str, most_bytes: int
    ) -> AsyncGenerator[bytes, None]:
        """Each message of a member's event stream, at most `most_bytes` long; ends where it ends.

        Unanswered where it is not reached or falls silent, RequestError where it says no.
        """
        follow = partial(self._follow, key, path=path, most_bytes=most_bytes)
        async with aclosing(self._at_one_place(key, ledger, follow)) as said:
            async for message in said:
                yield message

    async def pour(
        self, key: bytes, ledger: list[Address], path: str, body: bytes
    ) -> AsyncGenerator[bytes, None]:
        """What a member answers to a POST, as it comes, however long it is.

        Unanswered where it is not reached, breaks off or falls silent, RequestError where it says
        no. To be closed in any case: that tells the member that nobody reads on.
        """
        pour = partial(self._pour, key, path=path, body=body)
        async with aclosing(self._at_one_place(key, ledger, pour)) as said:
            async for chunk in said:
                yield chunk

    async def _at_one_place(
        self,
        key: bytes,
        ledger: list[Address],
        asked: Callable[[Address], AsyncGenerator[bytes, None]],
    ) -> AsyncGenerator[bytes, None]:
        """What a member says at the first of its addresses where it is reached."""
        why = "nobody knows where it is"
        for address, _ in self._book.candidates(peer_id(key.hex()), ledger):
            try:
                async with aclosing(asked(address)) as said:
                    async for part in said:
                        yield part
            except Unanswered as error:
                if error.sent:
                    raise
                why = error.text
            else:
                return
        raise Unanswered(f"{peer_id(key.hex())[:7]} is not reached: {why}", sent=False)

    def _pouring(self) -> aiohttp.ClientSession:
        """Connections of their own: an answer has one for minutes; other calls must not wait."""
        if self._poured is None:
            connector = aiohttp.TCPConnector(
                limit=MAX_POURED,
                limit_per_host=MAX_POURED_TO_ONE,
                keepalive_timeout=KEEP_POURED_S,
            )
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=SILENCE_S)
            self._poured = aiohttp.ClientSession(
                connector=connector, timeout=timeout, trace_configs=[_few_at_once()]
            )
        return self._poured

    async def _pour(
        self, key: bytes, address: Address, path: str, body: bytes
    ) -> AsyncGenerator[bytes, None]:
        where = show_address(address)
        with _unanswered(where):
            async with self._pouring().post(
                f"https://{where}{path}",
                data=BytesIO(body),  # in pieces: others wait for the loop
                ssl=self._directory.client_context(key),
                server_hostname=SERVER_NAME,
                allow_redirects=False,  # a peer sends us nowhere else
                headers={"Content-Type": "application/json"},
            ) as response:
                if response.status >= 400:
                    _said(response.status, await _bounded(response.content))
                while chunk := await response.content.readany():
                    yield chunk

    async def _follow(
        self, key: bytes, address: Address, path: str, most_bytes: int
    ) -> AsyncGenerator[bytes, None]:
        where = show_address(address)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=SILENCE_S)
        with _unanswered(where):
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(
                    f"https://{where}{path}",
                    ssl=self._directory.client_context(key),
                    server_hostname=SERVER_NAME,
                    allow_redirects=False,  # a peer sends us nowhere else
                ) as response,
            ):
                if response.status >= 400:
                    _said(response.status, await _bounded(response.content))
                async with aclosing(_messages(response.content, most_bytes)) as said:
                    async for message in said:
                        yield message
                        await asyncio.sleep(1 / MAX_PER_S)

    async def _ask(
        self,
        key: bytes,
        address: Address,
        method: str,
        path: str,
        body: Mapping[str, object] | None,
        timeout_s: float,
    ) -> Any:
        where = show_address(address)
        timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=CONNECT_S)
        data = None if body is None else msgspec.json.encode(dict(body))
        with _unanswered(where):
            async with self._session().request(
                method,
                f"https://{where}{path}",
                data=data,
                timeout=timeout,
                ssl=self._directory.client_context(key),
                server_hostname=SERVER_NAME,
                allow_redirects=False,  # a peer sends us nowhere else
                headers={"Content-Type": "application/json"},
            ) as response:
                raw = await _bounded(response.content)
                return _said(response.status, raw)


@contextmanager
def _unanswered(where: str) -> Iterator[None]:
    """What goes wrong on the way to a place is Unanswered."""
    try:
        yield
    except aiohttp.ClientConnectorError as error:
        raise Unanswered(f"{where}: {reason_of(error)}", sent=False) from error
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        raise Unanswered(f"{where}: {error or type(error).__name__}", sent=True) from error


def _few_at_once() -> aiohttp.TraceConfig:
    """New connections wait for each other: a member lets few handshakes in at a time."""
    room = asyncio.Semaphore(MAX_HANDSHAKES)
    config = aiohttp.TraceConfig()

    async def begin(_: object, context: SimpleNamespace, __: object) -> None:
        await room.acquire()
        context.shakes = True

    async def end(_: object, context: SimpleNamespace, __: object) -> None:
        if getattr(context, "shakes", False):
            context.shakes = False
            room.release()

    config.on_connection_create_start.append(begin)
    config.on_request_headers_sent.append(end)
    config.on_request_exception.append(end)
    return config


async def _bounded(content: aiohttp.StreamReader) -> bytes:
    raw = b""
    while chunk := await content.read(1 << 16):
        raw += chunk
        if len(raw) > MAX_ANSWER_BYTES:
            raise RequestError("TooLong", "the peer's answer is too long", "", 502)
    return raw


async def _messages(content: aiohttp.StreamReader, most_bytes: int) -> AsyncGenerator[bytes, None]:
    """The data of each server-sent event; RequestError for one that is too long."""
    rest = b""
    while chunk := await content.read(CHUNK_BYTES):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.startswith(DATA):
                yield line[len(DATA) : _short(line, most_bytes)]
        _short(rest, most_bytes)


def _short(line: bytes, most_bytes: int) -> int:
    """A line's length, if that is allowed."""
    if len(line) > most_bytes:
        raise RequestError("TooLong", "the peer's message is too long", "", 502)
    return len(line)


def _said(status: int, raw: bytes) -> Any:
    try:
        said = msgspec.json.decode(raw)
        if status < 400:
            return said
        raise RequestError(
            str(said["code"])[:80], str(said["text"])[:2000], str(said["hint"])[:2000], status
        )
    except (msgspec.MsgspecError, RecursionError, KeyError, TypeError) as error:
        raise RequestError("BadAnswer", "the peer's answer is not understood", "", 502) from error
