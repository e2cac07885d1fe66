"""Routes about the fleet itself: who belongs to it, who may come in, and the link between peers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aiohttp import web

from mesh.edge.http.guard import HttpRefusal, answer, read_body, refuse_unknown, want_text
from mesh.edge.http.ports import ServedMesh
from mesh.edge.http.roles import PEER, Route, refuse_page
from mesh.edge.transport.anteroom import plain_address
from mesh.edge.transport.dial import SYNC_PATH
from mesh.edge.transport.link import (
    CLOSE_TIMEOUT_S,
    HEARTBEAT_S,
    SOCKET_LIMIT,
    Link,
    LinkClosed,
    greet,
)
from mesh.policy.pairing import MAX_USES
from mesh.state.members import ADMIN, FORMER, ROLES, RUNNER, VIEWER

MESH: Final[web.AppKey[ServedMesh]] = web.AppKey("mesh", ServedMesh)
DEFAULT_TTL_MS: Final = 15 * 60_000
# A month: an invite in a drawer is a key in a drawer.
MAX_TTL_MS: Final = 30 * 86_400_000
# An invite outlives the session that made it: of a page's, whoever finds the browser open gets one
# machine in, within a day, and `fleet doctor` lists it.
PAGE_TTL_MS: Final = 86_400_000


def peer_reads() -> list[Route]:
    """What any member may ask about the fleet."""
    return [
        Route("GET", "/v1/peers", VIEWER, get_peers),
        Route("GET", "/v1/sync/status", VIEWER, get_sync),
    ]


def mesh_routes() -> list[Route]:
    """What only peers use: a link, which also takes what a key that was put out has to bring."""
    return [Route("GET", SYNC_PATH, FORMER, open_link)]


def peer_routes() -> list[Route]:
    """What a person does about peers, on loopback.

    Where only an admin's word counts, the mesh itself says who could instead.
    """
    return [
        Route("GET", "/v1/peers/pending", VIEWER, get_pending),
        Route("GET", "/v1/doctor", "", get_doctor),
        Route("POST", "/v1/invites", VIEWER, post_invite),
        Route("POST", "/v1/join", "", post_join),
        Route("POST", "/v1/peers/addresses", "", post_address),
        Route("POST", "/v1/peers/{id}/accept", VIEWER, post_accept),
        Route("POST", "/v1/peers/{id}/ignore", ADMIN, post_ignore),
        Route("POST", "/v1/peers/{id}/remove", VIEWER, post_remove),
        Route("POST", "/v1/peers/{id}/role", VIEWER, post_role),
        Route("POST", "/v1/peers/{id}/rename", VIEWER, post_rename),
        Route("POST", "/v1/recovery", VIEWER, post_recovery),
    ]


async def open_link(request: web.Request) -> web.StreamResponse:
    """GET /v1/sync: a link for the ledger, until one side ends it."""
    mesh = request.app[MESH]
    socket = web.WebSocketResponse(
        timeout=CLOSE_TIMEOUT_S,
        heartbeat=HEARTBEAT_S,
        compress=False,
        max_msg_size=SOCKET_LIMIT,
    )
    await socket.prepare(request)
    try:
        greeting = await greet(socket, mesh.now)
    except LinkClosed:
        return socket
    address = plain_address(request.remote or "")
    await mesh.hold(Link(socket, request[PEER], address, greeting, outbound=False))
    return socket


async def get_peers(request: web.Request) -> web.Response:
    """Every peer of the fleet."""
    refuse_unknown(request.query, ())
    return answer({"peers": request.app[MESH].peers()})


async def get_sync(request: web.Request) -> web.Response:
    """How far the fleet's ledgers are apart."""
    refuse_unknown(request.query, ())
    return answer(request.app[MESH].sync_status())


async def get_pending(request: web.Request) -> web.Response:
    """Who asks to be let in."""
    refuse_unknown(request.query, ())
    return answer({"pending": request.app[MESH].pending()})


async def get_doctor(request: web.Request) -> web.Response:
    """What the daemon knows about its surroundings."""
    refuse_unknown(request.query, ())
    return answer(request.app[MESH].report())


