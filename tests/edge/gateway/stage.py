"""A small stage: Ana's server jobs on her device, stand-ins behind them, and the address before."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from mesh.api.errors import RequestError
from mesh.edge.gateway.admission import Admission
from mesh.edge.gateway.fleet import FleetServers
from mesh.edge.gateway.listing import Listing
from mesh.edge.gateway.own import OwnServers, Served
from mesh.edge.gateway.relay import Relay
from mesh.edge.gateway.routes import Gateway
from mesh.edge.gateway.usage import UsageBook
from mesh.edge.serving.keys import Keys
from mesh.ledger.event import Event
from mesh.state.state import State
from tests.edge.gateway.stand_in import Script, StandIn
from tests.state.job_story import ANA, T0, event, told

MODEL = "tiny"
DEADLINE_S = 60  # generous on a shared machine: waiting ends when the condition holds
SOON_S = 1.0  # a departed client's slot must be free by then
RATE = {"purchase_nusd": 10**13, "lifetime_hours": 1000}


def device(name: str = "d", author: str = ANA) -> Event:
    return event("device_registered", -100, author, name)


def server(job_id: str, at: int = 0, device_id: str = "d", **asked: object) -> list[Event]:
    """A server job that runs."""
    given = {"kind": "server", "model": MODEL, **asked}
    return [
        event("job_submitted", at, job_id=job_id, **given),
        event("job_dispatched", at + 1, device=device_id, job_id=job_id, attempt=1),
        event("job_started", at + 2, device=device_id, job_id=job_id, attempt=1, pid=9),
    ]


def stands_at(home: Path, job_id: str, url: str, attempt: int = 1, **more: object) -> None:
    """What a server's job says of itself."""
    folder = home / "jobs" / job_id / str(attempt)
    folder.mkdir(parents=True, exist_ok=True)
    line = {"state": "serving", "url": url, "model": "inner", "slots": 1, "context": 4096}
    (folder / "answer.txt").write_text(json.dumps({**line, **more}) + "\n")


class Kept:
    """A test double: the real book, and what was booked, one by one."""

    def __init__(self, book: UsageBook) -> None:
        self.book = book
        self.served_ones: list[Served] = []

    def served(self, one: Served) -> int:
        self.served_ones.append(one)
        return self.book.served(one)


class NoStarts:
    """A test double: nothing comes up. `notes` are said, then it is refused, or nothing more."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.ever = False

    async def waits(self, model: str, context: int) -> AsyncGenerator[str, None]:
        for note in self.notes:
            yield note
        if self.ever:
            await asyncio.Event().wait()
        raise RequestError("UnknownModel", f"nobody serves {model!r}; there is {MODEL}", "", 404)


class Stage:
    """Everything of one peer but its ledger and its mesh."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.events: list[Event] = [device()]
        self.state = told(self.events)
        self.signed: list[dict[str, object]] = []
        self.at_ms = T0
        self.keys = Keys(ANA, "none", lambda: self.state, self.emit, lambda: self.at_ms)
        self.book = Kept(UsageBook(lambda: self.state, self.keys.tell_usage, lambda: self.at_ms))
        self.own = OwnServers(home, ANA, lambda: self.state, self.book)
        self.peers: Any = None
        self.linked: set[bytes] = set()
        self.fleet = FleetServers(
            ANA, lambda: self.state, self.own, lambda: self.peers, self.linked.__contains__
        )
        self.starts = NoStarts()
        self.relay = Relay(self.fleet, self.starts)
        self.admission = Admission(lambda: self.state, self.fleet, self.keys, lambda: self.at_ms)
        listing = Listing(lambda: self.state, self.fleet)
        self.gateway = Gateway(self.relay, listing, self.admission)
        self.stand_ins: list[StandIn] = []
        self.url = ""
        self.client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(force_close=True, limit=0),
            timeout=aiohttp.ClientTimeout(total=DEADLINE_S),
        )
        self._runner: web.AppRunner | None = None

    async def emit(self, kind: str, device_id: str, payload: dict[str, object]) -> None:
        self.signed.append({"type": kind, "device": device_id, **payload})

    def tell(self, *events: Event) -> State:
        self.events += events
        self.state = told(self.events)
        return self.state

    async def serves(self, script: Script, job_id: str = "j1", **more: object) -> StandIn:
        """A server job that runs, and the stand-in behind it."""
        stand_in = StandIn(script)
        self.stand_ins.append(stand_in)
        stands_at(self.home, job_id, await stand_in.open(), **more)
        self.tell(*server(job_id, 10 * len(self.stand_ins)))
        return stand_in

    async def open(self) -> None:
        self._runner = web.AppRunner(
            self.gateway.app(), handler_cancellation=True, shutdown_timeout=0.1
        )
        await self._runner.setup()
        sock = socket.create_server(("127.0.0.1", 0))
        await web.SockSite(self._runner, sock).start()
        self.url = f"http://127.0.0.1:{sock.getsockname()[1]}"

    async def close(self) -> None:
        await self.client.close()
        if self._runner is not None:
            await self._runner.cleanup()
        await self.own.close()
        for one in self.stand_ins:
            await one.close()

    # Asking

    async def post(
        self, path: str, body: object, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and the whole body."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with self.client.post(self.url + path, data=BytesIO(data), headers=headers) as said:
            return said.status, said.headers, await said.read()

    async def chat(
        self, *, stream: bool = False, secret: str = "", **more: object
    ) -> tuple[int, Mapping[str, str], bytes]:
        headers = {"Authorization": f"Bearer {secret}"} if secret else None
        return await self.post("/v1/chat/completions", chat(stream=stream, **more), headers)

    def busy(self, job_id: str = "j1", attempt: int = 1) -> int:
        known = self.own._known.get((job_id, attempt))
        return 0 if known is None else known.slots.busy + known.slots.waiting


def chat(*, stream: bool = False, **more: object) -> dict[str, object]:
    body = {"model": MODEL, "messages": [{"role": "user", "content": "say"}], "stream": stream}
    return {**body, **more}


def events_of(raw: bytes) -> list[Any]:
    """What a client reads of a stream."""
    lines = [one[6:] for one in raw.split(b"\n") if one.startswith(b"data: ")]
    return [one.decode() if one == b"[DONE]" else json.loads(one) for one in lines]


async def until(condition: Callable[[], object], what: str, within_s: float = DEADLINE_S) -> None:
    """Waits for a condition, never for luck."""
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, f"waited {within_s} s in vain for {what}"
        await asyncio.sleep(0.01)
