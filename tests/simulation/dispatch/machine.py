"""What outlives a daemon: its disk (events, bodies, attempts), its runners and programs."""

import asyncio
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

from mesh.api.bodies import Body
from mesh.edge.disk import StoreError
from mesh.edge.jobs.private import Gone
from mesh.ledger.event import Event
from mesh.state.jobs import JobView
from providers.base import Handle, Launch, Outcome, ProviderError

Key = tuple[str, int]  # job, attempt
START_LIMIT_S = 30.0  # as providers.local: a runner that has not come up by then is broken
LOOK_S = 0.1
LINES_PER_S = 2
LINE_BYTES = 8
MANY = 1000  # lines made at once and kept
PART_BYTES = 200


@dataclass(slots=True)
class Program:
    """One run of an attempt. Times are the world's seconds."""

    key: Key
    number: int  # of its machine
    devices: tuple[str, ...]
    begun_s: float
    ends_s: float
    reason: str = "ok"

    def runs(self, now_s: float) -> bool:
        return now_s < self.ends_s


@dataclass(slots=True)
class Machine:
    """One computer. `clock` is the world's; what happened on it is judged from outside."""

    number: int
    author: str
    rng: random.Random
    loop: asyncio.AbstractEventLoop
    events: list[Event] = field(default_factory=list)  # as the disk has them, in order of commits
    bodies: dict[str, tuple[Body, str]] = field(default_factory=dict)
    launches: set[Key] = field(default_factory=set)  # attempts that have a launch.json
    on_launch: Callable[["Machine", Key, tuple[str, ...]], None] = lambda *_: None
    voided: set[Key] = field(default_factory=set)  # claimed by who cancelled: no runner goes on
    programs: dict[Key, Program] = field(default_factory=dict)  # that have a runner.json
    starts: list[Program] = field(default_factory=list)  # every run there ever was
    killed: list[Program] = field(default_factory=list)  # ended by our own hand
    on_reboot: Callable[["Machine"], None] = lambda *_: None
    full_until_s: float = 0.0  # the disk takes nothing until then
    boots: int = 0

    def now(self) -> float:
        return self.loop.time()

    @property
    def full(self) -> bool:
        return self.now() < self.full_until_s

    def write(self, what: str) -> None:
        """StoreError while the disk is full."""
        if self.full:
            raise StoreError(f"cannot {what}: no space left on device", "free some space")

    def reboot(self) -> None:
        """The power goes and comes back: runners and programs are gone, files are there."""
        self.boots += 1
        self.on_reboot(self)
        for program in self.programs.values():
            if program.runs(self.now()):
                program.ends_s, program.reason = self.now(), "lost"

    def running(self) -> list[Key]:
        """The attempts whose runners live."""
        return [key for key, one in self.programs.items() if one.runs(self.now())]

    def body_of(self, job: JobView) -> tuple[Body, str]:
        """As the private folder of the job."""
        if job.job_id not in self.bodies:
            raise Gone(job.job_id, "is gone from this machine")
        return self.bodies[job.job_id]

    def spawn(self, key: Key, devices: tuple[str, ...], seconds: float) -> None:
        """A runner comes up, whatever becomes of who asked for it; now and then it takes long."""
        late = self.rng.random() < 0.3
        delay = self.rng.random() * (5 if late else 0.3)
        self.loop.call_later(delay, self._runner, key, devices, seconds, self.boots)

    def _runner(self, key: Key, devices: tuple[str, ...], seconds: float, boots: int) -> None:
        """It claims the attempt's folder, which one can, and runs the program."""
        if boots != self.boots or key in self.programs or key in self.voided:
            return
        program = Program(key, self.number, devices, self.now(), self.now() + seconds)
        self.programs[key] = program
        self.starts.append(program)


