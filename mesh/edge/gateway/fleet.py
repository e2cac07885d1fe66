"""Every model server of the fleet, as this peer sees it: found in the ledger, asked of its owner.

The ledger says which server jobs run, on every peer alike; whether one is ready and who is at it,
its owner is asked, as long as somebody wants to know.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Annotated, Any, Final, Protocol, final

import msgspec

from mesh.api.errors import RequestError
from mesh.edge.gateway.own import OwnServers, Want
from mesh.serving.family import Body
from mesh.serving.routing import LINK_MS, Option, is_called
from mesh.state.jobs import RUNNING, JobView
from mesh.state.state import State

REPLICAS: Final = "/v1/replicas"
SERVE: Final = "/v1/serve"
FRESH_S: Final = 1.0  # for so long an owner's word on its servers is taken
# For so long more nobody waits for a newer word, which is on its way: what is new are its waits.
STALE_S: Final = 5.0
SILENT_S: Final = 5.0  # an owner that did not answer is left alone for so long
MAX_ROWS: Final = 4096  # of one owner: what a peer says beyond that is no list of servers

Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 42)]


class Peers(Protocol):
    """Who asks other members."""

    async def call(self, key: bytes, method: str, path: str, body: Any = None) -> Any:
        """One answer."""

    def pour(self, key: bytes, path: str, body: bytes) -> AsyncGenerator[bytes, None]:
        """An answer as it comes."""


@final
class Row(msgspec.Struct, frozen=True, kw_only=True):
    """How an owner says that one of its servers stands."""

    job_id: str
    device_id: str = ""
    ready: bool = False
    context: Count = 0
    load_ms: Count = 0
    wait_ms: Count = 0
    busy: Count = 0
    waiting: Count = 0
    slots: Count = 0
    idle_ms: Count = 0
    mtps: Count = 0
    engine: str = ""


@final
class _Owner:
    """What one peer said of its servers."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.until_s = float("-inf")
        self.asking: asyncio.Task[None] | None = None


@final
class FleetServers:
    """Every server this peer can reach. `linked` says whether a peer is."""

    def __init__(
        self,
        author: str,
        state: Callable[[], State],
        own: OwnServers,
        peers: Callable[[], Peers | None],
        linked: Callable[[bytes], bool],
    ) -> None:
        self._author: Final = author
        self._state: Final = state
        self._own: Final = own
        self._peers: Final = peers
        self._linked: Final = linked
        self._owners: dict[str, _Owner] = {}

    def jobs(self, model: str = "") -> Iterator[JobView]:
        """The server jobs that run, of a model or all."""
        for job in self.all():
            runs = job.status == RUNNING and not job.cancel_asked
            if runs and (not model or is_called(model, job.model)):
                yield job

    def all(self) -> list[JobView]:
        """Every server job that the ledger has, those that ended too."""
        return self._own.jobs.all()

    async def options(self, model: str) -> list[Option]:
        """The servers of a model whose owners can be reached, as they stand."""
        jobs = [job for job in self.jobs(model) if self.reaches(job.owner)]
        await asyncio.gather(*(self._ask(owner) for owner in {job.owner for job in jobs}))
        return [self._option(job) for job in jobs]

    async def rows(self) -> list[tuple[JobView, Row | None]]:
        """All of them, for people to see; None where its owner says nothing of it."""
        jobs = list(self.jobs())
        owners = {job.owner for job in jobs if self.reaches(job.owner)}
        await asyncio.gather(*(self._ask(owner) for owner in owners))
        return [(job, self._row(job) if job.owner in owners else None) for job in jobs]

    def said(self, option: Option, want: Want) -> AsyncGenerator[bytes, None]:
        """A server's answer as it comes. To be closed in any case."""
        if option.owner == self._author:
            return self._own.answer(want)
        peers = self._peers()
        if peers is None:
            raise RequestError("Unreachable", "this peer reaches no other", "fleet doctor", 503)
        body = {"path": want.path, "body": want.body, "key_id": want.key_id}
        path = f"{SERVE}/{want.job_id}"
        return peers.pour(bytes.fromhex(option.owner), path, msgspec.json.encode(body))

    def is_ready(self, job: JobView) -> bool:
        """Whether a server could answer when its owner was asked last."""
        row = self._row(job)
        return row is not None and row.ready

    def forget(self, owner: str) -> None:
        """A server of this owner's did not answer: it is asked anew."""
        self._owners.pop(owner, None)

    def reaches(self, owner: str) -> bool:
        """Whether a peer can be asked now."""
        return owner == self._author or self._linked(bytes.fromhex(owner))

    def _row(self, job: JobView) -> Row | None:
        known = self._owners.get(job.owner)
        return None if known is None else known.rows.get(job.job_id)

    def _option(self, job: JobView) -> Option:
        row = self._row(job)
        return Option(
            job_id=job.job_id,
            owner=job.owner,
            device_id=job.device_id,
            ready=row is not None and row.ready,
            wait_ms=0 if row is None else row.wait_ms,
            context=0 if row is None else row.context,
            slots=1 if row is None else max(1, row.slots),
            busy=0 if row is None else row.busy,
            link_ms=0.0 if job.owner == self._author else LINK_MS,
        )

    async def _ask(self, owner: str) -> None:
        """Have a fresh word of an owner; several who want it at once wait for the same answer."""
        known = self._owners.setdefault(owner, _Owner())
        if owner == self._author:
            await self._refresh(owner, known)
            return
        late_s = time.monotonic() - known.until_s
        if late_s < 0:
            return
        if known.asking is None or known.asking.done():
            known.asking = asyncio.create_task(self._refresh(owner, known))
        if not known.rows or late_s > STALE_S:
            await asyncio.shield(known.asking)

    async def _refresh(self, owner: str, known: _Owner) -> None:
        try:
            found = await self._rows_of(owner)
            rows = msgspec.convert(found[:MAX_ROWS], list[Row], strict=True)
            known.rows, fresh_s = {row.job_id: row for row in rows}, FRESH_S
        except (RequestError, msgspec.ValidationError, TimeoutError):
            known.rows, fresh_s = {}, SILENT_S
        # Of our own servers we know at any moment.
        known.until_s = time.monotonic() + (0 if owner == self._author else fresh_s)

    async def _rows_of(self, owner: str) -> list[Body]:
        if owner == self._author:
            return await self._own.rows()
        peers = self._peers()
        if peers is None:
            return []
        async with asyncio.timeout(SILENT_S):
            said = await peers.call(bytes.fromhex(owner), "GET", REPLICAS)
        rows = said.get("replicas") if isinstance(said, dict) else None
        return rows if isinstance(rows, list) else []
