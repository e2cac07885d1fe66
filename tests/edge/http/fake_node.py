"""A node in memory behind the HTTP API: its ledger is an unsigned list, its jobs never start."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from aiohttp.test_utils import TestClient

from mesh.api.errors import RequestError
from mesh.api.jobs import parse_job
from mesh.api.requests import parse_note, parse_plan
from mesh.api.wire.claims import Standing
from mesh.edge.capacity import capacity_query
from mesh.edge.http.ports import Calibration
from mesh.edge.jobs.forget import forget
from mesh.edge.store.ledger import ImportReport, VerifyReport
from mesh.edge.sweep import sweep_query
from mesh.ledger.event import Event
from mesh.state.fold import apply, fold
from mesh.state.jobs import JobView
from mesh.state.state import State

TOKEN = "a-token-of-this-test"
AUTH = {"Authorization": f"Bearer {TOKEN}"}
NOW = 1_750_000_000_000


class FakeNode:
    """A test double: a node whose ledger is a list, unsigned, and whose jobs never start."""

    def __init__(self, folder: Path) -> None:
        self.folder = self.home = folder
        self.state = State()
        self.ready = True
        self.stopped = False
        self.standing: dict[str, Standing] = {}
        self.ledger: list[Event] = []
        self.bells: set[asyncio.Queue[Event | None]] = set()

    def record(self, event_type: str, device_id: str, payload: dict[str, object]) -> Event:
        seq = len(self.ledger) + 1
        event = Event(
            id=f"evt-{seq}",
            hash=f"{seq:064x}",
            timestamp="2025-06-15T15:06:40.000Z",
            device_id=device_id,
            event_type=event_type,
            payload=payload,
            author="ab" * 32,
            seq=seq,
            prev="0" * 64,
            hlc=f"{NOW + seq}-00000",
            sig="00" * 64,
            v=1,
        )
        self.ledger.append(event)
        apply(self.state, event)
        for bell in self.bells:
            bell.put_nowait(event)
        return event

    def now(self) -> int:
        return NOW

    def every_job(self) -> State:
        return fold(self.ledger, keep_ended=1 << 30)

    async def find_job(self, job_id: str) -> JobView | None:
        return self.every_job().jobs.get(job_id)

    def status(self, *, running: bool = True) -> dict[str, object]:
        return {"events": len(self.ledger)}

    def plan(self, query: Mapping[str, object]) -> dict[str, object]:
        return {"query": {"model": parse_plan(query).model}, "placements": [], "refusals": []}

    def capacity(self, query: Mapping[str, object]) -> dict[str, object]:
        return capacity_query(self.state, query)

    def sweep(self, query: Mapping[str, object]) -> dict[str, object]:
        return sweep_query(self.state, query)

    async def submit(self, spec: Mapping[str, object]) -> str:
        job = parse_job(spec)
        job_id = job.job_id or f"j-{len(self.ledger)}"
        fact: dict[str, object] = {
            "job_id": job_id,
            "kind": "model",
            "model": job.model,
            "on": job.on,
        }
        self.record("job_submitted", "d1", fact)
        return job_id

    async def cancel(self, job_id: str) -> None:
        self.record("job_cancel_requested", "d1", {"job_id": job_id})

    async def standings(self, jobs: Sequence[JobView]) -> Mapping[str, Standing]:
        return self.standing

    async def adopt(self, job_id: str) -> dict[str, object]:
        self.record("job_adopted", "d1", {"job_id": job_id, "epoch": 1})
        return {"job_id": job_id, "epoch": 1}

    async def forget(self, job_id: str) -> dict[str, object]:
        return forget(self.home, "ab" * 32, self.state, job_id, self.every_job)

    async def note(self, text: str) -> Event:
        return self.record("note_added", "d1", {"text": parse_note(text)})

    async def add_device(self, payload: Mapping[str, object]) -> Event:
        return self.record("device_registered", str(payload["name"]), dict(payload))

    async def remove_device(self, device: str, reason: str) -> Event:
        if device not in self.state.devices:
            raise RequestError("NotFound", f"no device {device!r}", "", 404)
        return self.record("device_removed", device, {"reason": reason})

    async def calibrate(self) -> Calibration:
        event = self.record("device_registered", "d", {"name": "d"})
        return Calibration(events=[event], busy="1 of 2 cores idle")

    async def verify(self) -> VerifyReport:
        return VerifyReport(ok=True, count=len(self.ledger), findings=())

    async def import_(self, path: Path, name: str) -> ImportReport:
        lines = len((await asyncio.to_thread(path.read_bytes)).splitlines())
        return ImportReport(
            lines=lines, admitted=lines, known=0, held=0, rejected=(), rejected_count=0
        )

    def events(self, after: int = 0, limit: int | None = None) -> Iterator[tuple[int, Event]]:
        end = None if limit is None else after + limit
        return iter(list(enumerate(self.ledger, 1))[after:end])

    async def subscribe(self) -> AsyncIterator[Event]:
        bell: asyncio.Queue[Event | None] = asyncio.Queue()
        self.bells.add(bell)
        try:
            while (event := await bell.get()) is not None:
                yield event
        finally:
            self.bells.discard(bell)

    def leave_out(self) -> None:
        """End every subscription, as the node does with readers that fall behind."""
        for bell in list(self.bells):
            bell.put_nowait(None)
            self.bells.discard(bell)

    def log_path(self, job: JobView | str) -> Path:
        return self.folder / f"{_id(job)}.txt"

    def answer_path(self, job: JobView | str) -> Path:
        return self.folder / f"{_id(job)}.answer.txt"

    def all_here(self, job_id: str) -> bool:
        return True

    @property
    def owner(self) -> Any:
        return FakeOwner()

    def shutdown(self) -> None:
        self.stopped = True


class FakeOwner:
    """A test double: gives whatever is asked for."""

    def __getattr__(self, name: str) -> Any:
        async def later(*_: object) -> dict[str, object]:
            return {}

        return later


async def refused(
    client: TestClient[Any, Any], method: str, path: str, status: int, **more: Any
) -> dict[str, str]:
    async with client.request(method, path, **more) as response:
        said: dict[str, str] = await response.json()
        assert (response.status, set(said)) == (status, {"code", "text", "hint"}), said
        return said


async def message(response: Any) -> dict[str, str]:
    """The next server-sent event's fields, comments skipped."""
    fields: dict[str, str] = {}
    while line := (await response.content.readline()).decode().rstrip("\n"):
        name, _, value = line.partition(": ")
        fields[name] = value
    return fields


def _id(job: JobView | str) -> str:
    return job if isinstance(job, str) else job.job_id
