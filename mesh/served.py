"""What a node does for its HTTP server: the answers that `http.ports.ServedNode` describes.

Knows no socket and no loop: `mesh.node` puts the parts together that are asked here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from pathlib import Path

from mathcore.device import DeviceSpec
from mesh.api.errors import RequestError
from mesh.api.hardware import parse_device
from mesh.api.requests import parse_note
from mesh.api.rows import status_dict
from mesh.edge.capacity import capacity_query
from mesh.edge.dispatch.peer import Dispatch
from mesh.edge.dispatch.ports import Owner
from mesh.edge.http.ports import Calibration, Files
from mesh.edge.inventory import LocalDevices
from mesh.edge.jobs.forget import forget
from mesh.edge.jobs.intake import Intake
from mesh.edge.live import Live
from mesh.edge.planning import Quotes, plan_query
from mesh.edge.replication import Replication
from mesh.edge.ssh.hosts import SshHosts
from mesh.edge.store.ledger import ImportReport, Ledger, VerifyReport
from mesh.edge.store.state import load_state
from mesh.edge.store.transfer import import_ as import_file
from mesh.edge.telemetry.recorder import Telemetry
from mesh.followers import Followers
from mesh.ledger.event import Event
from mesh.ledger.gate import Accept, Admission, Fork
from mesh.state.devices import own_id
from mesh.state.facts.device import DeviceRemoved
from mesh.state.facts.events import NoteAdded
from mesh.state.facts.fact import encode
from mesh.state.jobs import JobView
from mesh.state.state import State
from providers.engine.llamacpp import ANSWER_FILE


def now_ms() -> int:
    """Milliseconds UTC."""
    return time.time_ns() // 1_000_000


class Served:
    """Answers from the parts of a node, which `Node` sets."""

    home: Path
    peer_id: str
    dispatch: Dispatch
    ssh: SshHosts
    telemetry: Telemetry
    gateway_url: str  # where tools find every model, once it is open
    quotes: Quotes  # what is known of machines to rent
    resting: Callable[[], str]  # why unasked work waits; "" where none does
    _followers: Followers
    _intake: Intake
    _ledger: Ledger
    _live: Live
    _local: LocalDevices
    _replication: Replication

    @property
    def state(self) -> State:
        return self._live.state

    def now(self) -> int:
        return now_ms()

    async def emit(self, event_type: str, device_id: str, payload: dict[str, object]) -> Event:
        """Sign, store durably, fold in and tell subscribers; in this order."""
        return await self._live.emit(event_type, device_id, payload)

    def subscribe(self) -> AsyncIterator[Event]:
        """Every event from now on; ends for a reader that falls far behind."""
        return self._followers.follow()

    def events(self, after: int = 0, limit: int | None = None) -> Iterator[tuple[int, Event]]:
        return self._ledger.events(after, limit)

    def every_job(self) -> State:
        return load_state(self.home, every_job=True)

    def status(self, *, running: bool = True) -> dict[str, object]:
        """The fleet at a glance; `waiting_for` says why this peer signs nothing yet, or ""."""
        found = status_dict(self.state, now_ms(), self.peer_id, daemon=True, running=running)
        gateway = {"url": self.gateway_url}
        said = {"waiting_for": self._live.waiting_for, "resting": self.resting()}
        return found | said | {"gateway": gateway}

    def devices(self) -> list[DeviceSpec]:
        """This machine's devices with the free memory of this moment."""
        return self.telemetry.devices()

    def plan(self, query: Mapping[str, object]) -> dict[str, object]:
        live = [*self.devices(), *self.ssh.live(self.state)]
        author, quotes = self._ledger.author, self.quotes
        return plan_query(self.state, query, live, now_ms(), me=author, quotes=quotes)

    def capacity(self, query: Mapping[str, object]) -> dict[str, object]:
        return capacity_query(self.state, query, self.devices())

    def sweep(self, query: Mapping[str, object]) -> dict[str, object]:
        # numpy takes as long to load as the rest of the daemon, which runs without it
        from mesh.edge.sweep import sweep_query

        return sweep_query(self.state, query, self.devices(), now_ms())

    async def submit(self, spec: Mapping[str, object]) -> str:
        """Admit a job; its id. The same job_id again is the same job."""
        return await self._intake.submit(spec, self._local.primary_id)

    async def cancel(self, job_id: str) -> None:
        """Ask a job to end; asking twice is once. RequestError for one that has ended already."""
        await self._intake.cancel(job_id, self._local.primary_id)

    async def adopt(self, job_id: str) -> dict[str, object]:
        """Decide for another peer's job from now on; its owner answers us once it has heard."""
        return await self._intake.adopt(job_id)

    async def forget(self, job_id: str) -> dict[str, object]:
        """Erase what was typed for an ended job and what it wrote."""
        who = self._ledger.author
        return await asyncio.to_thread(forget, self.home, who, self.state, job_id, self.every_job)

    async def note(self, text: str) -> Event:
        fact = NoteAdded(text=parse_note(text))
        return await self.emit("note_added", self._local.primary_id, encode(fact))

    async def add_device(self, payload: Mapping[str, object]) -> Event:
        device_id, fact = parse_device(payload)
        own = own_id(self.state.claims, self._ledger.author, device_id)
        return await self.emit("device_registered", own, fact)

    async def remove_device(self, device: str, reason: str) -> Event:
        found = [d for d in self.state.devices.values() if device in (d.device_id, d.name)]
        if not found:
            raise RequestError("NotFound", f"no device {device!r}", "fleet devices", 404)
        fact = DeviceRemoved(reason=reason)
        return await self.emit("device_removed", found[0].device_id, encode(fact))

    async def calibrate(self) -> Calibration:
        """Measure this machine's devices anew and register what was found."""
        found = await asyncio.to_thread(self._local.registrations, self.state, every=True)
        events = [await self.emit("device_registered", key, fact) for key, fact in found]
        measured = self._local.measured
        return Calibration(events=events, busy=measured.busy if measured else "")

    async def import_(self, path: Path, name: str) -> ImportReport:
        """Admit a file's events through the gate, some hundred at a time; errors call it `name`."""
        loop = asyncio.get_running_loop()

        def admit(envelopes: Iterable[tuple[bytes, bytes]]) -> list[Admission]:
            taken = self._take_in(list(envelopes))
            return asyncio.run_coroutine_threadsafe(taken, loop).result()

        return await asyncio.to_thread(import_file, admit, path, name, self._live.admits)

    async def _take_in(self, envelopes: list[tuple[bytes, bytes]]) -> list[Admission]:
        outcomes = await self._live.take_in(envelopes)
        taken = [one.event for one in outcomes if isinstance(one, Accept | Fork)]
        self._replication.notify({event.author for event in taken})
        return outcomes

    async def verify(self) -> VerifyReport:
        return await asyncio.to_thread(self._ledger.verify)

    async def find_job(self, job_id: str) -> JobView | None:
        return await self.dispatch.files.find(job_id)

    def log_path(self, job: JobView) -> Path:
        return self.dispatch.path_of(job, "log.txt")

    def answer_path(self, job: JobView) -> Path:
        return self.dispatch.path_of(job, ANSWER_FILE)

    def all_here(self, job_id: str) -> bool:
        return self.dispatch.all_here(job_id)

    @property
    def owner(self) -> Owner:
        """This peer as the owner of its devices."""
        return self.dispatch.owner

    @property
    def files(self) -> Files:
        """Its part in moving the files of commands."""
        return self.dispatch.files
