"""`GET /v1/telemetry`: devices as they are now, streamed once a second.

A member that may read hears of this peer's own devices. On loopback `peer=NAME` relays another
member's, `peer=all` is the picture of the whole fleet, and `once=1` one picture of it as JSON.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, Final, Protocol

from aiohttp import web

from mesh.api.errors import RequestError
from mesh.api.telemetry import FleetNow, PeerNow
from mesh.edge.http.guard import HttpRefusal, answer, refuse_unknown
from mesh.edge.http.peers import MESH
from mesh.edge.http.roles import PEER, Route
from mesh.edge.http.stream import KEEPALIVE_S, open_stream
from mesh.state.members import VIEWER, allowed

EVERYBODY: Final = "all"


class ServedTelemetry(Protocol):
    """What the routes need of the node."""

    def own(self) -> AsyncIterator[PeerNow]:
        """This peer's devices, now and as they are read."""

    def of(self, wanted: str) -> AsyncIterator[PeerNow]:
        """Another member's, relayed; RequestError where it is not reached."""

    def pictures(self) -> AsyncIterator[FleetNow]:
        """The whole fleet, once a second."""

    async def once(self) -> FleetNow:
        """The whole fleet, once."""


def routes(telemetry: ServedTelemetry, *, loopback: bool) -> list[Route]:
    """The route as this machine's user has it, or as members do."""

    async def own(request: web.Request) -> web.StreamResponse:
        """This peer's devices, streamed once a second."""
        refuse_unknown(request.query, ())
        return await _send(request, telemetry.own())

    async def any_peer(request: web.Request) -> web.StreamResponse:
        """Devices as they are now: of this peer, of `peer`, or of all; streamed, or `once`."""
        refuse_unknown(request.query, ("peer", "once"))
        wanted = request.query.get("peer", "")
        if "once" in request.query:
            if wanted != EVERYBODY:
                text = "once goes with peer=all"
                raise HttpRefusal(400, "BadField", text, "GET /v1/telemetry?peer=all&once=1")
            return answer(await telemetry.once())
        if wanted == EVERYBODY:
            return await _send(request, telemetry.pictures())
        return await _send(request, telemetry.of(wanted) if wanted else telemetry.own())

    return [Route("GET", "/v1/telemetry", VIEWER, any_peer if loopback else own)]


async def _send(request: web.Request, messages: AsyncIterator[Any]) -> web.StreamResponse:
    """Every message until the client leaves, or its key is put out of the fleet.

    What goes wrong once the stream is open is its last event, "error".
    """
    async with open_stream(request) as stream, aclosing(_with_pauses(messages)) as paused:
        try:
            async for message in paused:
                if not _still_reads(request):
                    break
                await (stream.keep_alive() if message is None else stream.send(message))
        except RequestError as error:
            said = {"code": error.code, "text": error.text, "hint": error.hint}
            await stream.send(said, kind="error")
    return stream.response


def _still_reads(request: web.Request) -> bool:
    return PEER not in request or allowed(request.app[MESH].role_of(request[PEER]), VIEWER)


async def _with_pauses(messages: AsyncIterator[Any]) -> AsyncGenerator[Any, None]:
    """The messages, and None whenever KEEPALIVE_S pass without one."""
    coming: asyncio.Future[Any] | None = None
    try:
        while True:
            coming = coming or asyncio.ensure_future(anext(messages))
            done, _ = await asyncio.wait({coming}, timeout=KEEPALIVE_S)
            if not done:
                yield None
                continue
            try:
                message = coming.result()
            except StopAsyncIteration:
                return
            coming = None
            yield message
    finally:
        if coming is not None:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)
        await messages.aclose()  # type: ignore[attr-defined]  # all of ours are generators
