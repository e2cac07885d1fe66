"""The model servers on this peer's devices: who may ask them, in turn, and what it came to.

Every request to such a server passes here, whichever peer it came in at: so the slots are counted
once, and the device's owner books what was answered.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, final

from mesh.api.errors import RequestError
from mesh.edge.gateway.child import Broken, Children, Stream, bounded
from mesh.edge.gateway.slots import NEWEST, Slots
from mesh.edge.jobs.serving import Standing, standing
from mesh.edge.serving.jobs import ServerJobs
from mesh.serving.events import NoEvents, comment
from mesh.serving.family import PLAIN, Body
from mesh.serving.tally import Tally
from mesh.state.jobs import RUNNING, SERVER, AttemptView, JobView
from mesh.state.state import State

LOOK_S: Final = 0.25  # how often a server that loads is looked at
FRESH_S: Final = 1.0  # for so long a server stands as it stood
# A server that came up for somebody is asked within a moment; if not, they went away.
UNASKED_S: Final = 10.0
# Whoever waits hears of it this often: clients and what is between them give up at ten seconds.
NOTE_S: Final = 5.0
MEASURED_TOKENS: Final = 8  # of an answer whose speed means anything
COST: Final = "cost_nusd"  # what a comment after the answer begins with


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """What is asked of one server, for whom."""

    job_id: str
    path: str
    body: Body
    key_id: str = ""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """One request's end, to be booked."""

    job: JobView
    device_id: str
    key_id: str
    tally: Tally
    failed: bool
    share_s: float  # of its server's time: a second with four requests is a quarter of one for each


class Books(Protocol):
    """Who books what was answered."""

    def served(self, one: Served) -> int:
        """A request ended; what it cost, in nano-dollars."""


@final
@dataclass(slots=True)
class _Server:
    """One server job's attempt here."""

    slots: Slots
    callers: int = 0  # who is at it, or waits for it to load
    asked: bool = False  # somebody was
    stands: Standing | None = None
    read_s: float = float("-inf")
    up_s: float | None = None  # since when it could answer
    mtps: int = 0  # tokens of one answer in 1,000 s, as of the last answers; 0: none was measured
    # Seconds for each of those who are answered at the time, since the server began; see `share`.
    shared_s: float = 0.0
    since_s: float = 0.0

    def share(self, now_s: float) -> float:
        """The seconds that one request, answered all the time, would have had of it."""
        if self.slots.busy:
            self.shared_s += (now_s - self.since_s) / self.slots.busy
        self.since_s = now_s
        return self.shared_s


