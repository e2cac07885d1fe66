"""The dashboard's routes: its files, the way in and out, and reads that no other route has."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from aiohttp import web

from mathcore.catalogue.models import model_names
from mesh.edge.http.dashboard.guard import cookie_name
from mesh.edge.http.dashboard.pages import FRONT, page
from mesh.edge.http.dashboard.sessions import CODE_TTL_S, SESSION_TTL_S, Sessions
from mesh.edge.http.guard import (
    TURNS,
    HttpRefusal,
    answer,
    read_body,
    refuse_unknown,
    want_text,
    whole,
)
from mesh.edge.http.ports import ServedNode
from mesh.edge.http.roles import Route
from mesh.edge.http.stream import NODE, event_dict
from mesh.state.members import VIEWER

LINK: Final = "/dashboard/#code="  # a fragment stays in the browser: it is in no request and no log
MAX_PAGE: Final = 200  # events a person scrolls through at once; about 100 kB
DEFAULT_PAGE: Final = 50


def dashboard_routes(sessions: Sessions) -> list[Route]:
    """On loopback alone."""
    return [
        *way_in(sessions),
        Route("GET", "/v1/dashboard/events", VIEWER, get_events),
        Route("GET", "/v1/dashboard/models", VIEWER, get_models),
    ]


def way_in(sessions: Sessions) -> list[Route]:
    """The page's files, and a session's begin and end: all that works before the ledger is open."""

    async def post_code(request: web.Request) -> web.Response:
        """A link that works once; 201."""
        refuse_unknown(await read_body(request), ())
        path = LINK + sessions.make_code()
        return answer({"path": path, "seconds": int(CODE_TTL_S)}, 201)

    async def post_session(request: web.Request) -> web.Response:
        """A session for a link's code: the cookie, and the key its pages send; 201."""
        body = await read_body(request)
        refuse_unknown(body, ("code",))
        opened = sessions.exchange(want_text(body, "code"))
        if opened is None:
            text = "this link was used already, or is older than a minute"
            raise HttpRefusal(403, "CodeSpent", text, "a new one: fleet dashboard")
        response = answer({"key": opened.key}, 201)
        response.set_cookie(
            cookie_name(request),
            opened.cookie,
            max_age=int(SESSION_TTL_S),
            path="/v1/",
            httponly=True,
            samesite="Strict",
        )
        return response

    async def post_end(request: web.Request) -> web.Response:
        """Close the session that asks."""
        refuse_unknown(await read_body(request), ())
        name = cookie_name(request)
        sessions.end(request.cookies.get(name, ""))
        response = answer({})
        response.del_cookie(name, path="/v1/")
        return response

    return [
        Route("GET", "/dashboard/", "", get_front),
        Route("POST", "/dashboard/session", "", post_session),
        Route("GET", "/dashboard/{file:.+}", "", get_file),
        Route("POST", "/v1/dashboard/codes", "", post_code),
        Route("POST", "/v1/dashboard/end", "", post_end),
    ]


def layer_routes(layers: Callable[[Mapping[str, object]], dict[str, object]]) -> list[Route]:
    """On loopback alone. `layers` gives a model's memory layer by layer, as JSON."""

    async def post_layers(request: web.Request) -> web.Response:
        """What each layer of a model takes, for its picture."""
        question = await read_body(request)
        return answer(await request.app[TURNS].take(request, layers, question))

    return [Route("POST", "/v1/dashboard/layers", VIEWER, post_layers)]


async def get_front(request: web.Request) -> web.Response:
    """The page itself."""
    return page(request, FRONT)


async def get_file(request: web.Request) -> web.Response:
    """One of its files."""
    return page(request, request.match_info["file"])


async def get_models(request: web.Request) -> web.Response:
    """Every model that is known by name."""
    refuse_unknown(request.query, ())
    return answer({"models": model_names()})


async def get_events(request: web.Request) -> web.Response:
    """The events before a cursor, the newest first; `last` is the newest cursor there is."""
    refuse_unknown(request.query, ("before", "limit"))
    node = request.app[NODE]
    last = node.state.cursor
    before = whole(request, "before", last + 1)
    limit = min(whole(request, "limit", DEFAULT_PAGE), MAX_PAGE)
    rows = await asyncio.to_thread(_newest, node, min(before, last + 1), limit)
    return answer({"events": rows, "last": last})


def _newest(node: ServedNode, before: int, limit: int) -> list[dict[str, object]]:
    found = node.events(max(0, before - 1 - limit), limit)
    rows = [{"cursor": at, **event_dict(event)} for at, event in found if at < before]
    return rows[::-1]
