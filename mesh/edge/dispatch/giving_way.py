"""How this peer's attempts give way to its owner: paused and let on, or stopped and queued again.

`mesh/edge/yielding` watches and decides; here it is done, and the fleet told, by a code alone: when
somebody was at the machine stays there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Literal, final

from mesh.edge.dispatch.ports import Ledger
from mesh.policy.decide import attempts_at
from mesh.policy.yielding import RunningAttempt
from mesh.state.answers import devices_of
from mesh.state.facts.fact import encode
from mesh.state.facts.job import JobPaused, JobResumed
from mesh.state.jobs import PAUSED, QUEUED, RUNNING, AttemptView, JobView
from mesh.state.leases import shares
from providers.attempts import Attempts


@final
class GivingWay:
    """The attempts on this peer's devices, as the watcher may pause and stop them."""

    def __init__(self, ledger: Ledger, attempts: Callable[[str], Attempts]) -> None:
        self._ledger, self._attempts = ledger, attempts
        self._ending: Final[set[tuple[str, int]]] = set()

    def running(self) -> Sequence[RunningAttempt]:
        """Every attempt on this machine that was started and has not ended."""
        found = [
            self._shown(job, one) for job, one in self._mine() if one.status in (RUNNING, PAUSED)
        ]
        self._ending.intersection_update({(one.job_id, one.attempt) for one in found})
        return found

    def waiting(self) -> frozenset[str]:
        """Devices of this machine that preemptible work waits for."""
        return frozenset(
            device_id
            for job, one in self._mine()
            if job.asked.preemptible and one.status == QUEUED
            for device_id in devices_of(self._ledger.state, one)
        )

    async def pause(self, job_id: str, attempt: int, code: str, text: str) -> bool:
        """Stop its tree, then tell the fleet. False: not possible."""
        one = self._find(job_id, attempt)
        if one is None or not await self._attempts(one.device_id).pause(job_id, attempt):
            return False
        fact = JobPaused(job_id=job_id, attempt=attempt, reason=code)
        await self._ledger.emit_all([("job_paused", one.device_id, encode(fact))])
        return True

    async def resume(self, job_id: str, attempt: int, code: str, text: str) -> bool:
        """Let its tree go on, then tell the fleet. False: it has ended."""
        one = self._find(job_id, attempt)
        if one is None or not await self._attempts(one.device_id).resume(job_id, attempt):
            return False
        fact = JobResumed(job_id=job_id, attempt=attempt)
        await self._ledger.emit_all([("job_resumed", one.device_id, encode(fact))])
        return True

    async def stop(self, job_id: str, attempt: int, code: str, text: str) -> None:
        """End the attempt; its home tries it again, here or elsewhere."""
        one = self._find(job_id, attempt)
        if one is not None:
            self._ending.add((job_id, attempt))
            await self._attempts(one.device_id).cancel(job_id, attempt)

    def _mine(self) -> list[tuple[JobView, AttemptView]]:
        return list(attempts_at(self._ledger.state, self._ledger.author))

    def _find(self, job_id: str, attempt: int) -> AttemptView | None:
        for job, one in self._mine():
            if (job.job_id, one.number) == (job_id, attempt):
                return one
        return None

    def _shown(self, job: JobView, one: AttemptView) -> RunningAttempt:
        state: Literal["running", "paused", "ending"] = "running"
        if (job.job_id, one.number) in self._ending:
            state = "ending"
        elif one.status == PAUSED:
            state = "paused"
        return RunningAttempt(
            job_id=job.job_id,
            attempt=one.number,
            devices=devices_of(self._ledger.state, one),
            preemptible=job.asked.preemptible,
            footprint_bytes=min(shares(job).values()),
            state=state,
            paused_for=one.paused_for,
        )