class SimAttempts:
    """Attempts of a machine, as `providers.here` and the runner have them. `devices_of` says which
    devices one is shown, as its launch does."""

    def __init__(
        self,
        machine: Machine,
        devices_of: Callable[[Key], tuple[str, ...]],
        step: Callable[[str], None],
    ) -> None:
        self.machine, self.devices_of, self.step = machine, devices_of, step

    def begun(self, job_id: str, attempt: int) -> bool:
        return (job_id, attempt) in self.machine.launches

    def ran(self, job_id: str, attempt: int) -> bool:
        key = (job_id, attempt)
        return key in self.machine.programs or key in self.machine.voided

    async def start(self, launch: Launch) -> Handle:
        key, machine = (launch.job_id, launch.attempt), self.machine
        if key not in machine.launches:
            machine.on_launch(machine, key, self.devices_of(key))
        await self._pause()
        if machine.rng.random() < 0.1:  # a slow disk: somebody may want it stopped meanwhile
            await asyncio.sleep(machine.rng.random() * 3)
        self.step("launch")
        if key not in machine.launches and machine.full:
            raise ProviderError("no space left on device", "free some space")
        machine.launches.add(key)
        if not self.ran(*key):
            machine.spawn(key, self.devices_of(key), float(launch.argv[1]))
            self.step("spawned")
            await self._claimed(key)
        self.step("started")
        return Handle(job_dir="", pid=1, start_ticks=1, boot_id="")

    async def _claimed(self, key: Key) -> None:
        until = self.machine.now() + START_LIMIT_S
        while not self.ran(*key):
            if self.machine.now() > until:
                raise ProviderError("no runner came up", "try by hand")
            await asyncio.sleep(LOOK_S)

    async def poll(self, job_id: str, attempt: int) -> Outcome | None:
        key, machine = (job_id, attempt), self.machine
        program = machine.programs.get(key)
        if program is None:
            return outcome(0, "cancelled") if key in machine.voided else None
        if program.runs(machine.now()):
            return None
        return outcome(round((program.ends_s - program.begun_s) * 1000), program.reason)

    async def cancel(self, job_id: str, attempt: int) -> None:
        """As `providers.here`: what no runner has claimed yet never begins."""
        await self._pause()
        key, machine = (job_id, attempt), self.machine
        program = machine.programs.get(key)
        now = machine.now()
        if program is None:
            self._void(key)
        elif program.runs(now) and program.reason == "ok":
            program.reason = "cancelled"
            program.ends_s = min(program.ends_s, now + machine.rng.random() * 12)
            machine.killed.append(program)

    def _void(self, key: Key) -> None:
        if key in self.machine.launches:
            self.machine.voided.add(key)

    async def read(
        self, job_id: str, attempt: int, name: str, offset: int, limit: int
    ) -> tuple[bytes, int]:
        """What its program wrote by now, a few lines at most in one answer."""
        program = self.machine.programs.get((job_id, attempt))
        if program is None:
            return b"", 0
        written = written_by(program, name, self.machine.now())
        some = 1 + self.machine.rng.randrange(PART_BYTES)
        return written[offset : offset + min(limit, some)], len(written)

    async def _pause(self) -> None:
        """The disk takes its time; others go on meanwhile."""
        await asyncio.sleep(self.machine.rng.random() * 0.02)


def written_by(program: Program, name: str, now_s: float) -> bytes:
    """Numbered lines, some each second, of which no two are alike; a line is LINE_BYTES."""
    seconds = max(0.0, min(now_s, program.ends_s) - program.begun_s)
    count = int(seconds * LINES_PER_S) + 1
    return _numbered(name[:1], -(-count // MANY))[: count * LINE_BYTES]


@cache
def _numbered(letter: str, times: int) -> bytes:
    """So many times MANY numbered lines."""
    return b"".join(b"%s%06d\n" % (letter.encode(), line) for line in range(times * MANY))


def outcome(ms: int, reason: str) -> Outcome:
    """How a program ended after so many milliseconds."""
    return Outcome(
        exit_code={"ok": 0, "cancelled": -15}.get(reason, -1),
        started_ms=0,
        ended_ms=ms,
        duration_ms=ms,
        peak_memory_bytes=0,
        tokens_generated=0,
        prompt_tokens=0,
        decode_mtps=0,
        prefill_mtps=0,
        engine_memory={},
        reason=reason,
        text="",
    )


def packed(event: Event) -> tuple[bytes, bytes]:
    """An event as an envelope of this simulation: whose it is, and its name in the world."""
    return b"", json.dumps({"author": event.author, "hash": event.hash}).encode()


def name_in(body: bytes) -> str:
    """The name of the event in an envelope."""
    return str(json.loads(body)["hash"])
