"""What must hold of dispatch, seen from outside: of machines at any moment, of all in the end.

Under `hold` a job's home has it run once. Nobody can promise more of a job that somebody adopted
while its first home, cut off, went on deciding: then each of the two homes has it run once at most,
and when they hear of each other the job's word says which goes on.
"""

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from mesh.api.wire.claims import GONE, HOLD_S
from mesh.edge.jobs.strays import GRACE_S
from mesh.ledger.event import Event
from mesh.policy.reconcile import is_superfluous
from mesh.state.facts.fact import decode
from mesh.state.facts.job import JobSubmitted
from mesh.state.jobs import JobView
from mesh.state.members import MEMBER
from mesh.state.peer_id import short_id
from tests.simulation.dispatch import endings, gangs
from tests.simulation.dispatch.machine import Program
from tests.simulation.dispatch.turns import Turns

if TYPE_CHECKING:
    from mesh.api.wire.claims import Lease
    from tests.simulation.dispatch.daemon import Daemon
    from tests.simulation.dispatch.world import World

# An owner that knows that an attempt should end, and can write, has ended it by then: twelve
# seconds for the tree, the start that may be under way, and a few looks.
CANCEL_S = 60.0
LOOK_TO_WRITE_S = 2.0  # a body on a slow disk, then the event
# After each change of its role an author may say once more what did not count before.
SAID_AGAIN = 8
SAYS_LEASE = ("job_accepted", "job_completed", "job_failed", "job_cancelled")


