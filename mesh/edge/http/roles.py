"""Which role each route needs: said once, beside the route, checked before its handler runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, final

from aiohttp import web
from aiohttp.typedefs import Middleware

from mesh.edge.http.guard import PEER as PEER
from mesh.edge.http.guard import Handler, HttpRefusal
from mesh.edge.transport.link import key_behind
from mesh.state.members import FORMER, VIEWER, allowed

ROLE: Final = web.RequestKey("role", str)
PAGE: Final = web.RequestKey("page", bool)  # a dashboard's session asks, not the token's holder


@final
@dataclass(frozen=True, slots=True)
class Route:
    """A route and the lowest role that may use it; "" needs none, FORMER to be or have been one."""

    method: str
    path: str
    role: str
    handler: Handler

    def definition(self) -> web.RouteDef:
        """The route as aiohttp adds it, its role checked first."""
        return web.RouteDef(self.method, self.path, _needs(self.role, self.handler), {})


NOT_FOR_PAGES: Final = "NotForPages"
# Every route of an app, for whoever describes them.
ROUTES: Final = web.AppKey("routes", tuple[Route, ...])


def _needs(role: str, handler: Handler) -> Handler:
    async def checked(request: web.Request) -> web.StreamResponse:
        has = request.get(ROLE, "")
        if has == FORMER and role != FORMER:
            raise HttpRefusal(
                403,
                "NotAMember",
                "this key was put out of the fleet",
                "an admin lets it in again: fleet join CODE",
            )
        if role not in ("", FORMER) and not allowed(has, role):
            raise HttpRefusal(
                403,
                "WrongRole",
                f"this needs the role {role}, not {has or 'none'}",
                f"one of the admins changes it: fleet peers role NAME {role}",
            )
        return await handler(request)

    return checked


def refuse_page(request: web.Request, text: str, hint: str) -> None:
    """HttpRefusal where a dashboard's session asks what only the token's holder may."""
    if request.get(PAGE, False):
        raise HttpRefusal(403, NOT_FOR_PAGES, text, hint)


def local_role(role: Callable[[], str]) -> Middleware:
    """On loopback the token's holder may do what this peer may, and always read its own ledger."""

    @web.middleware
    async def know(request: web.Request, handler: Handler) -> web.StreamResponse:
        request[ROLE] = role() or VIEWER
        return await handler(request)

    return know


def peer_role(role: Callable[[bytes], str]) -> Middleware:
    """Between peers the TLS key says who asks; one that is no member any more reaches nothing."""

    @web.middleware
    async def know(request: web.Request, handler: Handler) -> web.StreamResponse:
        transport = request.transport
        key = key_behind(None if transport is None else transport.get_extra_info("ssl_object"))
        has = "" if key is None else role(key)
        if key is None or not has:
            raise HttpRefusal(
                403, "NotAMember", "this key is no member of the fleet", "join it: fleet join CODE"
            )
        request[PEER] = key
        request[ROLE] = has
        return await handler(request)

    return know
