"""A stand-in behind a real socket, for real clients: loopback only.

`faults` is played from its front, one for each request of the operation it names: those of
`base.py`, and "lost_reply" (done, never answered), "error_before" and "error_after" (a 502),
"reset" (done, then the connection is closed before a byte), "limited".
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from email.utils import formatdate

from aiohttp import web

from providers.rental.contract import Reply
from tests.emulators.base import Asked, Emulator

LOST_S = 3600.0  # a lost reply is waited for until the client gives up


class Server:
    """Serves one emulator until closed; `url` is its base. `skew_ms` moves its clock."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self.skew_ms = 0
        self.faults: list[tuple[str, str]] = []  # (op, fault)
        self.seen: list[Asked] = []
        self.counted: Counter[str] = Counter()  # requests that arrived, by operation
        self._closing = asyncio.Event()
        self.url = ""

    async def __aenter__(self) -> Server:
        app = web.Application(client_max_size=1 << 20)
        app.router.add_route("*", "/{tail:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing.set()
        await self._runner.cleanup()

    def now(self) -> int:
        return time.time_ns() // 1_000_000 + self.skew_ms

    def _fault(self, op: str) -> str:
        for i, (of, fault) in enumerate(self.faults):
            if of == op:
                del self.faults[i]
                return fault
        return ""

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        try:
            body: object = json.loads(raw) if raw else None
        except ValueError:
            body = raw.decode(errors="replace")
        headers = {key.lower(): value for key, value in request.headers.items()}
        asked = Asked(
            method=request.method,
            path=request.path,
            query=dict(request.query),
            headers=headers,
            body=body,
        )
        self.seen.append(asked)
        op = self.emulator.op(asked)
        self.counted[op] += 1
        return await self._play(request, asked, self._fault(op))

    async def _play(self, request: web.Request, asked: Asked, fault: str) -> web.StreamResponse:
        if fault == "error_before":
            return _response(Reply(status=502, body="bad gateway"), self.now())
        if fault == "limited":
            return _response(self.emulator.limited(self.now(), asked)[0], self.now())
        on_the_way = fault in ("lost_reply", "error_after", "reset")
        reply = self.emulator.handle(self.now(), asked, "" if on_the_way else fault)
        if fault == "error_after":
            return _response(Reply(status=502, body="bad gateway"), self.now())
        if fault == "reset" and request.transport is not None:
            request.transport.close()
        if fault == "lost_reply":
            await asyncio.wait([asyncio.create_task(self._closing.wait())], timeout=LOST_S)
        return _response(reply, self.now())


def _response(reply: Reply, now_ms: int) -> web.Response:
    headers = {"Date": formatdate(now_ms / 1000, usegmt=True), **reply.headers}
    if reply.body is None:
        return web.Response(status=reply.status, headers=headers)
    text = isinstance(reply.body, str)
    kind = headers.pop("content-type", "text/plain" if text else "application/json")
    body = str(reply.body) if text else json.dumps(reply.body)
    return web.Response(status=reply.status, headers=headers, text=body, content_type=kind)
