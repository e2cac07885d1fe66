"""One seeded schedule of dispatch: jobs from random homes, crashes, splits, slow and lossy links.

The live code of homes and owners runs in virtual time on machines whose disks and programs outlive
it. Raises Broken, with the seed, when an invariant does not hold.
"""

import asyncio
import contextlib
import random
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

from mesh.api.bodies import Body
from mesh.edge.dispatch import dispatcher as dispatcher_module
from mesh.edge.dispatch import home as home_module
from mesh.edge.dispatch import owner as owner_module
from mesh.edge.jobs import effects as effects_module
from mesh.edge.jobs import preparing as preparing_module
from mesh.ledger.event import Event
from mesh.state.peer_id import short_id
from mesh.state.state import KEEP_ENDED
from tests.simulation.clock import Spins, VirtualLoop
from tests.simulation.dispatch.daemon import Daemon, Dead
from tests.simulation.dispatch.faults import Faults
from tests.simulation.dispatch.judge import Judge
from tests.simulation.dispatch.keepers import Keepers
from tests.simulation.dispatch.machine import Machine
from tests.simulation.dispatch.net import Net
from tests.simulation.dispatch.outputs import Outputs
from tests.simulation.dispatch.people import People
from tests.simulation.dispatch.roles import Roles

START_MS = 1_790_000_000_000
RUN_S = 600.0
SETTLE_S = 3000.0
GOSSIP_S = 1.0
# Ended jobs that daemons keep whole: of most schedules all, of some few, so that jobs retire.
KEPT = (KEEP_ENDED, KEEP_ENDED, 8, 3)
GLANCE_S = 3.0
DEVICE = {"kind": "cpu", "described_by": "probe", "hourly_nusd": 3_600_000_000}


class Broken(AssertionError):
    """An invariant does not hold; the message names it and the seed."""


