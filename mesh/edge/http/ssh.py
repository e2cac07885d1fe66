"""Routes about hosts adopted by SSH: on loopback alone, for whoever holds the token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from aiohttp import web

from mesh.edge.http.guard import answer, read_body, refuse_unknown
from mesh.edge.http.roles import Route
from mesh.state.members import RUNNER


class ServedSsh(Protocol):
    """The adopted hosts as the HTTP server sees them."""

    def rows(self) -> list[dict[str, object]]:
        """Every host."""

    async def adopt(self, given: Mapping[str, object]) -> dict[str, object]:
        """Take a host in; its row."""

    async def probe(self, name: str) -> dict[str, object]:
        """Ask a host for everything now; its row."""

    async def remove(self, name: str) -> dict[str, object]:
        """Let a host go, with its devices."""


def ssh_routes(hosts: ServedSsh) -> list[Route]:
    """A person's own: a host's way in is no other peer's business."""

    async def get_hosts(request: web.Request) -> web.Response:
        """Every host adopted by SSH."""
        refuse_unknown(request.query, ())
        return answer({"hosts": hosts.rows()})

    async def post_host(request: web.Request) -> web.Response:
        """Adopt a host, or take its new way in; 201 with its row."""
        return answer(await hosts.adopt(await read_body(request)), 201)

    async def post_probe(request: web.Request) -> web.Response:
        """Ask a host for everything now."""
        refuse_unknown(await read_body(request), ())
        return answer(await hosts.probe(request.match_info["name"]))

    async def post_remove(request: web.Request) -> web.Response:
        """Let a host go, with its devices."""
        refuse_unknown(await read_body(request), ())
        return answer(await hosts.remove(request.match_info["name"]))

    return [
        Route("GET", "/v1/ssh", "", get_hosts),
        Route("POST", "/v1/ssh", RUNNER, post_host),
        Route("POST", "/v1/ssh/{name}/probe", "", post_probe),
        Route("POST", "/v1/ssh/{name}/remove", RUNNER, post_remove),
    ]
