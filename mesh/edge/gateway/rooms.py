"""Room for whatever waits for a device: a server that nobody asks gives it up.

Decided by the device's owner alone, who sees both who is at a server and what waits for the device.
The server that is loaded answers all who wait for it first; where they never end, its door is shut
after a while, so that nobody waits for ever.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final, final

from mesh.edge.gateway.own import OwnServers
from mesh.policy.decide import attempts_at
from mesh.state.answers import devices_of
from mesh.state.jobs import PENDING, QUEUED, AttemptView, JobView
from mesh.state.state import State

# A loaded model whose requests never end gives way after so long: three times what a large model
# takes to load from a disk, so that most of the time is spent on answers.
PATIENCE_S: Final = 60.0
# Between the last answer and the next question of the same conversation, if only a program asks.
LINGER_S: Final = 0.5
# A server that has not found a device by then waits for memory: asking all owners takes less.
PENDING_S: Final = 2.0
MAX_HELPED: Final = (
    4  # servers that end for it: where it fits nowhere still, they are not in its way
)


@final
class Rooms:
    """One owner's. `cancel` ends a job."""

    def __init__(
        self,
        author: str,
        state: Callable[[], State],
        own: OwnServers,
        cancel: Callable[[str], Awaitable[None]],
    ) -> None:
        self._author: Final = author
        self._state: Final = state
        self._own: Final = own
        self._cancel: Final = cancel
        self._since_s: dict[tuple[str, int], float] = {}  # who waits, and since when
        self._helped: Counter[tuple[str, int]] = Counter()  # servers that ended for one

    async def step(self) -> None:
        """Have servers give way to those who wait for their devices."""
        yields = [pair for pair in self._own.running() if pair[0].asked.preemptible]
        waiting = self._waiting() if yields else {}
        if not waiting:
            return
        now_s, state = time.monotonic(), self._state()
        servers = sorted(yields, key=lambda pair: -self._own.idle_s(*pair))
        for key, wanted in waiting.items():
            if not key[1] and not self._may_help(key, now_s):
                continue
            for job, one in servers:
                if wanted & set(devices_of(state, one)):
                    # A load that somebody waits for is not given up: else two large models push
                    # each other out, and neither ever answers.
                    waited_s = min(now_s - self._since_s[key], self._own.up_s(job, one))
                    gave = await self._give_way(job, one, patient=waited_s < PATIENCE_S)
                    if gave and not key[1]:
                        self._since_s[key] = now_s  # it is tried anew before another one ends
                        self._helped[key] += 1
                    break

    def _may_help(self, key: tuple[str, int], now_s: float) -> bool:
        """Whether one more server may end for a job that has found no device."""
        waits = now_s - self._since_s[key] >= PENDING_S
        return waits and self._helped[key] < MAX_HELPED

    async def _give_way(self, job: JobView, one: AttemptView, *, patient: bool) -> bool:
        """End a server that nobody asks; shut the door of one that too long somebody does."""
        if patient and self._own.idle_s(job, one) < LINGER_S:
            return False
        if not self._own.make_room(job, one):
            return False
        await self._cancel(job.job_id)
        return True

    def _waiting(self) -> dict[tuple[str, int], set[str]]:
        """What waits for devices here, those who came first before others; and servers of ours that
        fit nowhere just now, as attempt 0: for any device of this peer."""
        state, now_s = self._state(), time.monotonic()
        queued = [
            (job, one)
            for job, one in attempts_at(state, self._author)
            if one.status == QUEUED and not job.cancel_asked
        ]
        found = {
            (job.job_id, one.number): set(devices_of(state, one))
            for job, one in sorted(queued, key=lambda pair: pair[1].accepted_ms)
        }
        found |= self._nowhere(state)
        self._since_s = {key: self._since_s.get(key, now_s) for key in found}
        self._helped = Counter({key: self._helped[key] for key in found})
        return found

    def _nowhere(self, state: State) -> dict[tuple[str, int], set[str]]:
        mine = {one.device_id for one in state.devices.values() if one.owner == self._author}
        return {
            (job.job_id, 0): mine
            for job in self._own.jobs.all()
            if job.home == self._author and job.status == PENDING and not job.cancel_asked
        }
