"""A stand-in for a model's server: it listens on loopback and does what a script says."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

Script = Callable[[web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]
SSE = "text/event-stream"


def piece(text: str) -> bytes:
    """A token, as llama.cpp says it."""
    return event({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]})


def event(value: object) -> bytes:
    """Compact, as engines write them."""
    return b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n"


PROGRESS = event({"choices": [], "prompt_progress": {"total": 9, "processed": 4}})
FINISH = event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
USAGE = event({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2}})
DONE = b"data: [DONE]\n\n"
WHOLE = (PROGRESS, piece("one"), piece(" two"), FINISH, USAGE, DONE)


class StandIn:
    """One server; `asked` are the bodies it got, `script` what it does, `gone` that a client left.

    `here` counts the requests that it is at.
    """

    def __init__(self, script: Script) -> None:
        self.script = script
        self.asked: list[dict[str, Any]] = []
        self.here = 0
        self.url = ""
        self._runner: web.AppRunner | None = None

    async def open(self) -> str:
        """Where it is."""
        app = web.Application(client_max_size=1 << 26)
        app.router.add_route("*", "/{any:.*}", self._do)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        sock = socket.create_server(("127.0.0.1", 0))
        await web.SockSite(self._runner, sock).start()
        self.url = f"http://127.0.0.1:{sock.getsockname()[1]}"
        return self.url

    async def close(self) -> None:
        """Gone."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _do(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.asked.append(body)
        self.here += 1
        try:
            return await self.script(request, body)
        finally:
            self.here -= 1


async def begun(request: web.Request, *, chunked: bool = True) -> web.StreamResponse:
    """A stream's head."""
    response = web.StreamResponse(headers={"Content-Type": SSE})
    if chunked:
        response.enable_chunked_encoding()
    else:
        response.headers["Connection"] = "close"
        response.force_close()
    await response.prepare(request)
    return response


def says(*parts: bytes, chunked: bool = True) -> Script:
    """A stream of these, and its end."""

    async def script(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
        response = await begun(request, chunked=chunked)
        for part in parts:
            await response.write(part)
        await response.write_eof()
        return response

    return script


def says_then_resets(*parts: bytes) -> Script:
    """These, and then a reset: the machine's way to say that a process was killed."""

    async def script(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
        response = await begun(request)
        for part in parts:
            await response.write(part)
        return _reset(request) or response

    return script


async def dies_at_once(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
    """No head at all."""
    _reset(request)
    return web.Response()


def says_then_waits(*parts: bytes) -> Script:
    """These, and then nothing more until the client leaves."""

    async def script(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
        response = await begun(request)
        for part in parts:
            await response.write(part)
        await asyncio.Event().wait()
        return response

    return script


async def says_nothing(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
    """Not even a head."""
    await asyncio.Event().wait()
    return web.Response()


def refuses(status: int, body: object) -> Script:
    """An error."""

    async def script(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return web.Response(body=raw, status=status, content_type="application/json")

    return script


def answers(value: object) -> Script:
    """One JSON document."""
    return refuses(200, value)


def _reset(request: web.Request) -> None:
    assert request.transport is not None
    sock = request.transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.transport.abort()
