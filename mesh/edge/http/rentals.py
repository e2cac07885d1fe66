"""Routes about rented machines: what is rented every member may see; renting is this machine's own
user's alone, for it is their key that pays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

from aiohttp import web

from mesh.edge.http.guard import HttpRefusal, answer, read_body, refuse_unknown
from mesh.edge.http.roles import Route
from mesh.state.members import RUNNER, VIEWER

FLAGS: Final = {"": False, "0": False, "false": False, "1": True, "true": True}


class ServedClouds(Protocol):
    """What the routes need of whoever rents."""

    def rows(self, *, ended: bool) -> dict[str, object]:
        """Rentals and the requests that wait."""

    def check(self) -> list[dict[str, object]]:
        """Each provider, and what is wrong with it."""

    async def open(self) -> None:
        """Look for keys anew."""

    async def rent(self, body: Mapping[str, object]) -> dict[str, Any]:
        """Ask for a machine."""

    async def give_back(self, wanted: str) -> dict[str, object]:
        """Return one."""

    async def orphans(self) -> list[dict[str, Any]]:
        """Machines of ours that nobody wants."""

    async def kill(self, instance: str) -> dict[str, object]:
        """End one of those."""

    async def take(self, provider: str) -> dict[str, object]:
        """Have an account from now on."""


def rental_routes(clouds: ServedClouds) -> list[Route]:
    """On loopback, for whoever holds the token."""

    async def get_rentals(request: web.Request) -> web.Response:
        """Rented machines, and the requests that wait for one."""
        refuse_unknown(request.query, ("ended",))
        return answer(clouds.rows(ended=_flag(request.query.get("ended", ""))))

    async def post_rental(request: web.Request) -> web.Response:
        """Rent a machine; 201 with the request."""
        return answer(await clouds.rent(await read_body(request)), 201)

    async def post_return(request: web.Request) -> web.Response:
        """Return a rented machine."""
        refuse_unknown(await read_body(request), ())
        return answer(await clouds.give_back(request.match_info["id"]))

    async def get_clouds(request: web.Request) -> web.Response:
        """Each cloud, and what is wrong with it."""
        refuse_unknown(request.query, ())
        return answer({"clouds": clouds.check()})

    async def post_keys(request: web.Request) -> web.Response:
        """Look for the keys of clouds anew."""
        refuse_unknown(await read_body(request), ())
        await clouds.open()
        return answer({"clouds": clouds.check()})

    async def post_take(request: web.Request) -> web.Response:
        """Have a cloud's account from now on."""
        refuse_unknown(await read_body(request), ())
        return answer(await clouds.take(request.match_info["provider"]))

    async def get_orphans(request: web.Request) -> web.Response:
        """Machines at the clouds that carry our label and that nobody wants."""
        refuse_unknown(request.query, ())
        return answer({"orphans": await clouds.orphans()})

    async def post_kill(request: web.Request) -> web.Response:
        """End a machine that nobody wants."""
        refuse_unknown(await read_body(request), ())
        return answer(await clouds.kill(request.match_info["instance"]))

    return [
        Route("GET", "/v1/rentals", VIEWER, get_rentals),
        Route("POST", "/v1/rentals", RUNNER, post_rental),
        Route("POST", "/v1/rentals/{id}/return", RUNNER, post_return),
        Route("GET", "/v1/clouds", VIEWER, get_clouds),
        Route("POST", "/v1/clouds/keys", RUNNER, post_keys),
        Route("POST", "/v1/clouds/{provider}/take", RUNNER, post_take),
        Route("GET", "/v1/orphans", VIEWER, get_orphans),
        Route("POST", "/v1/orphans/{instance}/kill", RUNNER, post_kill),
    ]


def _flag(text: str) -> bool:
    if text not in FLAGS:
        raise HttpRefusal(400, "BadField", f"ended={text[:40]!r}", "ended=1")
    return FLAGS[text]
