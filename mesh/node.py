"""Composition root: one loop — events -> State -> decide -> Commands -> effects -> events."""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from mathcore.device import DeviceSpec
from mesh.api.errors import RequestError
from mesh.api.hardware import parse_device
from mesh.api.requests import parse_note
from mesh.api.rows import status_dict
from mesh.config import Config
from mesh.edge.capacity import capacity_query
from mesh.edge.dispatch.fleet import OwnLedger, PeerCalls
from mesh.edge.dispatch.machines import Machines
from mesh.edge.dispatch.peer import Dispatch
from mesh.edge.dispatch.ports import Owner
from mesh.edge.http.ports import Calibration, Files
from mesh.edge.identity import Fleet, fleet_of, load_or_create
from mesh.edge.inventory import LocalDevices
from mesh.edge.jobs.forget import forget
from mesh.edge.jobs.intake import Intake
from mesh.edge.jobs.private import JOBS
from mesh.edge.live import Live
from mesh.edge.models.for_jobs import JobModels
from mesh.edge.models.service import Models
from mesh.edge.peering.mesh import Mesh
from mesh.edge.planning import Quotes, plan_query
from mesh.edge.replication import Replication
from mesh.edge.signing.hearing import NotHeard
from mesh.edge.ssh.hosts import SshHosts
from mesh.edge.standings import Standings
from mesh.edge.store.ledger import ImportReport, Ledger, StoreError, VerifyReport
from mesh.edge.store.state import load_state
from mesh.edge.store.transfer import import_ as import_file
from mesh.edge.telemetry.fleet import FleetTelemetry
from mesh.edge.telemetry.recorder import Telemetry
from mesh.edge.telemetry.rooms import device_facts
from mesh.edge.transport.link import Link, Misbehaved
from mesh.edge.upkeep import Upkeep
from mesh.edge.yielding import YieldWatcher
from mesh.ledger.event import Event
from mesh.ledger.gate import Accept, Admission, Fork
from mesh.state.devices import own_id
from mesh.state.facts.device import DeviceRemoved
from mesh.state.facts.events import NoteAdded
from mesh.state.facts.fact import encode
from mesh.state.members import RUNNER, allowed
from mesh.state.members import TYPES as MEMBERSHIP
from mesh.state.state import State
from mesh.sync.manifest import Tip
from mesh.sync.quiet import Quiet
from mesh.sync.session import ProtocolError
from providers.engine.llamacpp import ANSWER_FILE
from providers.here import LocalAttempts
from providers.presence.reading import PresenceReader
from providers.telemetry.machine import this_machine

TICK_S = 0.1  # how late the end of a job may be noticed; a poll is one stat() per running job
RETRY_S = 1.0  # pause after a write the disk refused
FORKS = "what is signed now makes a second history of this key, if any member has the first"
# A subscriber that lags this far is cut off: 4096 events of 64 KiB bound its memory.
MAX_LAG_EVENTS = 4096


def now_ms() -> int:
    """Milliseconds UTC."""
    return time.time_ns() // 1_000_000


