"""One peer's whole part in dispatch, put together: home, owner, hands, and copies of outputs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, final

from mathcore.device import DeviceSpec
from mesh.edge.dispatch.candidates import Chooser
from mesh.edge.dispatch.dispatcher import Dispatcher
from mesh.edge.dispatch.files import JobFiles
from mesh.edge.dispatch.fleet import FleetOwners
from mesh.edge.dispatch.giving_way import GivingWay
from mesh.edge.dispatch.home import Home
from mesh.edge.dispatch.line import Line
from mesh.edge.dispatch.mirror import Mirror
from mesh.edge.dispatch.owner import LocalOwner
from mesh.edge.dispatch.ports import Fact, Ledger, ModelFiles
from mesh.edge.dispatch.remote import Call
from mesh.edge.jobs.effects import Effects
from mesh.edge.jobs.private import JOBS
from mesh.policy.decide import decide
from mesh.policy.queue.values import Room
from mesh.policy.standing import is_heard
from mesh.state.jobs import JobView
from providers import local
from providers.attempts import Attempts

# Times as long as a step took, none is made: with a thousand jobs in line one takes 14 ms, and each
# claim, event and end asks for another.
STEP_PAUSES: Final = 9
# Kinds of events by which a device takes jobs that it did not take before, or there is money for
# them that there was not.
OPENS: Final = frozenset({"device_registered", "device_resumed", "reservation_ended"}) | {
    "budget_cap_set",
    "budget_taken",
}


@final
class Dispatch:
    """Everything one peer does about jobs. `call` asks another peer, `linked` says whether one is
    reached, `attempts` where a device's attempts run, `may_act` whether this peer may sign, `rooms`
    reads the devices, `wake` has `step` called soon."""

    def __init__(
        self,
        home: Path,
        ledger: Ledger,
        call: Call,
        *,
        linked: Callable[[bytes], bool],
        live: Callable[[], Sequence[DeviceSpec]],
        attempts: Callable[[str], Attempts],
        may_act: Callable[[], bool],
        models: ModelFiles,
        rooms: Callable[[], Sequence[Room]],
        now_ms: Callable[[], int],
        wake: Callable[[], None],
        energy: Callable[[str, int], tuple[int | None, str]] = lambda *_: (None, ""),
        writes_here: Callable[[str], bool] = lambda _: True,
        bring_ms: Callable[[str, int], int] = lambda *_: 0,
    ) -> None:
        self._ledger: Final = ledger
        self._folder: Final = home / JOBS
        self._wake: Final = wake
        self.line: Final = Line(ledger, rooms, now_ms)
        self.giving_way: Final = GivingWay(ledger, attempts)
        me, state = ledger.author, lambda: ledger.state
        self.effects: Final = Effects(home, me, state, self._emit, attempts, models, energy)
        self.files: Final = JobFiles(home, ledger, call, attempts)
        self.effects.preparation.bring = self.files.bring
        self.effects.may_begin = self.line.open_to
        self.owner: Final = LocalOwner(home, ledger, self.line, self.effects, models, bring_ms)
        owners = FleetOwners(me, lambda: self.owner, call, linked)
        chooser = Chooser(home, me, state, live, models, now_ms)
        self.home: Final = Home(home, ledger, owners, chooser.candidates, models)
        self.mirror: Final = Mirror(home, ledger, owners, writes_here)

        def may() -> bool:
            return may_act() and is_heard(ledger.state.members, me)

        self._may: Final = may
        self.dispatcher: Final = Dispatcher(ledger, self.home, self.effects, may)

    def step(self) -> float:
        """Begin what is to be done now, here and on other peers' devices. Never waits.

        Returns the seconds for which no other step should be made.
        """
        began_s = time.monotonic()
        me, jobs = self._ledger.author, list(self._ledger.state.jobs.values())
        self.home.forget({job.job_id for job in jobs if job.home == me and is_open(job)})
        self.effects.settle(acts=self._may())
        line = self.line.decide(self.effects.begun, self._wake)
        self.dispatcher.carry_out(
            decide(
                self._ledger.state,
                me,
                begun=self.effects.begun.keys(),
                strays=self.effects.strays.due(),
                start=frozenset(line.start),
                preempt=frozenset(line.preempt),
            )
        )
        self.mirror.follow(jobs)
        return STEP_PAUSES * (time.monotonic() - began_s)

    def heard(self, kinds: Iterable[str]) -> None:
        """Events of these kinds came: where a device opened, whoever waits asks for it at once."""
        if not OPENS.isdisjoint(kinds):
            self.home.wake()

    def path_of(self, job: JobView, name: str) -> Path:
        """Where a file of a job's attempt that counts is on this machine; it may not exist yet."""
        return local.job_dir(self._folder, job.job_id, max(1, job.attempt)) / name

    def all_here(self, job_id: str) -> bool:
        """Whether what a job wrote has come home, as far as it will."""
        job = self._ledger.state.jobs.get(job_id)
        return job is None or self.mirror.is_here(job) or not self.mirror.hopes(job)

    async def close(self) -> None:
        """Stop; running attempts run on, and all of the rest is safe to repeat."""
        await self.dispatcher.close()
        await self.mirror.close()

    async def _emit(self, kind: str, device_id: str, payload: dict[str, object]) -> object:
        fact: Fact = (kind, device_id, payload)
        return await self._ledger.emit_all([fact])


def is_open(job: JobView) -> bool:
    """Whether a job goes on, or something may still come of one of its attempts."""
    return not job.ended or any(one.open for one in job.attempts)
