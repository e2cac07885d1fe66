"""The HTTP API of a daemon that is not ready: every route says how far it is, the page shows it.

The guards are those of a ready daemon, and a page may ask no more than it may then. A browser that
signs in meanwhile stays signed in.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

from mesh.api.errors import STARTING
from mesh.edge.http.dashboard.guard import MAY, without_token
from mesh.edge.http.dashboard.routes import way_in
from mesh.edge.http.dashboard.sessions import Sessions
from mesh.edge.http.guard import (
    Handler,
    HttpRefusal,
    answer,
    check_origin,
    check_token,
    read_body,
    refusal,
    refuse_unknown,
    shape_errors,
)
from mesh.edge.http.roles import Route
from mesh.edge.starting.progress import Starting

HINT: Final = "again in a moment; fleet logs --daemon says more"


def starting_app(starting: Starting, token: str, sessions: Sessions) -> web.Application:
    """What answers on loopback until the ledger is open and folded."""
    app = web.Application(
        middlewares=[shape_errors, check_origin, check_token(token, without_token(sessions))]
    )
    answered = [
        Route("GET", "/healthz", "", _health),
        Route("GET", "/readyz", "", _not_ready),
        *way_in(sessions),
        Route("POST", "/v1/shutdown", "", _shutdown(starting)),
    ]
    later = _later(starting)
    known = {(route.method, route.path) for route in answered}
    # By their patterns, as the ready daemon has them: by those it is known what a page may ask.
    pages = [Route(method, path, "", later) for method, path in sorted(MAY - known)]
    routes = [*answered, *pages, Route("*", "/{any:.*}", "", later)]
    app.add_routes([route.definition() for route in routes])
    return app


async def _health(request: web.Request) -> web.Response:
    """The process answers."""
    return answer({"status": "alive"})


async def _not_ready(request: web.Request) -> web.Response:
    """Without the token it is said that it is not ready, and no number."""
    raise HttpRefusal(503, "NotReady", "the ledger is still opening", "try again in a second")


def _later(starting: Starting) -> Handler:
    async def later(request: web.Request) -> web.Response:
        """How far it is, whatever was asked; 503."""
        return refusal(503, STARTING, starting.text(), HINT, {"progress": starting.row()})

    return later


def _shutdown(starting: Starting) -> Handler:
    async def shutdown(request: web.Request) -> web.Response:
        """Leave the work: the next start begins it again."""
        refuse_unknown(await read_body(request), ())
        starting.stop()
        return answer({"status": "stopping"}, 202)

    return shutdown
