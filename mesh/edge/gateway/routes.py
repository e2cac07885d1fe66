"""The address itself: what tools ask, in the families they speak.

On loopback no key is needed, as tools expect; a key that is sent must not be a revoked one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, final

import msgspec
from aiohttp import web

from mesh.api.errors import RequestError
from mesh.edge.gateway.fleet import FleetServers, Row
from mesh.edge.gateway.outlet import Left, Outlet, refused
from mesh.edge.gateway.relay import Relay, problem_of
from mesh.edge.http.guard import Handler, answer, check_origin
from mesh.serving.family import CHAT, COMPLETIONS, EMBEDDINGS, Asked, Family, Problem
from mesh.serving.openai import Embeddings, Generation
from mesh.state.jobs import JobView

# A conversation of a million tokens is 4 MB; its pictures and recordings as text some more. Each
# request under way is in memory twice.
MAX_BODY_BYTES: Final = 32 << 20
# Requests under way at this address: each has a socket here and one to its server.
MAX_AT_ONCE: Final = 256


class Admits(Protocol):
    """Who may ask, and how much."""

    def who(self, secret: str) -> str:
        """The key's id; "" for none. RequestError, 401, for one that is not good any more."""

    def begin(self, key_id: str, asked: Asked) -> Callable[[], None]:
        """Let a request in; what is to be called at its end. RequestError where it may not."""


@final
class Gateway:
    """The routes of one peer's address."""

    def __init__(self, relay: Relay, servers: FleetServers, admits: Admits) -> None:
        self._relay: Final = relay
        self._servers: Final = servers
        self._admits: Final = admits
        self._at_once = 0

    def app(self) -> web.Application:
        """All of it."""
        app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[_shaped, check_origin])
        families: dict[str, Family] = {
            CHAT: Generation(CHAT),
            COMPLETIONS: Generation(COMPLETIONS),
            EMBEDDINGS: Embeddings(),
        }
        app.add_routes([web.post(path, self._asks(one)) for path, one in families.items()])
        app.add_routes([web.get("/v1/models", self._models)])
        return app

    def _asks(self, family: Family) -> Handler:
        async def handler(request: web.Request) -> web.StreamResponse:
            try:
                return await self._pass(request, family)
            except RequestError as error:
                return refused(family, problem_of(error))
            except Left:
                return web.Response()

        return handler

    async def _pass(self, request: web.Request, family: Family) -> web.StreamResponse:
        key_id = self._admits.who(secret_of(request.headers))
        asked = family.read(await read_json(request))
        if self._at_once >= MAX_AT_ONCE:
            raise RequestError("Busy", f"{MAX_AT_ONCE} requests are under way here", "", 503)
        ended = self._admits.begin(key_id, asked)
        self._at_once += 1
        try:
            reply = asked.reply()
            out = Outlet(request, family, asked, reply)
            return await self._relay.answer(asked, reply, out, key_id)
        finally:
            self._at_once -= 1
            ended()

    async def _models(self, request: web.Request) -> web.Response:
        """What can be asked for, in OpenAI's form."""
        rows = await self._servers.rows()
        names: dict[str, tuple[JobView, Row | None]] = {}
        for job, row in rows:
            names.setdefault(job.model, (job, row))
        data = [
            {"id": name, "object": "model", "created": job.started_ms // 1000, "owned_by": "fleet"}
            for name, (job, _) in sorted(names.items())
        ]
        return answer({"object": "list", "data": data})


@web.middleware
async def _shaped(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Whatever is refused before a family is known is refused in OpenAI's form."""
    family = Generation(CHAT)
    try:
        return await handler(request)
    except RequestError as error:
        return refused(family, problem_of(error))
    except web.HTTPException as error:
        text = "the body is too large" if error.status == 413 else error.reason
        known = Problem(status=error.status, code=error.reason.replace(" ", ""), text=text)
        return refused(family, known)


async def read_json(request: web.Request) -> Mapping[str, Any]:
    """The object a client sent; a long one is read beside the loop."""
    raw = await request.read()
    try:
        long = len(raw) > 1 << 20
        body = (
            await asyncio.to_thread(msgspec.json.decode, raw) if long else msgspec.json.decode(raw)
        )
    except (msgspec.DecodeError, RecursionError) as error:
        raise RequestError("BadJson", f"the body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise RequestError("BadJson", "the body must be a JSON object")
    return body


def secret_of(headers: Mapping[str, str]) -> str:
    """The key a client sends, as OpenAI's and Anthropic's libraries do."""
    scheme, _, given = headers.get("Authorization", "").partition(" ")
    return given.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "").strip()