@final
class OwnServers:
    """This peer's. `author` owns the devices."""

    def __init__(self, home: Path, author: str, state: Callable[[], State], books: Books) -> None:
        self._home: Final = home
        self._author: Final = author
        self._state: Final = state
        self._books: Final = books
        self.jobs: Final = ServerJobs(state)
        self._children: Final = Children()
        self._known: dict[tuple[str, int], _Server] = {}

    async def close(self) -> None:
        """Let go of what is open."""
        await self._children.close()

    def running(self) -> Iterator[tuple[JobView, AttemptView]]:
        """The server jobs whose attempts run here."""
        yield from self.attempts(RUNNING)

    def attempts(self, status: str) -> Iterator[tuple[JobView, AttemptView]]:
        """Those of server jobs that are here and stand so, and that nobody wants to end."""
        for job in self.jobs.all():
            for one in () if job.cancel_asked else job.attempts:
                if one.owner == self._author and one.status == status:
                    yield job, one

    async def rows(self) -> list[Body]:
        """How each stands, for whoever has to choose one."""
        running = list(self.running())
        alive = {(job.job_id, one.number) for job, one in running}
        self._known = {key: one for key, one in self._known.items() if key in alive or one.callers}
        return [_row(job, one, await self._look(job, one)) for job, one in running]

    async def answer(self, want: Want) -> AsyncGenerator[bytes, None]:
        """The server's stream, with a comment now and then before it begins.

        RequestError where it says no, Broken where it breaks off. To be closed in any case: that
        ends what it was asked.
        """
        job, one = self._find(want.job_id)
        server = _called(self._server(job, one))
        try:
            while (await self._look(job, one)).stands is None:
                yield comment(f"{job.model} is loading on {one.device_id}")
                await asyncio.sleep(LOOK_S)
                job, one = self._find(want.job_id)
                server.callers -= 1  # a further attempt is another server
                server = _called(self._server(job, one))
            async with aclosing(self._in_turn(want, job, one, server)) as said:
                async for chunk in said:
                    yield chunk
        finally:
            server.callers -= 1

    async def _in_turn(
        self, want: Want, job: JobView, one: AttemptView, server: _Server
    ) -> AsyncGenerator[bytes, None]:
        server.share(time.monotonic())
        door = server.slots.join()
        try:
            while not await door.comes(NOTE_S):
                place = server.slots.place(door)
                yield comment(f"queued: {place} before you")
            async with aclosing(self._asked(want, job, one, server)) as said:
                async for chunk in said:
                    yield chunk
        finally:
            server.share(time.monotonic())
            server.slots.leave(door)

    async def _asked(
        self, want: Want, job: JobView, one: AttemptView, server: _Server
    ) -> AsyncGenerator[bytes, None]:
        had_s, tally = server.share(time.monotonic()), Tally(time.monotonic)
        streams = want.path not in PLAIN
        try:
            # Somebody before this one may have found it broken.
            stands = server.stands or (await self._look(job, one)).stands
            if stands is None:
                raise Broken("the model's server is gone")
            async with self._children.ask(stands, want.path, want.body) as stream:
                passing = _counted(stream, tally) if streams else _whole(stream, tally)
                async with aclosing(passing) as chunks:
                    async for chunk in chunks:
                        yield chunk
        except Broken:
            server.stands = None  # looked at anew
            raise
        finally:
            share_s = server.share(time.monotonic()) - had_s
            server.mtps = _speed(tally, server.mtps)
            cost_nusd = self._books.served(
                Served(
                    job=job,
                    device_id=one.device_id,
                    key_id=want.key_id,
                    tally=tally,
                    failed=not tally.whole,
                    share_s=share_s,
                )
            )
        if streams and tally.is_between:
            yield comment(f"{COST}={cost_nusd}")

    def _find(self, job_id: str) -> tuple[JobView, AttemptView]:
        job = self._state().jobs.get(job_id)
        if job is not None and job.kind == SERVER and not job.cancel_asked:
            for one in job.attempts:
                if one.owner == self._author and one.status == RUNNING:
                    return job, one
        raise RequestError("NotServed", f"{job_id[:80]} does not serve here", "ask again", 503)

    def _server(self, job: JobView, one: AttemptView) -> _Server:
        key = job.job_id, one.number
        return self._known.setdefault(key, _Server(Slots(1, time.monotonic)))

    async def _look(self, job: JobView, one: AttemptView) -> _Server:
        """How a server stands, read from its own words; `stands` is None until it can answer."""
        known, now_s = self._server(job, one), time.monotonic()
        if now_s - known.read_s < FRESH_S and known.stands is not None:
            return known
        said = await asyncio.to_thread(standing, self._home, job.job_id)
        known.read_s = now_s
        known.stands = said if said is not None and said.state != "stopped" else None
        if known.stands is not None and known.up_s is None:
            known.up_s = now_s
        if known.stands is not None and known.slots.size != max(1, known.stands.slots):
            known.slots.resize(known.stands.slots)
        return known

    def idle_s(self, job: JobView, one: AttemptView) -> float:
        """For how long nobody is at a server or waits for it to load; a server that nobody asked
        yet is not idle for a while: it came up for somebody."""
        known = self._server(job, one)
        if known.callers:
            return 0.0
        return known.slots.idle_s - (0.0 if known.asked else UNASKED_S)

    def up_s(self, job: JobView, one: AttemptView) -> float:
        """For how long a server could answer; 0 of one that loads."""
        since_s = self._server(job, one).up_s
        return 0.0 if since_s is None else time.monotonic() - since_s

    def make_room(self, job: JobView, one: AttemptView) -> bool:
        """Let nobody to a server any more; whether nobody is there."""
        known = self._server(job, one)
        known.slots.close()
        return known.slots.busy == 0


def _called(server: _Server) -> _Server:
    """Somebody is at it now."""
    server.callers, server.asked = server.callers + 1, True
    return server


def _speed(tally: Tally, known_mtps: int) -> int:
    """An answer's tokens a second from its first to its last, in thousandths, with those before."""
    if tally.first_s is None or tally.tokens < MEASURED_TOKENS or tally.took_s <= tally.first_s:
        return known_mtps
    found = round(1000 * (tally.tokens - 1) / (tally.took_s - tally.first_s))
    return found if not known_mtps else round(known_mtps + NEWEST * (found - known_mtps))


async def _counted(stream: Stream, tally: Tally) -> AsyncGenerator[bytes, None]:
    async for chunk in stream.chunks():
        try:
            tally.feed(chunk)
        except NoEvents as error:
            raise Broken(f"the model's server sends {error}") from error
        yield chunk


async def _whole(stream: Stream, tally: Tally) -> AsyncGenerator[bytes, None]:
    raw = await bounded(stream)
    tally.read(raw)
    yield raw


def _row(job: JobView, one: AttemptView, server: _Server) -> Body:
    stands, slots = server.stands, server.slots
    return {
        "job_id": job.job_id,
        "model": job.model,
        "device_id": one.device_id,
        "ready": stands is not None and not slots.closed,
        "engine": "" if stands is None else stands.engine,
        "slots": slots.size,
        "context": 0 if stands is None else stands.context,
        "load_ms": 0 if stands is None else stands.load_ms,
        "busy": slots.busy,
        "waiting": slots.waiting,
        "wait_ms": round(1000 * slots.wait_s(slots.waiting)),
        "idle_ms": round(1000 * slots.idle_s),
        "mtps": server.mtps,
    }
