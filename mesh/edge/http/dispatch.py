"""What the homes of jobs ask this peer as the owner of its devices.

A place is for runners. What was sent here while its home was one, any member may ask about, end and
read: the owner says whether it is that job's home. Who asks is the key behind the connection, never
what a body says.
"""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec
from aiohttp import web

from mesh.api.wire.claims import MAX_CLAIM_BYTES, Ask, Claim
from mesh.edge.dispatch.ports import Owner
from mesh.edge.http.guard import HttpRefusal, answer, read_body, refuse_unknown
from mesh.edge.http.roles import PEER, Route
from mesh.state.members import RUNNER, VIEWER

OWNER: Final[web.AppKey[Owner]] = web.AppKey("owner", Owner)
Asked = TypeVar("Asked", Ask, Claim)


def dispatch_routes() -> list[Route]:
    """Offers, claims and what becomes of them. None of it is on loopback."""
    return [
        Route("POST", "/v1/offers", RUNNER, post_offer),
        Route("POST", "/v1/offers/{id}/release", RUNNER, post_release),
        Route("POST", "/v1/claims", VIEWER, post_claim),
        Route("GET", "/v1/claims", VIEWER, get_claims),
        Route("GET", "/v1/claims/{id}/{attempt}", VIEWER, get_claim),
        Route("POST", "/v1/claims/{id}/{attempt}/withdraw", VIEWER, post_withdraw),
        Route("GET", "/v1/claims/{id}/{attempt}/output/{name}", VIEWER, get_output),
    ]


async def post_offer(request: web.Request) -> web.Response:
    """Hold a place; 201 with the offer."""
    ask = await _read(request, Ask)
    return answer(await request.app[OWNER].offer(_who(request), ask), 201)


async def post_release(request: web.Request) -> web.Response:
    """Give a place back."""
    refuse_unknown(await read_body(request), ())
    await request.app[OWNER].release(_who(request), request.match_info["id"])
    return answer({})


async def post_claim(request: web.Request) -> web.Response:
    """Take an attempt; 200 with the lease once it is durable, the same one however often."""
    claim = await _read(request, Claim)
    return answer(await request.app[OWNER].claim(_who(request), claim))


async def get_claims(request: web.Request) -> web.Response:
    """The attempts of whoever asks that wait here."""
    refuse_unknown(request.query, ())
    return answer(await request.app[OWNER].waiting(_who(request)))


async def get_claim(request: web.Request) -> web.Response:
    """How an attempt stands."""
    refuse_unknown(request.query, ())
    job_id, attempt = _attempt(request)
    return answer(await request.app[OWNER].status(_who(request), job_id, attempt))


async def post_withdraw(request: web.Request) -> web.Response:
    """End an attempt; 200 with how it stands now."""
    refuse_unknown(await read_body(request), ())
    job_id, attempt = _attempt(request)
    return answer(await request.app[OWNER].withdraw(_who(request), job_id, attempt))


async def get_output(request: web.Request) -> web.Response:
    """What an attempt wrote past `offset`, to its home alone; waits up to `wait_ms` for more."""
    refuse_unknown(request.query, ("offset", "wait_ms"))
    job_id, attempt = _attempt(request)
    name, offset = request.match_info["name"], _number(request, "offset")
    wait_s = _number(request, "wait_ms") / 1000
    owner = request.app[OWNER]
    return answer(await owner.output(_who(request), job_id, attempt, name, offset, wait_s))


def _number(request: web.Request, name: str) -> int:
    text = request.query.get(name, "0")
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise HttpRefusal(400, "BadField", f"{name} must be a whole number")
    return int(text)


def _who(request: web.Request) -> str:
    return request[PEER].hex()


def _attempt(request: web.Request) -> tuple[str, int]:
    text = request.match_info["attempt"]
    if not (text.isascii() and text.isdigit() and len(text) < 4):
        raise HttpRefusal(400, "BadField", f"{text[:20]!r} is no attempt", "a number from 1")
    return request.match_info["id"], int(text)


async def _read(request: web.Request, kind: type[Asked]) -> Asked:
    try:
        return msgspec.convert(await read_body(request, MAX_CLAIM_BYTES), kind)
    except msgspec.ValidationError as error:
        raise HttpRefusal(400, "BadRequest", str(error)[:300]) from error