async def post_invite(request: web.Request) -> web.Response:
    """Make an invite; 201 with its code."""
    body = await read_body(request)
    refuse_unknown(body, ("role", "ttl_ms", "uses"))
    ttl_ms = _whole(body, "ttl_ms", DEFAULT_TTL_MS, MAX_TTL_MS)
    uses = _whole(body, "uses", 1, MAX_USES)
    role = _role(body)
    _refuse_page_power(request, role)
    if uses > 1 or ttl_ms > PAGE_TTL_MS:
        refuse_page(request, "a page invites one machine, for a day at most", "fleet invite")
    return answer(await request.app[MESH].invite(role, ttl_ms, uses), 201)


async def post_join(request: web.Request) -> web.Response:
    """Come into a fleet by a code; at an address, ask to: 202 until somebody accepts."""
    body = await read_body(request)
    refuse_unknown(body, ("code", "name", "host"))
    name = want_text(body, "name") if "name" in body else None
    host = want_text(body, "host") if "host" in body else ""
    said = await request.app[MESH].join(want_text(body, "code"), name, host)
    return answer(said, 202 if said.get("state") == "pending" else 200)


async def post_address(request: web.Request) -> web.Response:
    """Try an address from now on."""
    body = await read_body(request)
    refuse_unknown(body, ("address",))
    return answer(request.app[MESH].add_address(want_text(body, "address")), 201)


async def post_accept(request: web.Request) -> web.Response:
    """Let in somebody who asks."""
    body = await read_body(request)
    refuse_unknown(body, ("role",))
    role = _role(body)
    _refuse_page_power(request, role)
    return answer(await request.app[MESH].accept(request.match_info["id"], role))


async def post_ignore(request: web.Request) -> web.Response:
    """Take somebody who asks off the list."""
    refuse_unknown(await read_body(request), ())
    return answer(request.app[MESH].ignore(request.match_info["id"]))


async def post_remove(request: web.Request) -> web.Response:
    """Put a peer out of the fleet; 409 "Forked" where `keep` must say which history is good."""
    body = await read_body(request)
    refuse_unknown(body, ("reason", "keep"))
    reason = str(body.get("reason") or "removed by hand")[:200]
    keep = str(body.get("keep") or "")[:200]
    return answer(await request.app[MESH].remove(request.match_info["id"], reason, keep))


async def post_role(request: web.Request) -> web.Response:
    """Give a peer another role."""
    body = await read_body(request)
    refuse_unknown(body, ("role",))
    want_text(body, "role")
    return answer(await request.app[MESH].set_role(request.match_info["id"], _role(body)))


async def post_recovery(request: web.Request) -> web.Response:
    """Make the recovery key of a fleet that has none; 201 with its words, this once."""
    refuse_unknown(await read_body(request), ())
    return answer(await request.app[MESH].add_recovery(), 201)


async def post_rename(request: web.Request) -> web.Response:
    """Call a peer something else; a peer that is no admin may only name itself."""
    body = await read_body(request)
    refuse_unknown(body, ("name",))
    return answer(await request.app[MESH].rename(request.match_info["id"], want_text(body, "name")))


def _refuse_page_power(request: web.Request, role: str) -> None:
    """An open browser makes nobody an admin, and shows no recovery words: those come once, when
    the fleet is founded, and belong on paper."""
    if role == ADMIN:
        text = "a page lets nobody in as admin"
        refuse_page(request, text, "let it in as runner, then: fleet peers role NAME admin")
    if not request.app[MESH].founded():
        text = "the first invite of a fleet shows its recovery words, which no page does"
        refuse_page(request, text, "fleet invite")


def _role(body: Mapping[str, object]) -> str:
    role = body.get("role", RUNNER)
    if role not in ROLES:
        raise HttpRefusal(400, "BadField", f"role={str(role)[:40]!r}", f"one of {', '.join(ROLES)}")
    return str(role)


def _whole(body: Mapping[str, object], name: str, default: int, most: int) -> int:
    value = body.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise HttpRefusal(400, "BadField", f"{name} must be a whole number from 1 to {most}")
    return value
