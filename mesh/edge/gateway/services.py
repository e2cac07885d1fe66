"""Models that are to be kept up, or to come up when asked for: each service's home starts and ends
its servers, as jobs like all others.

What a service runs by (a path, options) stays on its home's disk; the ledger has its name alone.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, final

from mesh.api.bodies import base_name
from mesh.api.errors import RequestError
from mesh.edge.disk import explained
from mesh.edge.gateway.fleet import FleetServers, Row
from mesh.edge.jobs.intake import new_job_id
from mesh.serving.routing import is_called
from mesh.state.facts.fact import encode
from mesh.state.facts.serving import ServiceEnded, ServiceSet
from mesh.state.fold import State
from mesh.state.jobs import FAILED, RUNNING, JobView
from mesh.state.serving.services import ServiceView
from providers.durable import read_json, write_json

FOLDER: Final = "services"
# After a load that failed, doubled each time: whoever asks meanwhile is told why at once.
FIRST_PAUSE_S: Final = 5.0
LAST_PAUSE_S: Final = 300.0
LOOK_S: Final = 0.2
NOTE_EVERY: Final = 10  # looks
# Waiting longer than a load takes is worth a second copy; before the first load nobody knows.
ASSUMED_LOAD_MS: Final = 10_000
ASKED_S: Final = 10.0  # a demand is good for so long: who still waits says so again
DEMAND_S: Final = 3.0
LOOK_AT_ROWS_S: Final = 3.0  # how often it is asked how its servers stand


class Jobs(Protocol):
    """Who takes jobs, at this peer."""

    async def submit(self, spec: Mapping[str, object]) -> str:
        """Admit a job; its id."""

    async def cancel(self, job_id: str) -> None:
        """Ask a job to end."""


@final
@dataclass(slots=True)
class _Own:
    """What the home remembers of one of its services."""

    wanted_until_s: float = 0.0
    pause_s: float = 0.0
    next_s: float = 0.0
    look_s: float = 0.0  # when its servers are looked at next
    why: str = ""  # the last load failed of this
    failed: set[str] = field(default_factory=set)  # jobs whose failure was counted


Emit = Callable[[str, str, dict[str, object]], Awaitable[object]]
Call = Callable[[bytes, str, str, Any], Awaitable[Any]]


@final
class Services:
    """One peer's. `call` asks another member, `why` says what a job waits for."""

    def __init__(
        self,
        home: Path,
        author: str,
        state: Callable[[], State],
        emit: Emit,
        jobs: Jobs,
        servers: FleetServers,
        call: Call,
        why: Callable[[JobView], Awaitable[str]],
    ) -> None:
        self._folder: Final = home / FOLDER
        self._author: Final = author
        self._state: Final = state
        self._emit: Final = emit
        self._jobs: Final = jobs
        self._servers: Final = servers
        self._call: Final = call
        self._why: Final = why
        self._own: dict[str, _Own] = {}

    # People

    async def keep(
        self, spec: Mapping[str, object], *, least: int, most: int, idle_ms: int
    ) -> ServiceView:
        """Keep a model up; a service of ours with the same model is changed instead."""
        model = str(spec.get("model") or "")
        if not model:
            raise RequestError("BadField", "model must be a model", "fleet serve MODEL")
        if not 0 <= least <= most or not most:
            raise RequestError("BadField", "min and max: 0 <= min <= max, and max >= 1")
        label = base_name(model)
        mine = [one for one in self._mine() if one.model == label]
        service_id = mine[0].service_id if mine else _new_id(self._author)
        await asyncio.to_thread(self._write, service_id, spec)
        fact = ServiceSet(
            service_id=service_id,
            model=label,
            min_replicas=least,
            max_replicas=most,
            idle_ms=idle_ms,
        )
        await self._emit("service_set", "none", encode(fact))
        self._own.pop(service_id, None)
        return self._state().services[service_id]

    def all(self) -> list[ServiceView]:
        """Every service of the fleet."""
        return list(self._state().services.values())

    async def end(self, service_id: str) -> None:
        """Keep it up no more; its servers end."""
        service = self._state().services.get(service_id)
        if service is None:
            raise RequestError("NotFound", f"no service {service_id[:80]}", "fleet ps", 404)
        if service.home != self._author:
            raise RequestError("NotHere", "another peer keeps it up", "end it there", 409)
        fact = ServiceEnded(service_id=service_id)
        await self._emit("service_ended", "none", encode(fact))
        for job in self._alive(service_id):
            await self._jobs.cancel(job.job_id)

    # Demand

    async def waits(self, model: str, context: int) -> AsyncGenerator[str, None]:
        """Have a server of a model come up: says what is waited for, and ends when there is one.

        RequestError where there never will be.
        """
        had = {job.job_id for job in self._servers.jobs(model)}
        looks = 0
        while True:
            service = self._service(model)
            if looks % NOTE_EVERY == 0:
                yield await self._demand(service)
            if {job.job_id for job in self._servers.jobs(model)} - had:
                return
            had &= {job.job_id for job in self._servers.jobs(model)}
            looks += 1
            await asyncio.sleep(LOOK_S)

    def _service(self, model: str) -> ServiceView:
        found = [one for one in self._state().services.values() if is_called(model, one.model)]
        if found:  # ours first: it may know a path that another home's does not
            return min(found, key=lambda one: (one.home != self._author, one.service_id))
        named = {job.model for job in self._servers.jobs()}
        named |= {one.model for one in self._state().services.values()}
        text = (
            f"nobody serves {model[:80]!r}; there is {', '.join(sorted(named))[:400] or 'nothing'}"
        )
        raise RequestError("UnknownModel", text, f"fleet serve {model[:80]}", 404)

    async def _demand(self, service: ServiceView) -> str:
        """Tell a service's home that somebody waits; what for."""
        if service.home == self._author:
            return await self.demand(service.service_id)
        path = f"/v1/services/{service.service_id}/demand"
        async with asyncio.timeout(DEMAND_S):
            said = await self._call(bytes.fromhex(service.home), "POST", path, {})
        return str(said.get("note", ""))[:400] if isinstance(said, dict) else ""

    async def demand(self, service_id: str) -> str:
        """Somebody waits for a service of ours; what for. RequestError where it can't come up."""
        service = self._state().services.get(service_id)
        if service is None or service.home != self._author:
            raise RequestError("NotFound", "no such service here", "fleet ps", 404)
        own, now_s = self._own.setdefault(service_id, _Own()), time.monotonic()
        own.wanted_until_s = now_s + ASKED_S
        alive = self._alive(service_id)
        if not alive and own.next_s > now_s:
            raise _LoadFailed(service.model, own.why, own.next_s - now_s)
        for job in alive:
            return await self._why(job) or f"{service.model} is loading"
        return f"{service.model} is starting"

    # Life

    async def step(self) -> None:
        """Start what is wanted, end what nobody asks."""
        for service in self._mine():
            own = self._own.setdefault(service.service_id, _Own())
            self._count_failures(service, own)
            alive = self._alive(service.service_id)
            if self._wants_more(service, own, alive):
                await self._start(service, own)
            elif alive and time.monotonic() >= own.look_s:
                own.look_s = time.monotonic() + LOOK_AT_ROWS_S
                await self._fit(service, own, alive)

    def _wants_more(self, service: ServiceView, own: _Own, alive: list[JobView]) -> bool:
        now_s = time.monotonic()
        if len(alive) >= service.max_replicas or now_s < own.next_s:
            return False
        asked = now_s < own.wanted_until_s and not alive
        return asked or len(alive) < service.min_replicas

    async def _fit(self, service: ServiceView, own: _Own, alive: list[JobView]) -> None:
        """One server more where those who wait would wait longer than it takes to load; one less
        where nobody asks."""
        found = {job.job_id: row for job, row in await self._servers.rows()}
        rows = [(job, found.get(job.job_id)) for job in alive]
        ready = [(job, row) for job, row in rows if row is not None and row.ready]
        if len(ready) == len(alive) < service.max_replicas and time.monotonic() >= own.next_s:
            load_ms = max(row.load_ms for _, row in ready) or ASSUMED_LOAD_MS
            if all(row.waiting and row.wait_ms > load_ms for _, row in ready):
                await self._start(service, own)
                return
        if service.idle_ms and len(alive) > service.min_replicas:
            await self._end_idle(service, ready)

    async def _start(self, service: ServiceView, own: _Own) -> None:
        spec = await asyncio.to_thread(self._read, service.service_id)
        job_id = f"{new_job_id(self._author)}-{service.service_id}"
        try:
            if spec is None:
                raise RequestError("Gone", "its settings are gone from this machine")
            yields = len(self._alive(service.service_id)) >= service.min_replicas
            await self._jobs.submit(
                {**spec, "serve": True, "job_id": job_id, "preemptible": yields}
            )
        except RequestError as error:
            self._failed(own, error.text)

    def _failed(self, own: _Own, why: str) -> None:
        own.why = why
        own.pause_s = min(LAST_PAUSE_S, 2 * own.pause_s) if own.pause_s else FIRST_PAUSE_S
        own.next_s = time.monotonic() + own.pause_s

    def _count_failures(self, service: ServiceView, own: _Own) -> None:
        for job in self._jobs_of(service.service_id):
            if job.status == FAILED and job.job_id not in own.failed:
                own.failed.add(job.job_id)
                self._failed(own, job.text or job.reason)
            elif job.status == RUNNING and job.started_ms:
                own.pause_s = 0.0 if self._servers.is_ready(job) else own.pause_s

    async def _end_idle(self, service: ServiceView, ready: list[tuple[JobView, Row]]) -> None:
        """The one that nobody asked for longest, once that is long enough."""
        idlest = max(ready, key=lambda pair: pair[1].idle_ms, default=None)
        if idlest is not None and idlest[1].idle_ms >= service.idle_ms:
            await self._jobs.cancel(idlest[0].job_id)

    def _mine(self) -> list[ServiceView]:
        return [one for one in self._state().services.values() if one.home == self._author]

    def _jobs_of(self, service_id: str) -> list[JobView]:
        jobs = list(self._state().jobs.values())
        return [job for job in jobs if job.job_id.endswith(f"-{service_id}")]

    def _alive(self, service_id: str) -> list[JobView]:
        return [job for job in self._jobs_of(service_id) if not job.ended and not job.cancel_asked]

    # Disk

    def _write(self, service_id: str, spec: Mapping[str, object]) -> None:
        with explained("cannot keep a service's settings"):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_json(self._folder / f"{service_id}.json", dict(spec))

    def _read(self, service_id: str) -> dict[str, object] | None:
        return read_json(self._folder / f"{service_id}.json")


@final
class _LoadFailed(RequestError):
    """A model did not come up a moment ago."""

    def __init__(self, model: str, why: str, again_s: float) -> None:
        self.retry_after_s: Final = max(1, min(60, round(again_s)))
        text = f"{model} could not be loaded: {why[:400]}"
        super().__init__("LoadFailed", text, f"it is tried again in {self.retry_after_s} s", 503)


def _new_id(author: str) -> str:
    from mesh.state.peer_id import short_id

    return f"s-{short_id(author)}-{secrets.token_hex(4)}"
