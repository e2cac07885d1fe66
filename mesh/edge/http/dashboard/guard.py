"""What a dashboard's session may do: what its pages ask, and nothing else of the token's holder.

It makes no sign-in codes, keys, admins or recovery words, submits no job of its own words, and
stops no daemon: whoever sits down at an open browser gets no further than the pages show.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, final

from aiohttp import web

from mesh.edge.http.dashboard.sessions import Sessions
from mesh.edge.http.guard import HttpRefusal
from mesh.edge.http.roles import NOT_FOR_PAGES, PAGE

# The page's half of a session. A header of our own also keeps other sites' forms out.
KEY_HEADER: Final = "Fleet-Page"
# Routes by method and pattern, as the route tables have them.
MAY: Final = frozenset(
    {
        ("GET", "/v1/status"),
        ("GET", "/v1/devices"),
        ("GET", "/v1/peers"),
        ("GET", "/v1/peers/pending"),
        ("GET", "/v1/jobs"),
        ("GET", "/v1/jobs/{id}/logs"),
        ("GET", "/v1/jobs/{id}/files"),
        ("GET", "/v1/jobs/{id}/file"),
        ("GET", "/v1/verify"),
        ("GET", "/v1/export"),
        ("GET", "/v1/services"),
        ("GET", "/v1/models/where"),
        ("GET", "/v1/usage"),
        ("GET", "/v1/cost"),
        ("GET", "/v1/rates"),
        ("GET", "/v1/budgets"),
        ("GET", "/v1/dashboard/events"),
        ("GET", "/v1/dashboard/live"),
        ("GET", "/v1/dashboard/models"),
        ("POST", "/v1/plan"),
        ("POST", "/v1/jobs/{id}/cancel"),
        ("POST", "/v1/peers/{id}/accept"),
        ("POST", "/v1/peers/{id}/ignore"),
        ("POST", "/v1/invites"),
        ("POST", "/v1/services"),
        ("POST", "/v1/services/{id}/end"),
        ("POST", "/v1/dashboard/chat"),
        ("POST", "/v1/dashboard/layers"),
        ("POST", "/v1/dashboard/end"),
    }
)
# Files hold nothing of the fleet, and whoever has a code has no session yet: no token is asked.
OPEN_PATTERNS: Final = frozenset({"/dashboard/", "/dashboard/{file}", "/dashboard/session"})

SESSIONS: Final = web.AppKey("sessions", Sessions)


def cookie_name(request: web.Request) -> str:
    """Browsers share cookies among a machine's ports: each daemon's has its port in its name."""
    return f"fleet-session-{request.url.port}"


def has_session(sessions: Sessions, request: web.Request) -> bool:
    """Whether a request carries both halves of an open session."""
    cookie = request.cookies.get(cookie_name(request), "")
    return sessions.knows(cookie, request.headers.get(KEY_HEADER, ""))


def without_token(sessions: Sessions) -> Callable[[web.Request], bool]:
    """What may pass that shows no token, while the daemon starts and after: the way in, and what a
    session's pages ask."""

    def passes(request: web.Request) -> bool:
        return pattern_of(request) in OPEN_PATTERNS or session_may(sessions, request)

    return passes


def session_may(sessions: Sessions, request: web.Request) -> bool:
    """Whether a request carries an open session, and a note of it (`PAGE`); HttpRefusal where that
    may not do this."""
    if not has_session(sessions, request):
        return False
    if (request.method, pattern_of(request)) not in MAY:
        text = "the dashboard's session does not open this"
        raise HttpRefusal(403, NOT_FOR_PAGES, text, "ask with the token, by the command line")
    request[PAGE] = True
    return True


@final
class SessionOver(Exception):
    """The session ended in which a page asked for what is still on its way."""


@asynccontextmanager
async def while_open(request: web.Request) -> AsyncIterator[None]:
    """What a page is told bit by bit ends with its session, by SessionOver: it signed out, its time
    is up, or newer ones took its place. Who shows the token is told to the end."""
    if PAGE not in request:
        yield
        return
    limit = asyncio.timeout(None)
    try:
        async with limit:
            watch = asyncio.create_task(_end_with_session(request, limit))
            try:
                yield
            finally:
                watch.cancel()
    except TimeoutError:
        if not limit.expired():
            raise
        raise SessionOver from None


async def _end_with_session(request: web.Request, limit: asyncio.Timeout) -> None:
    await request.app[SESSIONS].over(request.cookies.get(cookie_name(request), ""))
    limit.reschedule(asyncio.get_running_loop().time())


async def broken_off(
    request: web.Request, work: Awaitable[web.StreamResponse]
) -> web.StreamResponse:
    """An answer that comes bit by bit; where the page's session ends before it does, the connection
    breaks off: what the page has must not look whole."""
    try:
        async with while_open(request):
            return await work
    except SessionOver:
        if request.transport is not None:
            request.transport.abort()
        return web.Response()  # nobody reads it


def pattern_of(request: web.Request) -> str:
    """The matched route's path, its variable parts in braces; "" where none matched."""
    resource = request.match_info.route.resource
    return "" if resource is None else resource.canonical