class World:
    """All of one schedule. `quiet`: no faults and no jobs but those a test brings."""

    def __init__(self, seed: int, machines: int = 0, *, quiet: bool = False) -> None:
        self.seed, self.rng = seed, random.Random(seed)
        self.loop = VirtualLoop(self.rng)
        self.made = 0
        self.founding = "founding"  # hash of the fleet's first event, of the first machine
        self.keep_ended = KEEP_ENDED if quiet else self.rng.choice(KEPT)
        self.machines = [
            Machine(number, f"{number:x}" * 64, self.rng, self.loop)
            for number in range(1, 1 + (machines or self.rng.choice((2, 3, 3, 4, 5))))
        ]
        self.by_author = {one.author: one for one in self.machines}
        self.daemons: dict[int, Daemon] = {}
        self.events: dict[str, Event] = {}  # by hash
        self.failed = ""
        self.told: list[str] = []
        self.quiet = quiet
        self.net = Net(self)
        self.judge = Judge(self)
        self.faults = Faults(self)
        self.people = People(self)
        self.outputs = Outputs(self)
        self.keepers = Keepers(self)
        self.roles = Roles(self)
        for machine in self.machines:
            machine.on_launch = self.judge.turns.launched
            machine.on_reboot = self.outputs.lose

    @property
    def hits(self) -> Counter[tuple[str, str]]:
        return self.faults.hits

    def name(self) -> str:
        self.made += 1
        return f"e{self.made}" if self.made > 1 else self.founding

    def ms(self, machine: Machine) -> int:
        """What a machine's clock says, never before 1970."""
        true = START_MS + round(self.loop.time() * 1000)
        return max(1, true + self.faults.skew_ms.get(machine.number, 0))

    def fail(self, text: str) -> None:
        if not self.failed:
            self.note(f"BROKEN {text}")
        self.failed = self.failed or text

    def note(self, text: str) -> None:
        self.told.append(f"{self.loop.time():8.3f} {text}")

    def was_written(self, daemon: Daemon, event: Event) -> None:
        """An event is on a disk; perhaps nobody was told."""
        about = f"{event.payload.get('job_id', '')}.{event.payload.get('attempt', '')}"
        self.note(f"{daemon.machine.number} signs {event.event_type} {about} {event.device_id}")
        self.events[event.hash] = event
        self.judge.written(daemon, event)

    # The schedule

    def run(self, script: Any = None) -> None:
        """Play it, or what a test's script does with it."""
        self.loop.set_exception_handler(self._unhandled)
        asyncio.set_event_loop(self.loop)
        self.loop.on_escape = lambda *_: None
        try:
            with self._simulated_disks():
                self.loop.run_until_complete(script(self) if script else self._play())
                self.check()
        except Spins as error:
            raise self.broken(str(error)) from error
        finally:
            self._close()

    def _close(self) -> None:
        for daemon in list(self.daemons.values()):
            daemon.crash()
        for task in list(self.loop.tasks):
            task.cancel()
        with contextlib.suppress(Spins, Dead):
            self.loop.run_until_complete(asyncio.sleep(1))
        self.outputs.close()
        asyncio.set_event_loop(None)
        self.loop.close()

    @contextlib.contextmanager
    def _simulated_disks(self) -> Iterator[None]:
        """The files of jobs are values of their machine."""

        def kept(path: Path, job: Any) -> tuple[Body, str]:
            return self._disk(path).body_of(job)

        def words(*_: object, **__: object) -> None:
            """Nobody reads them here."""

        with contextlib.ExitStack() as stack:
            for module, name, made in (
                (home_module, "kept_request", kept),
                (home_module, "keep_words", words),
                (owner_module, "keep_body", self._keep),
                (preparing_module, "request_of", lambda path, job: kept(path, job)[0]),
                (effects_module, "keep_words", words),
                (dispatcher_module.traceback, "print_exc", self._surprise),
                (dispatcher_module, "print", words),  # of full disks
                *self.outputs.patches(),
            ):
                stack.enter_context(patch.object(module, name, made, create=name == "print"))
            yield

    def _surprise(self) -> None:
        """The live code met what it did not expect, and went on."""
        self.fail(f"{type(sys.exception()).__name__} in a command: {sys.exception()}")

    def broken(self, text: str) -> Broken:
        return Broken(f"seed {self.seed}: {text}")

    def check(self) -> None:
        """Raise what was found so far."""
        if self.failed:
            raise self.broken(self.failed)

    def _disk(self, path: Path) -> Machine:
        return self.machines[int(path.name) - 1]

    def _keep(self, path: Path, job_id: str, body: Body, salt: bytes) -> None:
        machine = self._disk(path)
        daemon = self.daemons.get(machine.number)
        if daemon is None:
            raise Dead
        daemon.step("keep body")
        machine.write("keep what was asked")
        machine.bodies[job_id] = (body, salt.hex())

    def _unhandled(self, _: object, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if error is not None and not isinstance(error, Dead):
            self.fail(f"a task died of {type(error).__name__}: {error}")

    async def begin(self) -> None:
        """All machines up, each with a device or two that all know of."""
        for machine in self.machines:
            self.start(machine)
        await self.roles.found()
        for machine in self.machines:
            await self._register(machine)
        self.loop.create_task(self._gossip())
        while not self.judge.all_hold_the_same():
            await self.look()

    async def _play(self) -> None:
        await self.begin()
        self.people.plan(RUN_S)
        self.keepers.plan(RUN_S)
        self.roles.plan(RUN_S)
        self.faults.plan(RUN_S)
        while self.loop.time() < RUN_S:
            await self.look()
        await self._heal()
        self.judge.everything()

    async def look(self) -> None:
        """A moment passes, and is judged."""
        await asyncio.sleep(GLANCE_S)
        self.judge.glance()
        self.check()

    def start(self, machine: Machine) -> None:
        if machine.number not in self.daemons:
            self.note(f"{machine.number} starts")
            self.daemons[machine.number] = Daemon(self, machine)

    async def _register(self, machine: Machine) -> None:
        daemon = self.daemons[machine.number]
        for serial in range(1 if self.quiet else self.rng.choice((1, 1, 2, 2, 3))):
            name = f"dev-{short_id(machine.author)}-{serial}"
            await daemon.emit_all([("device_registered", name, {"name": name, **DEVICE})])

    async def _gossip(self) -> None:
        """The ledgers' sync: whatever a peer has, whoever reaches it gets it soon."""
        while True:
            await asyncio.sleep(GOSSIP_S * self.rng.random())
            daemons = list(self.daemons.values())
            for one in daemons:
                for two in daemons:
                    if one.heads == two.heads or not self.net.reaches(one.machine, two.machine):
                        continue
                    if self.rng.random() >= self.net.loss:
                        _tell(one, two)

    async def _heal(self) -> None:
        self.note("all faults end")
        self.faults.end()
        until = self.loop.time() + SETTLE_S
        while self.loop.time() < until:
            for machine in self.machines:
                self.start(machine)
            self.roles.let_all_in()
            self.keepers.open_all()
            await self.look()
            if self.judge.settled():
                return
        raise self.broken(self.judge.why_not())


def _tell(one: Daemon, two: Daemon) -> None:
    for events in two.held.lacks(one.held):
        two.hear(events)
