"""What a client is sent: nothing before it must be, so that a refusal can still be one."""

from __future__ import annotations

import asyncio
from typing import Final, final

import msgspec
from aiohttp import ClientConnectionResetError, web

from mesh.serving.events import comment
from mesh.serving.family import JSON, SSE, Asked, Family, Problem, Reply

HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
NOTES: Final = "X-Fleet-Notes"  # who sends it hears what an answer cost, before its end
# A client that takes nothing for this long is gone or hostile.
WRITE_S: Final = 60.0
# Statuses after which the same request may work: clients send it again by themselves.
# Not 429: where that one may, it says when; a budget that is used up does not fill in a second.
AGAIN: Final = frozenset({408, 409, 500, 502, 503, 504})


@final
class Left(Exception):
    """The client went away."""


@final
class Outlet:
    """One answer on its way. A stream's head is sent with its first byte; of a plain answer spaces
    are sent while it is waited for, which every JSON parser skips; not of one that is `retold`."""

    def __init__(
        self,
        request: web.Request,
        family: Family,
        asked: Asked,
        reply: Reply,
        *,
        retold: bool = False,
    ) -> None:
        self._request: Final = request
        self._family: Final = family
        self._stream: Final = asked.stream
        self._reply: Final = reply
        self._retold: Final = retold
        self._response: web.StreamResponse | None = None
        self.about: dict[str, str] = {}  # further headers
        self.began = False  # the client has some of the answer

    async def send(self, data: bytes) -> None:
        """Some of the answer."""
        if not data or not self._stream:
            return
        if not self.began:
            self.began = True
            data = self._reply.begin() + data
        await self._write(data)

    async def waits(self, note: str) -> None:
        """A sign of life."""
        if not self.began and not self._retold:
            await self._write(self._reply.waits(note) if self._stream else b" ")

    async def says(self, fact: str) -> None:
        """A comment beside a stream, for a client of ours that asks for such."""
        if self.began and NOTES in self._request.headers and self._reply.media == SSE:
            await self._write(comment(fact))

    async def ends(self) -> web.StreamResponse:
        """All of it was there."""
        if self._stream:
            await self.send(self._reply.end() or b"")
            response = await self._opened()
        else:
            whole = msgspec.json.encode(self._reply.whole())
            if self._response is None:
                return self._plain(whole, 200)
            self.began = True
            await self._write(whole)
            response = self._response
        return await self._closed(response)

    async def is_plain(self, raw: bytes) -> web.StreamResponse:
        """An engine's own answer, as it is."""
        if self._response is None:
            return self._plain(raw, 200)
        await self._write(raw)
        return await self._closed(self._response)

    async def breaks(self, problem: Problem) -> web.StreamResponse:
        """It is not answered, or not to its end: a refusal where nothing was sent, else a frame on
        which the client's library raises, or a connection that breaks off."""
        if self._response is None:
            return self.refuses(problem)
        if not self._stream:
            self._abort()
            raise Left
        await self._write(self._reply.breaks(problem))
        return await self._closed(self._response)

    def refuses(self, problem: Problem) -> web.Response:
        """An answer that is no success."""
        return refused(self._family, problem)

    def _plain(self, raw: bytes, status: int) -> web.Response:
        headers = {**HEADERS, **self.about}
        return web.Response(body=raw, status=status, content_type=JSON, headers=headers)

    async def _opened(self) -> web.StreamResponse:
        if self._response is None:
            media = self._reply.media if self._stream else JSON
            headers = {**HEADERS, **self.about, "Content-Type": media}
            self._response = web.StreamResponse(headers=headers)
            await self._response.prepare(self._request)
        return self._response

    async def _write(self, data: bytes) -> None:
        try:
            response = await self._opened()
            async with asyncio.timeout(WRITE_S):
                await response.write(data)
        except TimeoutError as error:
            self._abort()  # what it has must not look whole
            raise Left from error
        except (ClientConnectionResetError, ConnectionResetError) as error:
            raise Left from error

    def _abort(self) -> None:
        if self._request.transport is not None:
            self._request.transport.abort()

    async def _closed(self, response: web.StreamResponse) -> web.StreamResponse:
        try:
            await response.write_eof()
        except (ClientConnectionResetError, ConnectionResetError) as error:
            raise Left from error
        return response


def refused(family: Family, problem: Problem) -> web.Response:
    """A refusal in a family's own shape, with what its libraries obey."""
    headers = dict(HEADERS)
    if problem.retry_after_s is not None:
        headers["Retry-After"] = str(problem.retry_after_s)
    elif problem.status not in AGAIN:
        headers["x-should-retry"] = "false"
    return web.Response(
        body=msgspec.json.encode(family.refusal(problem)),
        status=problem.status,
        content_type=JSON,
        headers=headers,
    )