class Node:
    """One running peer. All state changes pass through `emit`; one loop owns them.

    What it does for the HTTP server is described in `http.ports.ServedNode`.
    """

    def __init__(self, home: Path, config: Config, ledger: Ledger, *, alone: bool = False) -> None:
        self.home = home
        self.config = config
        self._ledger = ledger
        self.peer_id = ledger.peer_id
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger")
        self.mesh: Mesh | None = None
        self._live = Live(
            ledger, fleet_of(home), self._writer, now_ms, self._tell, alone=alone, skews=self._skews
        )
        self._subscribers: set[asyncio.Queue[Event]] = set()
        self._wake = asyncio.Event()
        self._stop = asyncio.Event()
        self.ready = False
        self.gateway_url = ""  # where tools find every model, once it is open
        self.quotes: Quotes = tuple  # what is known of machines to rent
        self.changed: Callable[[], None] = lambda: None  # who rents looks at the state anew
        self.resting: Callable[[], str] = str  # why unasked work waits; "" where none does
        self._local = LocalDevices(config, ledger.peer_id, home)
        self._here = LocalAttempts(home / JOBS)
        self.ssh = SshHosts(
            home, config, ledger.author, lambda: self.state, self.emit, self.may_register
        )
        self._intake = Intake(home, ledger.author, lambda: self.state, self.emit)
        self._replication = Replication(
            ledger,
            self._writer,
            self._live.admits,
            self._live.catch_up,
            self._live.heard,
            self._live.rank,
        )
        self._quiet = Quiet(self._live.is_recovery, self._live.tells_who_belongs)
        if config.listen != "none":
            who = load_or_create(home)
            self.mesh = Mesh(home, config, who, self, self._replicate, self._progress)
        self.telemetry = Telemetry(
            this_machine(home / JOBS),
            self._local,
            lambda: self.state,
            self.emit,
            now_ms,
            self.may_register,
            ledger.peer_id,
        )
        self.fleet_telemetry = FleetTelemetry(
            self.telemetry, self.mesh, lambda: self.state, ledger.author
        )
        self.models = Models(home, config, self.mesh, lambda: self.state)
        self.dispatch = self._joined(OwnLedger(ledger, self._live))
        self.standings = Standings(ledger.author, self.dispatch).of
        self.yielding = YieldWatcher(
            self.dispatch.giving_way,
            PresenceReader(),
            lambda device_id: device_facts(self.telemetry.reading(device_id)),
            config.yields,
        )
        call = None if self.mesh is None else self.mesh.call
        self.upkeep = Upkeep(ledger.author, lambda: self.state, self.emit, call, now_ms)

    def _joined(self, ledger: OwnLedger) -> Dispatch:
        """Dispatch, joined to this peer's devices, links and models."""
        calls = PeerCalls(lambda: self.mesh)
        machines = Machines(self._here, self.telemetry, self.ssh, lambda: self.state, now_ms)
        return Dispatch(
            self.home,
            ledger,
            calls.ask,
            linked=calls.is_linked,
            live=machines.live,
            attempts=machines.attempts,
            may_act=lambda: self._live.may_sign and not self._stop.is_set(),
            models=JobModels(self.models),
            rooms=machines.rooms,
            now_ms=now_ms,
            wake=self._wake.set,
            energy=self.telemetry.energy,
            writes_here=machines.writes_here,
            bring_ms=machines.bring_ms,
        )

    def _skews(self) -> list[int]:
        """The neighbours' clocks minus ours, ms; a key that was put out is not asked the time."""
        links = [] if self.mesh is None else self.mesh.links.all()
        return [link.skew_ms for link in links if not link.quiet]

    @property
    def state(self) -> State:
        return self._live.state

    @property
    def waits(self) -> bool:
        """Whether neighbours must bring something of our own chain before we sign."""
        return bool(self._live.waiting_for)

    def now(self) -> int:
        return now_ms()

    async def emit(self, event_type: str, device_id: str, payload: dict[str, object]) -> Event:
        """Sign, store durably, fold in and tell subscribers; in this order."""
        return await self._live.emit(event_type, device_id, payload)

    def _tell(self, events: Sequence[Event]) -> None:
        """The state has these events now: everyone who follows it hears of them."""
        for queue in list(self._subscribers):
            try:
                for event in events:
                    queue.put_nowait(event)
            except asyncio.QueueFull:
                self._subscribers.discard(queue)
        self.dispatch.heard(event.event_type for event in events)
        self.changed()
        if any(event.author == self._ledger.author for event in events):
            self._replication.notify([self._ledger.author])
        if self.mesh is not None and any(event.event_type in MEMBERSHIP for event in events):
            self.mesh.members_changed()
            self._replication.refresh()
        self._wake.set()

    async def belong(self, fleet: Fleet, own: Tip | None = None) -> None:
        """Be part of a fleet from now on: the ledger is folded by its rules.

        `own` is where our own chain ends at whoever let us in; None for a fleet of our own.
        """
        await self._live.belong(fleet, own)
        self._replication.refresh()

    def tips(self) -> Mapping[str, Tip]:
        """Where each author's chain ends in this ledger."""
        return self._ledger.tips()

    async def _replicate(self, link: Link) -> None:
        """Keep this ledger and a neighbour's equal until the link ends."""
        quiet = self._quiet if link.quiet else None
        try:
            await self._replication.run(link, outbound=link.outbound, quiet=quiet)
        except ProtocolError as error:
            print(f"fleet: {link.address} broke the sync: {error}", file=sys.stderr, flush=True)
            raise Misbehaved(str(error)) from error

    def _progress(self) -> Mapping[str, object]:
        """Each neighbour's distance, by its key."""
        return {one.peer: asdict(one) for one in self._replication.status()}

    async def subscribe(self) -> AsyncIterator[Event]:
        """Every event from now on; ends for a reader that falls MAX_LAG_EVENTS behind."""
        queue: asyncio.Queue[Event] = asyncio.Queue(MAX_LAG_EVENTS)
        self._subscribers.add(queue)
        try:
            while queue in self._subscribers or not queue.empty():
                yield await queue.get()
        finally:
            self._subscribers.discard(queue)

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

        return sweep_query(self.state, query, self.devices())

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

    def log_path(self, job_id: str) -> Path:
        return self.dispatch.path_of(job_id, "log.txt")

    def answer_path(self, job_id: str) -> Path:
        return self.dispatch.path_of(job_id, ANSWER_FILE)

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

    def shutdown(self) -> None:
        """Begin to stop; running jobs keep running and are adopted by the next daemon."""
        self._stop.set()
        self._wake.set()

    async def run(self) -> None:
        """Announce this machine, then turn State into Commands until `shutdown`.

        A peer that may not sign yet answers, plans and syncs meanwhile.
        """
        if self._live.waiting_for:
            _say(NotHeard(self._live.waiting_for))
        elif self._live.restored:
            _say(StoreError("this ledger is an older copy of itself, or lost", FORKS))
        registered = False
        await asyncio.to_thread(lambda: self.dispatch.effects.look(self._here.running()))
        while not self._stop.is_set():
            await self._live.catch_up()
            if self._live.may_sign:
                registered = registered or await self._register()
            self.ready = True
            self._wake.clear()
            await asyncio.sleep(min(TICK_S, self.dispatch.step()))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await self._wake.wait()
        self.ready = False
        await self.dispatch.close()

    async def _register(self) -> bool:
        """Announce this machine's devices, where its role lets them count; True, tried once."""
        try:
            if self.may_register():
                found = await asyncio.to_thread(self._local.registrations, self.state)
                for device_id, payload in found:
                    await self.emit("device_registered", device_id, payload)
        except StoreError as error:
            # A copied key may sign nothing, a full disk takes nothing; both can still be read.
            _say(error)
        await self._intake.sweep()  # a restored ledger knows its own jobs by now
        return True

    def may_register(self) -> bool:
        """Whether what this peer says of its devices counts, and may be signed now."""
        role_counts = self.mesh is None or allowed(self.mesh.own_role(), RUNNER)
        return self._live.may_sign and role_counts

    def close(self) -> None:
        """Give the ledger back; the last thing a node does."""
        self._writer.shutdown(wait=True)
        self._live.close()
        self._ledger.close()


def _say(error: StoreError) -> None:
    print(f"fleet: {error.text}; {error.hint}", file=sys.stderr, flush=True)
