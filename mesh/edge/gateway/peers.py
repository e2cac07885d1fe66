"""What other peers may ask of this one's model servers: how they stand, and an answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from typing import Any, Final, TypeVar, final

from aiohttp import ClientConnectionResetError, web

from mesh.api.errors import RequestError
from mesh.edge.gateway.fleet import REPLICAS, SERVE
from mesh.edge.gateway.own import OwnServers, Want
from mesh.edge.gateway.routes import MAX_BODY_BYTES
from mesh.edge.gateway.services import Services
from mesh.edge.http.guard import HttpRefusal, answer, read_body, refuse_unknown, want_text
from mesh.edge.http.roles import Route
from mesh.serving.family import CHAT, COMPLETIONS, COUNT, EMBEDDINGS, RESPONSES, SSE
from mesh.state.members import RUNNER, VIEWER

# Routes of a model's server that a peer may reach: those that answer, none that changes it.
PATHS: Final = frozenset({CHAT, COMPLETIONS, EMBEDDINGS, RESPONSES, COUNT})
WRITE_S: Final = 60.0
# How late it is seen that a peer does not read on: then its request is given up.
LOOK_S: Final = 0.2
MAX_KEY_ID: Final = 80
T = TypeVar("T")


@final
class ServeRoutes:
    """Between members, over TLS."""

    def __init__(self, own: OwnServers, services: Services) -> None:
        self._own: Final = own
        self._services: Final = services

    def routes(self) -> list[Route]:
        """Whoever may use this peer's devices may use what serves on them."""
        return [
            Route("GET", REPLICAS, VIEWER, self._rows),
            Route("POST", "/v1/services/{id}/demand", RUNNER, self._demand),
            Route("POST", SERVE + "/{id}", RUNNER, self._serve),
        ]

    async def _rows(self, request: web.Request) -> web.Response:
        refuse_unknown(request.query, ())
        return answer({"replicas": await self._own.rows()})

    async def _demand(self, request: web.Request) -> web.Response:
        """Somebody waits for a model that this peer keeps up."""
        refuse_unknown(await read_body(request), ())
        return answer({"note": await self._services.demand(request.match_info["id"])})

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        large = request.clone(client_max_size=MAX_BODY_BYTES)
        want = _want(request.match_info["id"], await read_body(large, MAX_BODY_BYTES))
        async with aclosing(self._own.answer(want)) as said:
            first = await _while_there(request, _first(said))  # a refusal is still one
            response = web.StreamResponse(headers={"Content-Type": SSE})
            if first is not None:
                await _while_there(request, _pass(request, response, first, said))
            return response


async def _while_there(request: web.Request, doing: Coroutine[Any, Any, T]) -> T | None:
    """What it comes to; None, and it is given up, once nobody reads on."""
    task = asyncio.create_task(doing)
    try:
        while not task.done():
            await asyncio.wait([task], timeout=LOOK_S)
            if request.transport is None or request.transport.is_closing():
                return None
        return task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _first(said: AsyncGenerator[bytes, None]) -> bytes:
    return await anext(said, b"")


async def _pass(
    request: web.Request,
    response: web.StreamResponse,
    first: bytes,
    said: AsyncGenerator[bytes, None],
) -> None:
    try:
        await response.prepare(request)
        await response.write(first)
        async for chunk in said:
            async with asyncio.timeout(WRITE_S):
                await response.write(chunk)
        await response.write_eof()
    except (ClientConnectionResetError, ConnectionResetError):
        return
    except (RequestError, TimeoutError):
        if request.transport is not None:
            request.transport.abort()  # whoever asks sees that it is cut


def _want(job_id: str, body: dict[str, object]) -> Want:
    refuse_unknown(body, ("path", "body", "key_id"))
    path, asked, key_id = want_text(body, "path"), body.get("body"), body.get("key_id", "")
    if path not in PATHS:
        raise HttpRefusal(404, "NoRoute", f"a model's server has no route {path[:80]!r}")
    if not isinstance(asked, dict) or not isinstance(key_id, str) or len(key_id) > MAX_KEY_ID:
        raise HttpRefusal(400, "BadField", "body must be an object, and key_id a text")
    return Want(job_id=job_id, path=path, body=asked, key_id=key_id)
