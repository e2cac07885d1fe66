"""What people do: they submit jobs, cancel some, and adopt those of homes that are down."""

import contextlib
from typing import TYPE_CHECKING, Any

from mesh.api.bodies import Body, seal
from mesh.api.errors import RequestError
from mesh.edge.disk import StoreError
from mesh.ledger.event import Event
from mesh.policy.decide import attempts_at
from mesh.policy.reconcile import WORDS
from mesh.state.jobs import DISPATCHED
from mesh.state.members import MEMBER
from mesh.state.peer_id import short_id
from tests.simulation.dispatch import gangs

if TYPE_CHECKING:
    from tests.simulation.dispatch.daemon import Daemon
    from tests.simulation.dispatch.world import World

REPLACE_AFTER_MS = 60_000


class People:
    """Everybody who wants something of the fleet."""

    def __init__(self, world: "World") -> None:
        self.world, self.rng = world, world.rng
        self.jobs: dict[str, Event] = {}  # submitted and acknowledged
        self.hasty = 0  # times yet that somebody adopts while the home is well
        self.replacing = 0.25  # share of jobs that may be replaced

    def plan(self, run_s: float) -> None:
        """What this schedule's people will do."""
        loop = self.world.loop
        for number in range(self.rng.randrange(6, 24)):
            loop.call_at(5 + self.rng.random() * run_s * 0.8, self.submit_somewhere, number)
        self.hasty = self.rng.choice((0, 0, 0, 1, 3))
        self.replacing = self.rng.choice((0.0, 0.25, 0.8))
        for _ in range(self.rng.choice((0, 0, 1, 2))):
            loop.call_at(60 + self.rng.random() * run_s * 0.8, self._lose_a_home)

    def submit_somewhere(self, number: int) -> None:
        """A job at any peer that is up."""
        daemons = list(self.world.daemons.values())
        if daemons:
            daemon = self.rng.choice(daemons)
            daemon.spawn(self._submitted(daemon, number))

    async def _submitted(self, daemon: "Daemon", number: int) -> None:
        job_id = f"j-{short_id(daemon.author)}-{number:x}"
        seconds = self.rng.expovariate(1 / 30) + 1
        on = f"dev-{short_id(self.rng.choice(self.world.machines).author)}-0"
        asked: dict[str, Any] = {
            "on": self.rng.choice(("any", "any", on)),
            "priority": self.rng.choice((50, 50, 75)),
            "retries": self.rng.choice((0, 0, 0, 1, 2)),
        }
        most = gangs.largest(daemon.state)
        if most > 1 and self.rng.random() < gangs.PART:
            job_id, asked["on"] = gangs.named(job_id, self.rng.choice((2, most))), "any"
        if self.rng.random() < self.replacing:
            asked |= {
                "replace_after_ms": REPLACE_AFTER_MS,
                "reconcile": self.rng.choice(("", *WORDS)),
            }
        await self.submit(daemon, job_id, seconds * self.world.roles.outlast(daemon), asked)
        if self.rng.random() < 0.2:
            delay = self.rng.expovariate(1 / 20)
            self.world.loop.call_later(delay, self._cancel_somewhere, job_id)

    async def submit(
        self, daemon: "Daemon", job_id: str, seconds: float, asked: dict[str, Any]
    ) -> None:
        """As the intake does it: the body on disk, then its event, then the answer."""
        if not daemon.may(MEMBER):
            return
        body, salt = Body(command=("sleep", f"{seconds:.2f}")), bytes(16)
        sealed = seal(body, salt)
        fact: dict[str, Any] = {
            "job_id": job_id,
            "kind": "command",
            "batch": 1,
            "objective": "balanced",
            "body_hash": sealed.body_hash,
            "body_bytes": sealed.body_bytes,
            **asked,
        }
        with contextlib.suppress(StoreError):
            daemon.machine.write("keep what was asked")
            daemon.machine.bodies[job_id] = (body, salt.hex())
            (event,) = await daemon.emit_all([("job_submitted", "none", fact)])
            self.jobs[job_id] = event

    def hurry(self, daemon: "Daemon") -> None:
        """A job that comes before all others, for the first device of its home."""
        job_id = f"j-{short_id(daemon.author)}-u{len(self.jobs)}"
        on = f"dev-{short_id(daemon.author)}-0"
        daemon.spawn(self.submit(daemon, job_id, 20.0, {"on": on, "priority": 100}))

    def cancel_what_waits(self, daemon: "Daemon") -> None:
        """All that an owner has and that does not run yet."""
        for job, one in attempts_at(daemon.state, daemon.author):
            if not one.started_ms:
                daemon.spawn(self.cancel(daemon, job.job_id))

    def _cancel_somewhere(self, job_id: str) -> None:
        daemons = [one for one in self.world.daemons.values() if job_id in one.state.jobs]
        if daemons:
            daemon = self.rng.choice(daemons)
            daemon.spawn(self.cancel(daemon, job_id))

    async def cancel(self, daemon: "Daemon", job_id: str) -> None:
        """As the cancel route does it."""
        job = daemon.state.jobs.get(job_id)
        if job is not None and not job.ended and daemon.may(MEMBER):
            with contextlib.suppress(StoreError):
                fact = ("job_cancel_requested", "none", {"job_id": job_id})
                await daemon.emit_all([fact])

    def _lose_a_home(self) -> None:
        """A home goes down for long, or is cut off; somebody adopts its jobs, at times two do."""
        homes = list(self.world.daemons.values())
        if self.world.faults.ended or not homes:
            return
        home = self.rng.choice(homes)
        if self.rng.random() < 0.7:
            self.world.note(f"{home.machine.number} is down for long")
            self.world.faults.down(home.machine, 60 + self.rng.random() * 240)
        else:
            self.world.note(f"{home.machine.number} is cut off for long")
            until = self.world.loop.time() + 60 + self.rng.random() * 120
            for other in self.world.machines:
                self.world.net.cut(home.machine, other, until)
        delay = 15 + self.rng.random() * 30
        for _ in range(self.rng.choice((1, 1, 2))):
            self.world.loop.call_later(delay + self.rng.random(), self._adopt_all, home.author)

    def at_step(self, daemon: "Daemon", step: str) -> None:
        """A home claims: now and then somebody cancels or adopts a job of it just then."""
        if step != "call claim":
            return
        if self.hasty and self.rng.random() < 0.2:
            self.hasty -= 1
            self.world.loop.call_later(self.rng.random(), self._adopt_all, daemon.author)
        if self.rng.random() < 0.03:
            self.world.loop.call_later(0.0, self._cancel_one_sent, daemon)

    def _cancel_one_sent(self, daemon: "Daemon") -> None:
        """A job of whose claim nobody knows yet is cancelled."""
        sent = [job.job_id for job in daemon.state.jobs.values() if job.status == DISPATCHED]
        if daemon.alive and sent:
            daemon.spawn(self.cancel(daemon, self.rng.choice(sent)))

    def _adopt_all(self, home: str) -> None:
        daemons = [one for one in self.world.daemons.values() if one.author != home]
        if daemons:
            daemon = self.rng.choice(daemons)
            for job in list(daemon.state.jobs.values()):
                if job.home == home and not job.ended:
                    daemon.spawn(self.adopt(daemon, job.job_id))

    async def adopt(self, daemon: "Daemon", job_id: str) -> None:
        """As an admin does it at a peer of theirs."""
        with contextlib.suppress(RequestError, StoreError):
            await daemon.dispatch.home.adopt(job_id)
