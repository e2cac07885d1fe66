"""Routes that drain, resume, reserve and free a device: on loopback, and between peers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from aiohttp import web

from mesh.api.upkeep import DRAIN, RESERVE, RESUME, UNRESERVE, VERBS
from mesh.edge.http.guard import Handler, answer, read_body
from mesh.edge.http.roles import PEER, ROLE, Route
from mesh.state.members import RUNNER

SAYS: Final = {
    DRAIN: "Let no new job start on a device.",
    RESUME: "Let jobs start on a device again.",
    RESERVE: "Keep a device for the user of this machine for a while.",
    UNRESERVE: "Give a reserved device back early.",
}


class ServedUpkeep(Protocol):
    """What the routes need of whoever looks after devices."""

    async def ask(self, verb: str, device: str, body: Mapping[str, object]) -> dict[str, object]:
        """For our own user, of any device of the fleet."""

    async def serve(
        self, verb: str, device: str, body: Mapping[str, object], asker: str, role: str
    ) -> dict[str, object]:
        """For another peer, of our own devices."""


def upkeep_routes(upkeep: ServedUpkeep) -> list[Route]:
    """On loopback: POST /v1/devices/{id}/drain and so on."""
    return [_route(verb, _asked(upkeep, verb)) for verb in VERBS]


def peer_upkeep_routes(upkeep: ServedUpkeep) -> list[Route]:
    """The same between peers, where whoever looks after the devices asks for more than a role."""
    return [_route(verb, _served(upkeep, verb)) for verb in VERBS]


def _route(verb: str, handler: Handler) -> Route:
    return Route("POST", f"/v1/devices/{{id}}/{verb}", RUNNER, handler)


def _asked(upkeep: ServedUpkeep, verb: str) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        body = await read_body(request)
        return answer(await upkeep.ask(verb, request.match_info["id"], body))

    handle.__doc__ = SAYS[verb]
    return handle


def _served(upkeep: ServedUpkeep, verb: str) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        body, asker = await read_body(request), request[PEER].hex()
        device = request.match_info["id"]
        return answer(await upkeep.serve(verb, device, body, asker, request[ROLE]))

    return handle
