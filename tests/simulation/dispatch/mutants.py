"""Deliberately broken dispatch: each must be caught, or the simulation could not see it."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Set
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from mesh.api.wire.claims import Claim, Lease
from mesh.edge.dispatch import peer as peer_module
from mesh.edge.dispatch.holds import Holds
from mesh.edge.dispatch.home import Home
from mesh.edge.dispatch.owner import LocalOwner
from mesh.edge.jobs.effects import Effects
from mesh.policy import decide as decide_module
from mesh.policy.commands import Command, StopJob
from mesh.policy.decide import attempts_at, decide
from mesh.state import attempts as attempts_module
from mesh.state.facts.fact import encode
from mesh.state.facts.job import JobAccepted
from mesh.state.jobs import QUEUED, AttemptView, JobView
from mesh.state.state import State
from tests.simulation.dispatch import gangs
from tests.simulation.dispatch.breaking import Broken, together
from tests.simulation.dispatch.machine import SimAttempts
from tests.simulation.dispatch.mutants_of_outputs import OF_OUTPUTS
from tests.simulation.dispatch.mutants_of_queues import OF_QUEUES
from tests.simulation.dispatch.mutants_of_roles import OF_ROLES

Begun = Set[tuple[str, int]]


def asks_another_owner() -> Broken:
    """The home takes silence for a no, and goes elsewhere."""
    real = Home._until_known

    async def until_known(self: Home, job: JobView, one: AttemptView, asked: Any) -> None:
        await real(self, job, one, asked)
        if self._pursuit(job.job_id, one.number).silent_since_s is not None:
            await self._returned(job, one, "Unanswered")

    return patch.object(Home, "_until_known", until_known)


def answers_before_the_disk() -> Broken:
    """The owner acknowledges a lease that is not written yet."""

    async def accept(
        self: LocalOwner, home: str, job: JobView, one: AttemptView, claim: Claim
    ) -> Lease:
        await self._keep(job, claim)
        fact = JobAccepted(job_id=job.job_id, attempt=one.number)
        written = self._ledger.emit_all([("job_accepted", one.device_id, encode(fact))])
        self.writing = asyncio.ensure_future(written)  # type: ignore[attr-defined]
        return self._lease(job, one)

    return patch.object(LocalOwner, "_accept", accept)


def forgets_leases_at_restart() -> Broken:
    """What an earlier process of the owner accepted is nothing to the next one."""
    forgotten: dict[int, Begun] = {}

    def look(self: Effects, _: object = ()) -> None:
        mine = attempts_at(self._state(), self._author)
        forgotten[id(self.begun)] = {(job.job_id, one.number) for job, one in mine}

    def without(job: JobView, lost: Begun) -> JobView:
        left = tuple(one for one in job.attempts if (job.job_id, one.number) not in lost)
        return replace(job, attempts=left)

    def decided(state: State, me: str, **asked: Any) -> list[Command]:
        lost = forgotten.get(id(asked["begun"]), set())
        jobs = {job_id: without(job, lost) for job_id, job in state.jobs.items()}
        return decide(replace(state, jobs=jobs), me, **asked)

    return together(
        patch.object(Effects, "look", look), patch.object(peer_module, "decide", decided)
    )


def starts_a_second_claim_again() -> Broken:
    """(job, attempt) is no key: whoever claims again has it run again."""
    real = LocalOwner.claim

    async def claim(self: LocalOwner, home: str, claim: Claim) -> Lease:
        found = self._find(claim.job_id, claim.attempt)
        if found is not None and found[1].started_ms:
            there = self._work._attempts(found[1].device_id)  # type: ignore[attr-defined]
            machine, key = there.machine, (claim.job_id, claim.attempt)
            machine.programs.pop(key, None)
            machine.spawn(key, found[1].devices, 5.0)
        return await real(self, home, claim)

    return patch.object(LocalOwner, "claim", claim)


def takes_a_claim_without_a_hold() -> Broken:
    """An offer may lapse, and still be claimed."""
    return patch.object(Holds, "holds", lambda *_: True)


def does_not_look_for_what_was_begun() -> Broken:
    """A start that an earlier process began is not looked for."""
    return patch.object(Effects, "look", lambda *_: None)


def ignores_job_returned() -> Broken:
    """An attempt that no owner took stays open."""
    real = attempts_module._attempt_status

    def status(theirs: Any, ours: Any, end: Any, *, at_home: bool) -> str:
        left = {kind: step for kind, step in ours.items() if kind != "job_returned"}
        return real(theirs, left, end, at_home=at_home)

    return patch.object(attempts_module, "_attempt_status", status)


def ignores_a_cancel_while_queued() -> Broken:
    """A cancel stops what runs, and not what waits."""

    def decided(state: State, me: str, **asked: Any) -> list[Command]:
        waits = {
            (job.job_id, one.number) for job, one in attempts_at(state, me) if one.status == QUEUED
        }
        found = decide(state, me, **asked)
        return [one for one in found if not _stops(one, waits)]

    return patch.object(peer_module, "decide", decided)


def _stops(command: Command, which: Begun) -> bool:
    return isinstance(command, StopJob) and (command.job_id, command.attempt) in which


def ignores_the_epoch() -> Broken:
    """An owner takes claims of whoever was a job's home."""
    real = LocalOwner._demand_home

    def demand(self: LocalOwner, home: str, job_id: str) -> None:
        if job_id not in self._ledger.state.jobs:
            real(self, home, job_id)

    return patch.object(LocalOwner, "_demand_home", demand)


def replaces_without_waiting() -> Broken:
    """The first silence is enough for another attempt."""
    real = Home._replace_if_due

    async def replace_at_once(self: Home, job: JobView, one: AttemptView, pursuit: Any) -> None:
        if pursuit.silent_since_s is not None:
            pursuit.silent_since_s -= 1e9
        await real(self, job, one, pursuit)

    return patch.object(Home, "_replace_if_due", replace_at_once)


def lets_a_late_runner_begin() -> Broken:
    """A cancel ends what runs, and forgets the runner that is still coming up."""
    return patch.object(SimAttempts, "_void", lambda *_: None)


def lets_both_attempts_go_on() -> Broken:
    """A replaced attempt that is heard of again is not reconciled."""
    return patch.object(decide_module, "is_superfluous", lambda *_: False)


MUTANTS: dict[str, Callable[[], Broken]] = {
    one.__name__: one
    for one in (
        asks_another_owner,
        answers_before_the_disk,
        forgets_leases_at_restart,
        starts_a_second_claim_again,
        takes_a_claim_without_a_hold,
        does_not_look_for_what_was_begun,
        ignores_job_returned,
        ignores_a_cancel_while_queued,
        ignores_the_epoch,
        replaces_without_waiting,
        lets_a_late_runner_begin,
        lets_both_attempts_go_on,
        *OF_QUEUES,
        *OF_ROLES,
        *OF_OUTPUTS,
    )
} | gangs.MUTANTS


@contextlib.contextmanager
def broken(name: str) -> Iterator[None]:
    """Within it, the code is broken in one way; "" in none."""
    with MUTANTS[name]() if name else contextlib.nullcontext():
        yield
