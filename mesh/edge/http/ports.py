"""What the HTTP server needs of a node: the narrow waist between routes and the daemon.

Values only: a route turns JSON into a dict, asks one of these, and turns the answer into JSON.
"""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, final

from mesh.api.wire.claims import Standing
from mesh.api.wire.workfiles import FilePart, LeftFiles
from mesh.edge.dispatch.ports import Owner
from mesh.edge.store.ledger import ImportReport, VerifyReport
from mesh.edge.transport.link import Link
from mesh.ledger.event import Event
from mesh.state.jobs import JobView
from mesh.state.state import State


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """The new registrations of this machine's devices; `busy` says why they may be too low."""

    events: Sequence[Event]
    busy: str


class Files(Protocol):
    """This peer's part in moving files. `who` is the key that asks, in hex."""

    async def given(self, who: str, job_id: str, digest: str, offset: int) -> FilePart:
        """Some of a file that a job brings."""

    async def left(self, who: str, job_id: str, attempt: int, path: str, offset: int) -> FilePart:
        """Some of a file that an attempt left here."""

    async def list_left(self, who: str, job_id: str, attempt: int) -> LeftFiles:
        """The files that an attempt left here."""

    async def listed(self, job_id: str) -> LeftFiles:
        """The files that a job left, wherever it ran."""

    async def get(self, job_id: str, path: str, offset: int) -> FilePart:
        """Some of a file that a job left, wherever it ran."""


class ServedNode(Protocol):
    """A running peer as its HTTP server sees it."""

    @property
    def home(self) -> Path:
        """The state directory."""

    @property
    def state(self) -> State:
        """Everything the ledger says, folded."""

    async def find_job(self, job_id: str) -> JobView | None:
        """A job, also one that ended so long ago that the ledger alone has it, which is read then:
        as long as that is."""

    @property
    def owner(self) -> Owner:
        """This peer as the owner of its devices, for the homes of jobs."""

    @property
    def files(self) -> Files:
        """Its part in moving the files of commands."""

    @property
    def ready(self) -> bool:
        """True once the ledger is open and the owner loop ticks."""

    def now(self) -> int:
        """Milliseconds UTC."""

    def status(self, *, running: bool = True) -> dict[str, object]:
        """The fleet at a glance, with the jobs that have not ended where they are wanted."""

    def plan(self, query: Mapping[str, object]) -> dict[str, object]:
        """The plan for a query, as JSON; a bad query raises RequestError."""

    def capacity(self, query: Mapping[str, object]) -> dict[str, object]:
        """The most each device can do, likewise."""

    def sweep(self, query: Mapping[str, object]) -> dict[str, object]:
        """A grid of plans, likewise."""

    async def submit(self, spec: Mapping[str, object]) -> str:
        """Admit a job and return its id; a bad one raises RequestError."""

    async def cancel(self, job_id: str) -> None:
        """Ask a job to end."""

    async def standings(self, jobs: Sequence[JobView]) -> Mapping[str, Standing]:
        """Why those of them that wait do so, and when they should start; by job id."""

    async def adopt(self, job_id: str) -> dict[str, object]:
        """Decide for another peer's job from now on."""

    async def forget(self, job_id: str) -> dict[str, object]:
        """Erase what was typed for an ended job and what it wrote; says what could not be."""

    async def note(self, text: str) -> Event:
        """Write an annotation to the ledger."""

    async def add_device(self, payload: Mapping[str, object]) -> Event:
        """Describe hardware by hand."""

    async def remove_device(self, device: str, reason: str) -> Event:
        """Take a hand-described device out of planning."""

    async def calibrate(self) -> Calibration:
        """Measure this machine's devices anew."""

    async def verify(self) -> VerifyReport:
        """Check every hash, link and signature."""

    async def import_(self, path: Path, name: str) -> ImportReport:
        """Admit a file's events; errors call it `name`."""

    def events(self, after: int = 0, limit: int | None = None) -> Iterator[tuple[int, Event]]:
        """Events in arrival order, each with its local cursor."""

    def subscribe(self) -> AsyncIterator[Event]:
        """Every event admitted from now on."""

    def log_path(self, job: JobView) -> Path:
        """Where a job's output is kept, an engine's log included; it may not exist yet."""

    def answer_path(self, job: JobView) -> Path:
        """Where a model's answer is kept; the file may not exist yet."""

    def all_here(self, job_id: str) -> bool:
        """Whether what a job wrote on another peer has come home, as far as it will."""

    def shutdown(self) -> None:
        """Begin to stop the daemon; running jobs keep running."""


class ServedMesh(Protocol):
    """The fleet around a node as its HTTP server sees it."""

    def own_role(self) -> str:
        """What this peer may do in its fleet; admin for a peer that is alone."""

    def founded(self) -> bool:
        """Whether this peer is in a fleet, so that letting somebody in founds none."""

    def role_of(self, peer_key: bytes) -> str:
        """What the holder of a key may do; "" for a stranger."""

    def now(self) -> int:
        """Milliseconds UTC."""

    async def hold(self, link: Link) -> bool:
        """Run an incoming link until it ends; False where it was not wanted."""

    def peers(self) -> list[dict[str, object]]:
        """Every peer of the fleet, each with the age of what is known of it."""

    def report(self) -> dict[str, object]:
        """Who was seen by which source, why dials failed, clocks, invites, forks."""

    def sync_status(self) -> dict[str, object]:
        """How far each peer's ledger and ours are apart."""

    async def invite(self, role: str, ttl_ms: int, uses: int) -> dict[str, object]:
        """A code that lets `uses` machines in."""

    async def join(self, text: str, name: str | None = None, host: str = "") -> dict[str, object]:
        """Come into a fleet by a code, or ask at an address; `host` is the peer id that must answer
        there."""

    async def add_recovery(self) -> dict[str, object]:
        """The words of a fleet's recovery key, made now where it has none."""

    def pending(self) -> list[dict[str, object]]:
        """Who asks to be let in."""

    async def accept(self, peer: str, role: str) -> dict[str, object]:
        """Let in somebody who asks."""

    def ignore(self, peer: str) -> dict[str, object]:
        """Take somebody who asks off the list for good."""

    async def set_role(self, peer: str, role: str) -> dict[str, object]:
        """Give a peer another role."""

    async def remove(self, peer: str, reason: str, keep: str = "") -> dict[str, object]:
        """Put a peer out of the fleet; `keep` names the last of its events that counts."""

    async def rename(self, peer: str, name: str) -> dict[str, object]:
        """Call a peer something else."""

    def add_address(self, text: str) -> dict[str, object]:
        """Try an address from now on."""
