"""What is new, in one stream for all of a browser's pages: it has six connections to here."""

from __future__ import annotations

from contextlib import aclosing
from typing import Final

from aiohttp import web

from mesh.edge.http.guard import refuse_unknown
from mesh.edge.http.roles import Route
from mesh.edge.http.stream import NODE, open_stream
from mesh.edge.http.telemetry import ServedTelemetry
from mesh.state.members import VIEWER

DEVICES: Final = "devices"
LEDGER: Final = "ledger"


def live_routes(telemetry: ServedTelemetry) -> list[Route]:
    """On loopback alone."""

    async def get_live(request: web.Request) -> web.StreamResponse:
        """`devices`, the picture of the fleet, each second, and `ledger`, the newest cursor, at
        first and where it moved: what came is asked by whoever shows it. Ends with the session."""
        refuse_unknown(request.query, ())
        node, told = request.app[NODE], -1
        async with open_stream(request) as stream, aclosing(telemetry.pictures()) as pictures:  # type: ignore[type-var]
            async for picture in pictures:
                await stream.send(picture, kind=DEVICES)
                if node.state.cursor != told:
                    told = node.state.cursor
                    await stream.send({"last": told}, kind=LEDGER)
        return stream.response

    return [Route("GET", "/v1/dashboard/live", VIEWER, get_live)]
