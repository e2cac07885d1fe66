"""Models that are to be kept up, or to come up when asked for: each service's home starts and ends
its servers, as jobs like all others.

What a service runs by (a path, options) stays on its home's disk; the ledger has its name alone.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol, final
from urllib.parse import quote

from mesh.api.bodies import base_name
from mesh.api.errors import RequestError
from mesh.api.jobs import parse_job
from mesh.edge.disk import StoreError
from mesh.edge.gateway.fleet import FleetServers, Row
from mesh.edge.jobs.intake import new_job_id
from mesh.edge.serving.loads import Loads
from mesh.edge.serving.settings import Settings
from mesh.edge.transport.call import Unanswered
from mesh.serving.routing import is_called
from mesh.state.facts.fact import encode
from mesh.state.facts.serving import ServiceEnded, ServiceSet
from mesh.state.jobs import FAILED, RUNNING, JobView
from mesh.state.peer_id import short_id
from mesh.state.serving.services import ServiceView
from mesh.state.state import State

LOOK_S: Final = 0.2
NOTE_EVERY: Final = 10  # looks
# Waiting longer than a load takes is worth a second copy; before the first load nobody knows.
ASSUMED_LOAD_MS: Final = 10_000
ASKED_S: Final = 10.0  # a demand is good for so long: who still waits says so again
DEMAND_S: Final = 3.0
# Who joined a moment ago is heard once the event that lets it in is here.
COUNTS_S: Final = 3.0
# Ids of servers that services started; of other jobs, people choose any.
OF_A_SERVICE: Final = re.compile(r"j-[a-z2-7]{10}-[0-9a-f]{10}-(.+)")
LOOK_AT_ROWS_S: Final = 3.0  # how often it is asked how its servers stand


class Jobs(Protocol):
    """Who takes jobs, at this peer."""

    async def submit(self, spec: Mapping[str, object]) -> str:
        """Admit a job; its id."""

    async def cancel(self, job_id: str) -> None:
        """Ask a job to end."""


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
        self._settings: Final = Settings(home)
        self._author: Final = author
        self._state: Final = state
        self._emit: Final = emit
        self._jobs: Final = jobs
        self._servers: Final = servers
        self._call: Final = call
        self._why: Final = why
        self._loads: dict[str, Loads] = {}

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
        parse_job({**spec, "serve": True})  # a wrong field is told now, not at every start
        label = base_name(model)
        mine = [one for one in self._mine() if one.model == label]
        service_id = mine[0].service_id if mine else _new_id(self._author)
        await self._settings.keep(service_id, spec)
        fact = ServiceSet(
            service_id=service_id,
            model=label,
            min_replicas=least,
            max_replicas=most,
            idle_ms=idle_ms,
        )
        await self._emit("service_set", "none", encode(fact))
        self._loads.pop(service_id, None)
        until_s = time.monotonic() + COUNTS_S
        while (kept := self._state().services.get(service_id)) is None:
            if time.monotonic() >= until_s:
                hint = "its name may be too long, or this peer's role too low"
                raise RequestError("NotKept", f"no {label[:80]!r} is kept up", hint, 409)
            await asyncio.sleep(LOOK_S)
        return kept

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
            await self._cancel(job)
        await self._settings.drop(service_id)

    async def _cancel(self, job: JobView) -> None:
        try:
            await self._jobs.cancel(job.job_id)
        except RequestError as error:
            if error.code != "AlreadyEnded":  # as it should
                raise

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
        services = self._state().services.values()
        named = [one for one in services if is_called(model, one.model)]
        if named:
            return min(named, key=self._rank)
        if next(self._servers.jobs(model), None) is not None:
            text = f"{model[:80]} is served, but by nobody who can be asked now"
            raise RequestError("NotReached", text, "fleet ps tells where", 503)
        known = {job.model for job in self._servers.jobs()} | {one.model for one in services}
        text = (
            f"nobody serves {model[:80]!r}; there is {', '.join(sorted(known))[:400] or 'nothing'}"
        )
        raise RequestError("UnknownModel", text, f"fleet serve {model[:80]}", 404)

    def _rank(self, one: ServiceView) -> tuple[bool, bool, str]:
        """Of services that keep up one model, ours is asked first, then one that can be."""
        return one.home != self._author, not self._servers.reaches(one.home), one.service_id

    async def _demand(self, service: ServiceView) -> str:
        """Tell a service's home that somebody waits; what for."""
        if service.home == self._author:
            return await self.demand(service.service_id)
        path = f"/v1/services/{quote(service.service_id, safe='')}/demand"
        try:
            async with asyncio.timeout(DEMAND_S):
                said = await self._call(bytes.fromhex(service.home), "POST", path, {})
        except (TimeoutError, Unanswered) as error:
            text = f"the peer that keeps {service.model[:80]} up does not answer"
            raise RequestError("Unreachable", text, "ask again", 503) from error
        return str(said.get("note", ""))[:400] if isinstance(said, dict) else ""

    async def demand(self, service_id: str) -> str:
        """Somebody waits for a service of ours; what for. RequestError where it can't come up."""
        service = self._state().services.get(service_id)
        if service is None or service.home != self._author:
            raise RequestError("NotFound", "no such service here", "fleet ps", 404)
        own = self._remembered(service_id)
        own.wanted_until_s = time.monotonic() + ASKED_S
        alive = self._alive(service_id)
        if not alive:
            own.refuse_while_paused(service.model)
        for job in alive:
            return await self._why(job) or f"{service.model} is loading"
        return f"{service.model} is starting"

    # Life

    async def step(self) -> None:
        """Start what is wanted, end what nobody asks."""
        jobs = self._by_service()
        for service in self._mine():
            own = self._remembered(service.service_id)
            own.count(jobs[service.service_id], self._servers.is_ready)
            alive = _alive(jobs[service.service_id])
            if any(job.status == RUNNING for job in alive):
                own.wanted_until_s = 0.0  # who waited goes there; who still waits says so again
            if self._wants_more(service, own, alive):
                await self._start(service, own, alive)
            elif alive and time.monotonic() >= own.look_s:
                own.look_s = time.monotonic() + LOOK_AT_ROWS_S
                await self._fit(service, own, alive)

    def _remembered(self, service_id: str) -> Loads:
        """What failed before we looked, or before the service was changed, is no reason to wait."""
        known = self._loads.get(service_id)
        if known is None:
            jobs = self._by_service()[service_id]
            known = Loads({job.job_id for job in jobs if job.status == FAILED})
            self._loads[service_id] = known
        return known

    def _wants_more(self, service: ServiceView, own: Loads, alive: list[JobView]) -> bool:
        now_s = time.monotonic()
        if len(alive) >= service.max_replicas or now_s < own.next_s:
            return False
        asked = now_s < own.wanted_until_s and not alive
        return asked or len(alive) < service.min_replicas

    async def _fit(self, service: ServiceView, own: Loads, alive: list[JobView]) -> None:
        """One server more where those who wait would wait longer than it takes to load; one less
        where nobody asks."""
        found = {job.job_id: row for job, row in await self._servers.rows()}
        rows = [(job, found.get(job.job_id)) for job in alive]
        ready = [(job, row) for job, row in rows if row is not None and row.ready]
        if len(ready) == len(alive) < service.max_replicas and time.monotonic() >= own.next_s:
            load_ms = max(row.load_ms for _, row in ready) or ASSUMED_LOAD_MS
            if all(row.waiting and row.wait_ms > load_ms for _, row in ready):
                await self._start(service, own, alive)
                return
        if service.idle_ms and len(alive) > service.min_replicas:
            await self._end_idle(service, ready)

    async def _start(self, service: ServiceView, own: Loads, alive: list[JobView]) -> None:
        job_id = f"{new_job_id(self._author)}-{service.service_id}"
        try:
            spec = await self._settings.read(service.service_id)
            if spec is None:
                raise RequestError("Gone", "its settings are gone from this machine")
            yields = len(alive) >= service.min_replicas
            await self._jobs.submit(
                {**spec, "serve": True, "job_id": job_id, "preemptible": yields}
            )
        except (RequestError, StoreError) as error:
            own.fail(error.text)

    async def _end_idle(self, service: ServiceView, ready: list[tuple[JobView, Row]]) -> None:
        """The one that nobody asked for longest, once that is long enough."""
        idlest = max(ready, key=lambda pair: pair[1].idle_ms, default=None)
        if idlest is not None and idlest[1].idle_ms >= service.idle_ms:
            await self._cancel(idlest[0])

    def _mine(self) -> list[ServiceView]:
        return [one for one in self._state().services.values() if one.home == self._author]

    def _by_service(self) -> defaultdict[str, list[JobView]]:
        """The servers of our services. Members may give a job of theirs any id: it is no server of
        ours."""
        found = defaultdict[str, list[JobView]](list)
        for job in self._servers.all():
            if job.home == self._author and (named := OF_A_SERVICE.fullmatch(job.job_id)):
                found[named[1]].append(job)
        return found

    def _alive(self, service_id: str) -> list[JobView]:
        return _alive(self._by_service()[service_id])


def _alive(jobs: list[JobView]) -> list[JobView]:
    return [job for job in jobs if not job.ended and not job.cancel_asked]


def _new_id(author: str) -> str:
    return f"s-{short_id(author)}-{secrets.token_hex(4)}"
