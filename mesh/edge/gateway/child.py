"""One model server on this machine's loopback, asked by HTTP: its answer, as it comes.

The connection is closed where whoever asks goes away: that is how the server hears of it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Final, final

import aiohttp
import msgspec

from mesh.api.errors import RequestError
from mesh.edge.jobs.serving import Standing
from mesh.serving.family import Body

# A server says something at least this often: llama.cpp pings every 30 s, and reports its progress
# with each batch of a prompt. Beyond that it hangs.
SILENCE_S: Final = 120.0
CONNECT_S: Final = 4.0
MAX_ANSWER_BYTES: Final = 64 << 20  # vectors of a thousand texts
CHUNK_BYTES: Final = 1 << 16
# What an engine says of a request that can never work, and of itself where it fails.
SERVER_FAULTS: Final = frozenset({500, 501})
# Statuses about the key we send, which is none of the client's.
OUR_KEY: Final = frozenset({401, 403, 407})


@final
@dataclass(frozen=True, slots=True)
class Stream:
    """What a server answers: its bytes as they come."""

    content: aiohttp.StreamReader

    async def chunks(self) -> AsyncIterator[bytes]:
        """Until its end; Broken where it breaks off or falls silent."""
        try:
            while chunk := await self.content.readany():
                yield chunk
        except TimeoutError as error:
            raise Broken(_silent()) from error
        except (aiohttp.ClientError, OSError) as error:
            raise Broken("the model's server broke off") from error


@final
class Broken(RequestError):
    """A server does not answer, or no further."""

    def __init__(self, text: str) -> None:
        super().__init__("UpstreamBroken", text, "ask again", 502)


def _silent() -> str:
    return f"the model's server was silent for {SILENCE_S:.0f} s"


@final
class Children:
    """Asks servers. A new loopback connection costs 0.1 ms, a kept one that was dropped costs a
    request: so none is kept."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Let go."""
        if self._session is not None:
            await self._session.close()

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=SILENCE_S)
            connector = aiohttp.TCPConnector(force_close=True, limit=0)
            self._session = aiohttp.ClientSession(connector=connector, timeout=timeout)
        return self._session

    @asynccontextmanager
    async def ask(self, server: Standing, path: str, body: Body) -> AsyncIterator[Stream]:
        """Its stream; RequestError with its own words where it says no."""
        headers = {"Content-Type": "application/json"}
        if server.key:
            headers["Authorization"] = f"Bearer {server.key}"
        data = msgspec.json.encode({**body, "model": server.model})
        try:
            asked = await self._connected().post(
                server.url + path, data=BytesIO(data), headers=headers, allow_redirects=False
            )
        except aiohttp.ServerTimeoutError as error:
            raise Broken(_silent()) from error
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Broken("the model's server is not reached") from error
        try:
            if asked.status != 200:
                raise await _refused(asked)
            yield Stream(asked.content)
        finally:
            asked.close()


async def _refused(asked: aiohttp.ClientResponse) -> RequestError:
    """What a server said instead of an answer. llama.cpp says 500 and 501 of requests that can
    never work: clients would send those again."""
    try:
        raw = await asked.content.read(CHUNK_BYTES)
    except (aiohttp.ClientError, OSError, TimeoutError):
        raw = b""
    text = said_of(raw) or f"the model's server answered {asked.status}"
    if asked.status in OUR_KEY:
        return Broken(f"the model's server lets nobody in: {text}")
    if asked.status in SERVER_FAULTS or 400 <= asked.status < 500:
        status = asked.status if 400 <= asked.status < 500 else 400
        return RequestError("Refused", text, "change the request", status)
    return Broken(text)


def said_of(raw: bytes) -> str:
    """The message in an engine's error, whatever shape it has."""
    try:
        found = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, RecursionError):
        return ""
    error = found.get("error", found) if isinstance(found, dict) else found
    message = error.get("message", error.get("detail")) if isinstance(error, dict) else error
    return message[:2000] if isinstance(message, str) else ""


async def bounded(stream: Stream) -> bytes:
    """A whole answer."""
    return await joined(stream.chunks())


async def joined(chunks: AsyncIterator[bytes]) -> bytes:
    """All of it; Broken where that is too much."""
    found, size = list[bytes](), 0
    async for chunk in chunks:
        found.append(chunk)
        size += len(chunk)
        if size > MAX_ANSWER_BYTES:
            raise Broken("the model's server answers too long")
    return b"".join(found)