class Judge:
    """Looks at disks and programs, never at what a daemon believes, until the end."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.seen: Counter[int] = Counter()  # starts of each machine that were looked at
        self.kills: Counter[int] = Counter()
        self.cancelled: set[str] = set()
        self.given_up: set[str] = set()  # their owner was put out
        self.submitted: dict[str, JobSubmitted] = {}
        self.dispatched: defaultdict[tuple[str, int, str], set[str]] = defaultdict(set)
        self.homes: defaultdict[str, set[str]] = defaultdict(set)  # that dispatched a job
        self.adopted: set[str] = set()
        self.said: set[tuple[str, str, int]] = set()  # (author, job, attempt) that has a lease
        self.runs: defaultdict[str, list[Program]] = defaultdict(list)
        # (owner, job, attempt) refused for good, and why
        self.refused: dict[tuple[str, str, int], str] = {}
        # (owner, job, attempt): when this run of the owner's offered it a place
        self.offers: dict[tuple[str, str, int], tuple[float, Daemon]] = {}
        self.heard: dict[tuple[str, str, int], float] = {}  # (home, job, attempt): owner's answer
        self.waiting: dict[tuple[int, str, int], float] = {}  # what should end, since when
        self.strays: dict[tuple[int, str, int], float] = {}  # programs of no lease, since when
        self.turns = Turns(world)
        self.times: Counter[tuple[str, str, str, int]] = Counter()  # an author said of an attempt

    def written(self, daemon: "Daemon", event: Event) -> None:
        """An event is on a disk."""
        job_id, kind = str(event.payload.get("job_id")), event.event_type
        number = event.payload.get("attempt")
        attempt = number if isinstance(number, int) else 0
        self.turns.written(event)
        self._not_again(event, job_id, attempt)
        if kind == "job_submitted":
            self.submitted[job_id] = decode(JobSubmitted, event.payload)
        elif kind == "job_cancel_requested":
            self.cancelled.add(job_id)
        elif kind == "job_adopted":
            self.adopted.add(job_id)
        elif kind == "job_dispatched":
            owner = str(event.payload.get("owner") or event.author)
            self.dispatched[job_id, attempt, owner].add(event.author)
            self.homes[job_id].add(event.author)
            self.heard[event.author, job_id, attempt] = self.world.loop.time()
            if owner == event.author:
                self.said.add((event.author, job_id, attempt))
        elif kind == "job_replaced" and self._put_out(daemon, job_id, attempt):
            self.given_up.add(job_id)
        elif kind == "job_replaced":
            self._waited(event.author, job_id, attempt)
        elif kind in SAYS_LEASE:
            self.said.add((event.author, job_id, attempt))
            if kind == "job_accepted":
                self._takes(daemon, job_id, attempt)

    def _put_out(self, home: "Daemon", job_id: str, attempt: int) -> bool:
        """Whether an attempt's owner is nobody any more, as its home knows."""
        mine = [one for one in home.state.jobs[job_id].attempts if one.number == attempt]
        return any(not home.state.members.role(one.owner) for one in mine)

    def _not_again(self, event: Event, job_id: str, attempt: int) -> None:
        """Nobody signs the same of one attempt time after time."""
        said = event.author, event.event_type, job_id, attempt
        self.times[said] += 1
        if attempt and self.times[said] > SAID_AGAIN:
            self.world.fail(f"{event.event_type} of {job_id}.{attempt} signed again and again")

    def _takes(self, daemon: "Daemon", job_id: str, attempt: int) -> None:
        """An owner takes attempts of the home it knows alone.

        Between its look and its write it may hear of an adoption; the new home asks, and learns.
        """
        job = daemon.state.jobs[job_id]
        by = {one.by for one in job.attempts if one.number == attempt}
        heard_s = daemon.adoptions.get(job_id, 0.0)
        if job.home not in by and self.world.loop.time() - heard_s > LOOK_TO_WRITE_S:
            self.world.fail(f"{job_id}.{attempt} was taken of a home that decides no more")

        self._held(daemon, job_id, attempt)
        if (daemon.author, job_id, attempt) in self.refused:
            self.world.fail(f"{job_id}.{attempt} was refused for good, and was taken")

    def _held(self, daemon: "Daemon", job_id: str, attempt: int) -> None:
        """What an owner takes it has offered a place that it still held, or has begun: then it says
        again what it had said past a cut."""
        if (job_id, attempt) in daemon.machine.launches:
            return
        offered_s, by = self.offers.get((daemon.author, job_id, attempt), (0.0, None))
        if by is not daemon or self.world.loop.time() - offered_s > HOLD_S + LOOK_TO_WRITE_S:
            self.world.fail(f"{job_id}.{attempt} was taken without an offer that is held")

    def offered(self, owner: "Daemon", job_id: str, attempt: int) -> None:
        """An owner holds a place. A home that is trusted again numbers its attempts as others know
        them, and what it sent meanwhile they never knew."""
        if self.refused.get((owner.author, job_id, attempt)) == "NotTrusted":
            del self.refused[owner.author, job_id, attempt]
        self.offers[owner.author, job_id, attempt] = self.world.loop.time(), owner

    def _waited(self, home: str, job_id: str, attempt: int) -> None:
        """Another attempt begins only where an owner gave no answer for as long as the job says."""
        silent_s = self.world.loop.time() - self.heard.get((home, job_id, attempt), 0.0)
        if silent_s * 1000 < self.submitted[job_id].replace_after_ms:
            self.world.fail(f"{job_id}.{attempt} was replaced after {silent_s:.0f} s of silence")

    def refuses(self, owner: str, job_id: str, attempt: int, code: str) -> None:
        """An owner is about to say no to a claim."""
        if code in GONE:
            self.refused.setdefault((owner, job_id, attempt), code)

    def leased(self, owner: "Daemon", lease: "Lease") -> None:
        """What an owner is about to answer must be on its disk."""
        if (owner.author, lease.job_id, lease.attempt) not in self.said:
            self.world.fail(
                f"{lease.job_id}.{lease.attempt} was acknowledged before it was on disk"
            )

    def glance(self) -> None:
        """No device is booked twice, no job runs twice, nothing healthy is killed."""
        for machine in self.world.machines:
            for program in machine.starts[self.seen[machine.number] :]:
                self.runs[program.key[0]].append(program)
                self.turns.began(program)
                self._booked_once(program, machine.starts)
                self._is_whole(program)
                self._runs_once(program)
            self.seen[machine.number] = len(machine.starts)
            for program in machine.killed[self.kills[machine.number] :]:
                was_stray = (machine.number, *program.key) in self.strays
                if not (self._may_end(program.key[0]) or was_stray or self.stray(program)):
                    self.world.fail(f"{program.key} was healthy, and was ended")
            self.kills[machine.number] = len(machine.killed)
        self.world.outputs.look()
        self._ends_what_should_end()
        self._ends_strays()

    def _booked_once(self, program: Program, others: list[Program]) -> None:
        for one in others:
            if one is program:
                continue
            both = {*one.devices} & {*program.devices}
            if both and _meet(one, program):
                self.world.fail(f"{min(both)} runs {program.key} and {one.key} at once")

    def _is_whole(self, program: Program) -> None:
        """A job has as many devices as it wants, of one machine, or none."""
        mine = f"dev-{short_id(self.world.machines[program.number - 1].author)}-"
        theirs = [one for one in program.devices if not one.startswith(mine)]
        if theirs or len({*program.devices}) != gangs.size_of(program.key[0]):
            self.world.fail(f"{program.key} runs on {' and '.join(program.devices)}")

    def stray(self, program: Program) -> bool:
        """Whether nothing that counts any more says that it was to run, or ran: its home's
        submission, or its owner's lease and end, were signed after a cut that nobody there had
        heard of."""
        daemon = self.world.daemons.get(program.number)
        if daemon is None:
            return False
        if not any(map(daemon.counts, self.turns.said[daemon.author, program.key])):
            return True
        if program.key[0] in daemon.state.retired:
            return False
        job = daemon.state.jobs.get(program.key[0])
        mine = [] if job is None else [one for one in job.attempts if one.owner == daemon.author]
        return not any(one.number == program.key[1] and (one.alive or one.ended) for one in mine)

    def _runs_once(self, program: Program) -> None:
        job_id = program.key[0]
        if self.submitted[job_id].replace_after_ms or self.stray(program):
            return
        mine = self._by(program)
        others = [
            one
            for one in self.runs[job_id]
            if one is not program and self._by(one) & mine and not self.stray(one)
        ]
        for one in others:
            first = min(one, program, key=lambda each: each.begun_s)
            if not self._came_to_nothing(first) or _meet(one, program):
                self.world.fail(f"{job_id} runs twice: {one.key} and {program.key}")
        if sum(one.reason == "lost" for one in others) > self.submitted[job_id].retries:
            self.world.fail(f"{job_id} was tried {len(others) + 1} times")

    def _came_to_nothing(self, program: Program) -> bool:
        """Its machine lost it, or it was ended at the word of somebody who does not count now."""
        return program.reason == "lost" or (
            program.reason == "cancelled" and self.world.roles.changed
        )

    def _by(self, program: Program) -> set[str]:
        """Which homes a run may be due to."""
        return self.dispatched[*program.key, self.world.machines[program.number - 1].author]

    def _may_end(self, job_id: str) -> bool:
        """Cancelled, given up, or another attempt may go on in its place."""
        other = self.submitted[job_id].replace_after_ms or len(self.homes[job_id]) > 1
        return job_id in self.cancelled or job_id in self.given_up or bool(other)

    def _ends_what_should_end(self) -> None:
        now, known = self.world.loop.time(), {}
        for number, daemon in self.world.daemons.items():
            if daemon.machine.full or not daemon.may(MEMBER):
                continue  # it can write nothing, or nothing that counts
            for job in daemon.state.jobs.values():
                for one in job.attempts:
                    stops = job.cancel_asked or is_superfluous(job, one)
                    if stops and one.owner == daemon.author and one.alive:
                        key = (number, job.job_id, one.number)
                        since = max(self.waiting.get(key, now), daemon.since_s)
                        known[key] = since
                        if now - since > CANCEL_S:
                            self.world.fail(f"{key} should end, and goes on")
        self.waiting = known

    def _ends_strays(self) -> None:
        """What nothing that counts tells of any more runs on for a while only."""
        now, known = self.world.loop.time(), {}
        for number, daemon in self.world.daemons.items():
            for program in daemon.machine.programs.values():
                heard = program.runs(now) and daemon.may(MEMBER)
                if heard and self.stray(program):
                    key = (number, *program.key)
                    known[key] = since = max(self.strays.get(key, now), daemon.since_s)
                    if now - since > GRACE_S + CANCEL_S:
                        self.world.fail(f"{program.key} has no lease, and runs on")
        self.strays = known

    # In the end

    def settled(self) -> bool:
        """Whether every daemon is up, holds the same, and every job and attempt has ended."""
        if not self.all_hold_the_same() or self.world.outputs.missing():
            return False
        return not any(map(_goes_on, self.world.daemons[1].state.jobs.values()))

    def all_hold_the_same(self) -> bool:
        """Whether every daemon is up and has the same events."""
        daemons = list(self.world.daemons.values())
        up = len(daemons) == len(self.world.machines)
        return up and all(one.held.counted() == daemons[0].held.counted() for one in daemons)

    def why_not(self) -> str:
        waits = sorted(
            f"{job.job_id} {job.status} {[(a.number, a.status) for a in job.attempts]}"
            for one in self.world.daemons.values()
            for job in one.state.jobs.values()
            if _goes_on(job)
        )
        return f"never settles: {waits[:2]} {self.world.outputs.missing()[:2]}"

    def everything(self) -> None:
        """All agree, nothing is lost, and the bill is what ran."""
        endings.everything(self)


def _meet(one: Program, two: Program) -> bool:
    return one.begun_s < two.ends_s and two.begun_s < one.ends_s


def _goes_on(job: JobView) -> bool:
    return not job.ended or any(one.open for one in job.attempts)
