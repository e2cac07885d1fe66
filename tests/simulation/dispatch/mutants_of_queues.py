"""Deliberately broken owners: of what they say of their devices, and of the line before them."""

import asyncio
from typing import Any
from unittest.mock import patch

from mesh.api.wire.claims import Claim, Lease
from mesh.edge.dispatch import line as line_module
from mesh.edge.dispatch.line import Line
from mesh.edge.dispatch.owner import LocalOwner
from mesh.edge.jobs.effects import Effects
from mesh.policy.queue.queue import decide_queue
from mesh.policy.queue.values import QueueDecision, Running, Waiting
from mesh.state.jobs import Key
from mesh.state.state import State
from mesh.state.upkeep import Upkeep
from tests.simulation.dispatch.breaking import Broken, together

Attempt = tuple[str, int]
FIRST_S, LAST_S = 0.25, 15.0  # pauses of a line that looks at those who wait less and less often


def drain_lost_at_restart() -> Broken:
    """What an earlier process of the owner drained is open to the next one."""
    forgotten: set[Key] = set()
    really, look = Upkeep.drained, Effects.look

    def forget(self: Effects, *running: Any) -> None:
        for authors in self._state().upkeep.words.values():
            mine = authors.get(self._author)
            if mine is not None and mine.drained and mine.drained_key is not None:
                forgotten.add(mine.drained_key)
        look(self, *running)

    def drained(self: Upkeep, device_id: str, owner: str) -> str:
        word = self.words.get(device_id, {}).get(owner)
        lost = word is not None and word.drained_key in forgotten
        return "" if lost else really(self, device_id, owner)

    return together(patch.object(Effects, "look", forget), patch.object(Upkeep, "drained", drained))


def drain_counts_at_the_next_reading() -> Broken:
    """A drain is part of the reading of a device, as old as that is."""
    return together(
        patch.object(Line, "_told", lambda self: self._rooms),
        patch.object(Line, "open_to", lambda *_: True),
    )


def reservation_ignored() -> Broken:
    """Whoever is first in line starts, for whomever the device is reserved."""
    return patch.object(State, "reserved", lambda *_: ())


def backoff_overtakes() -> Broken:
    """Who waits is looked at after pauses that grow; who comes meanwhile is looked at at once."""
    pauses: dict[Attempt, tuple[float, float]] = {}  # how long, and until when

    def decided(
        waiting: list[Waiting], running: list[Running], rooms: Any, now_ms: int
    ) -> QueueDecision:
        now_s = asyncio.get_running_loop().time()
        due = [one for one in waiting if pauses.get(one.key, (0.0, 0.0))[1] <= now_s]
        found = decide_queue(due, running, rooms, now_ms)
        for one in due:
            pause_s = min(LAST_S, 2 * pauses.get(one.key, (FIRST_S / 2, 0.0))[0])
            if one.key not in found.start:
                pauses[one.key] = pause_s, now_s + pause_s
        return found

    return patch.object(line_module, "decide_queue", decided)


def late_arrival_by_name() -> Broken:
    """Of leases of one moment the name of the job decides which was first."""
    real = Line._waiting

    def waiting(self: Line, job: Any, one: Any) -> Waiting:
        found = real(self, job, one)
        object.__setattr__(found, "arrived", 0)
        return found

    return patch.object(Line, "_waiting", waiting)


def forgets_who_runs_at_restart() -> Broken:
    """What an earlier process of the owner started takes no room from the next one's jobs."""
    forgotten: dict[int, set[Attempt]] = {}
    look, held = Effects.look, Line._held

    def forget(self: Effects, *running: Any) -> None:
        look(self, *running)
        forgotten[id(self.begun)] = set(self.begun)

    def without(self: Line, begun: Any) -> tuple[list[Waiting], list[Running]]:
        waiting, running = held(self, begun)
        lost = forgotten.get(id(begun), set())
        return waiting, [one for one in running if one.key not in lost]

    return together(patch.object(Effects, "look", forget), patch.object(Line, "_held", without))


def starts_what_has_retired() -> Broken:
    """A late claim of a job of which only the bill is left is taken for a new one."""
    real = LocalOwner.claim

    async def claim(self: LocalOwner, home: str, claim: Claim) -> Lease:
        ledger = self._ledger
        if claim.job_id in ledger.state.retired:
            key = claim.job_id, claim.attempt
            machine: Any = ledger.machine  # type: ignore[attr-defined]
            old = machine.programs.pop(key, None)
            if old is not None:
                machine.spawn(key, old.devices, 5.0)
        return await real(self, home, claim)

    return patch.object(LocalOwner, "claim", claim)


OF_QUEUES = (
    drain_lost_at_restart,
    drain_counts_at_the_next_reading,
    reservation_ignored,
    backoff_overtakes,
    late_arrival_by_name,
    forgets_who_runs_at_restart,
    starts_what_has_retired,
)
