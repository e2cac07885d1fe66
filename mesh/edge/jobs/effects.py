"""The owner's hands: starts, watches and stops the attempts it accepted; outcomes become events."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Set
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from mathcore.price import cost_nusd
from mesh.api.errors import RequestError
from mesh.edge.dispatch.ports import ModelFiles
from mesh.edge.jobs.outcomes import MAX_TEXT_CHARS, ended_fact, taken_away
from mesh.edge.jobs.preparing import Preparation, is_on_host
from mesh.edge.jobs.private import Gone, keep_words
from mesh.edge.jobs.strays import Attempt, Strays, is_over
from mesh.edge.locks import KeyedLocks
from mesh.policy.commands import AtDevice, EndStray, StartJob, StopJob, WatchJob
from mesh.policy.decide import attempts_at
from mesh.policy.reconcile import is_superfluous
from mesh.state.answers import are_one_gang, devices_of
from mesh.state.bills.in_force import InForce
from mesh.state.facts.fact import encode
from mesh.state.facts.job import JobCancelled, JobFailed, JobStarted
from mesh.state.fleet import DeviceView
from mesh.state.jobs import PAUSED, RUNNING, AttemptView, JobView
from mesh.state.state import State
from providers.attempts import Attempts
from providers.base import ProviderError, Taken, Unheard
from providers.telemetry.energy import added, by_tdp

Emit = Callable[[str, str, dict[str, object]], Awaitable[object]]
MayBegin = Callable[[JobView, AttemptView], bool]
# Why a model did not come that may come another time, or to another device.
TRANSIENT = frozenset({"Unreached", "Unanswered", "Metered", "Busy", "NoSpace"})
LOOK_S = 0.2  # how late a cancel may break off what an attempt is brought
T = TypeVar("T")
Energy = tuple[int | None, str]  # millijoules, and what they rest on
TAKEN_S = 2.0  # until an attempt whose card another peer has is tried again


class HeldUp(NamedTuple):
    """Why an attempt that was to start has not, or nobody knows; not to be tried before `until_s`
    of the loop's clock."""

    code: str
    text: str
    until_s: float = 0.0


class Cancelled(Exception):
    """A person cancelled the job while its attempt was being started."""


class Effects:
    """Carries out what one peer decided for the attempts on its own devices.

    `attempts` says where a device's attempts run: this machine, or a host reached by SSH. `energy`
    is what one drew so far, in mJ, and what that rests on.
    """

    def __init__(
        self,
        home: Path,
        author: str,
        state: Callable[[], State],
        emit: Emit,
        attempts: Callable[[str], Attempts],
        models: ModelFiles,
        energy: Callable[[str, int], Energy] = lambda *_: (None, ""),
    ) -> None:
        self._home = home
        self._author = author
        self._state = state
        self._emit = emit
        self._attempts = attempts
        self._energy = energy
        self.preparation = Preparation(home, author, attempts, models)
        # Asked once all is there that a start needs; what may not begin then waits in line again.
        self.may_begin: MayBegin = _always
        self._locks = KeyedLocks()
        # What may run here, and on which devices, whatever the ledger says of it.
        self.begun: dict[Attempt, tuple[str, ...]] = {}
        self.strays = Strays()  # those of them that the ledger tells nothing of
        self.held_up: dict[Attempt, HeldUp] = {}  # of those that were to start

    def look(self, running: Iterable[Attempt] = ()) -> None:
        """Find what an earlier process of ours had begun to start; `running`: on this machine."""
        state = self._state()
        for job, one in attempts_at(state, self._author):
            if self.has_begun(one, job.job_id):
                self.begun[job.job_id, one.number] = one.devices
        here = tuple(
            one.device_id
            for one in state.devices.values()
            if one.owner == self._author and not is_on_host(one)
        )
        for key in running:
            if here and not is_over(state, self._author, key):
                self.begun.setdefault(key, here)  # nobody knows any more which of them it has

    def settle(self, *, acts: bool) -> None:
        """Forget what has ended. `acts`: this peer's word counts."""
        state = self._state()
        mine = {(job.job_id, one.number) for job, one in attempts_at(state, self._author)}
        others = self.begun.keys() - mine
        for key in [key for key in others if is_over(state, self._author, key)]:
            del self.begun[key]
        self.strays.settle(self.begun.keys() - mine, acts=acts)
        for key in self.held_up.keys() - mine:
            del self.held_up[key]

    def has_begun(self, one: AttemptView, job_id: str) -> bool:
        """Whether a start of it was ever tried here."""
        return self._attempts(one.device_id).begun(job_id, one.number)

    async def run(self, command: AtDevice) -> None:
        """Carry out one command; safe to repeat after a crash at any point.

        Of one attempt one at a time: a stop must not miss a start that is under way.
        """
        async with self._locks.one_at_a_time((command.job_id, command.attempt)):
            await self._run(command)

    async def _run(self, command: AtDevice) -> None:
        if isinstance(command, EndStray):
            await self._end_stray((command.job_id, command.attempt))
            return
        job = self._state().jobs.get(command.job_id)
        one = None if job is None else self._mine(job, command.attempt)
        if job is None or one is None:
            return
        match command:
            case StartJob():
                await self._start(job, one)
            case WatchJob():
                await self._watch(job, one)
            case StopJob():
                await self._stop(job, one)

    async def stop(self, job_id: str, attempt: int) -> None:
        """Have an attempt ended, at its home's word; its end is booked as it comes."""
        await self.run(StopJob(job_id, attempt))

    async def read(
        self, job_id: str, attempt: int, name: str, offset: int, limit: int
    ) -> tuple[bytes, int]:
        """Part of one of an attempt's files, and the file's size; nothing of one not there."""
        job = self._state().jobs.get(job_id)
        for one in () if job is None else job.attempts:
            if one.number == attempt and one.owner == self._author:
                where = self._attempts(one.device_id)
                return await where.read(job_id, attempt, name, offset, limit)
        return b"", 0

    def _mine(self, job: JobView, number: int) -> AttemptView | None:
        """The attempt, where it is on a device of this peer's and has not ended."""
        for one in job.attempts:
            if one.number == number and one.owner == self._author and one.alive:
                return one
        return None

    async def fail(self, command: AtDevice, reason: str, words: str) -> None:
        """End an attempt that could not be started; it cost nothing. `words` stay here.

        One that runs goes on: an error of ours while it is watched or stopped says nothing of it.
        """
        job = self._state().jobs.get(command.job_id)
        one = None if job is None else self._mine(job, command.attempt)
        if job is None or one is None or not isinstance(command, StartJob):
            return
        if not self._attempts(one.device_id).ran(job.job_id, one.number):
            await self._fail(job, one, reason, "an error of this program", words)

    async def _fail(
        self, job: JobView, one: AttemptView, reason: str, text: str, words: str = ""
    ) -> None:
        """`text` goes to every peer; `words` may quote what was typed, and stay here."""
        if words:
            await asyncio.to_thread(keep_words, self._home, job.job_id, words)
        fact = JobFailed(
            job_id=job.job_id,
            attempt=one.number,
            reason=reason,
            text=text[:MAX_TEXT_CHARS],
            exit_code=0,
            actual_duration_ms=0,
            actual_cost_nusd=0,
            peak_memory_bytes=0,
        )
        await self._emit("job_failed", one.device_id, encode(fact))

    async def _start(self, job: JobView, one: AttemptView) -> None:
        devices = self._devices(one)
        if not devices:
            await self._fail(job, one, "no_resource", "its device is no device of this peer")
            return
        key = job.job_id, one.number
        if key in self.held_up and asyncio.get_running_loop().time() < self.held_up[key].until_s:
            return
        self.begun[key] = one.devices
        try:
            launch = await self._unless_cancelled(job, self.preparation.launch(job, one, devices))
            where = self._attempts(one.device_id)
            if not (where.begun(job.job_id, one.number) or self._is_still_to_begin(job, one)):
                self.begun.pop(key, None)
                return
            start = where.start(launch)
            # On a host it may bring gigabytes first; here it is a moment, and is not broken off.
            handle = await (self._unless_cancelled(job, start) if is_on_host(devices[0]) else start)
        except Cancelled:
            return  # the stop that comes next tells whoever runs it
        except Gone as error:
            await self._fail(job, one, "setup", error.text)
            return
        except Unheard as error:  # it may run there: the queue has it started again
            self.held_up[key] = HeldUp("Unreachable", f"{devices[0].name}: {error.text}")
            return
        except Taken as error:
            until_s = asyncio.get_running_loop().time() + TAKEN_S
            self.held_up[key] = HeldUp("Busy", f"{devices[0].name}: {error.text}", until_s)
            self.begun.pop(key, None)
            return
        except (ProviderError, RequestError) as error:
            if await self._never_ran(job, one):
                words = f"{error.text}; {error.hint}"
                reason = "infra" if getattr(error, "code", "") in TRANSIENT else "setup"
                await self._fail(job, one, reason, "it could not be started", words)
            return
        self.held_up.pop(key, None)
        fact = JobStarted(
            job_id=job.job_id,
            attempt=one.number,
            pid=handle.pid,
            model=job.model,
            batch_size=job.batch,
            estimated_duration_s=one.expected_ms // 1000,
        )
        await self._emit("job_started", one.device_id, encode(fact))

    def _is_still_to_begin(self, job: JobView, one: AttemptView) -> bool:
        """Whether it is now as it was when its start began, which may be minutes ago: ours, wanted,
        and let in by the word on its device."""
        now = self._state().jobs.get(job.job_id)
        mine = None if now is None else self._mine(now, one.number)
        if now is None or mine is None or is_superfluous(now, mine):
            return False
        return self.may_begin(now, mine)

    async def _unless_cancelled(self, job: JobView, done: Coroutine[Any, Any, T]) -> T:
        """What it comes to; Cancelled where a person cancels the job before: it is broken off."""
        task = asyncio.ensure_future(done)
        try:
            while not task.done():
                await asyncio.wait([task], timeout=LOOK_S)
                now = self._state().jobs.get(job.job_id)
                if not task.done() and (now is None or now.cancel_asked):
                    raise Cancelled
            return task.result()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _devices(self, one: AttemptView) -> list[DeviceView]:
        """All it was sent to; none where one of them is not this peer's, or of another host."""
        state = self._state()
        found = [state.devices.get(device_id) for device_id in one.devices]
        mine = [view for view in found if view is not None and view.owner == self._author]
        whole = len(mine) == len(found) and are_one_gang(state, one.devices)
        return mine if whole else []

    async def _end_stray(self, key: Attempt) -> None:
        """End what nobody claims any more; nobody is billed for it."""
        self.settle(acts=True)  # its lease may count again by now
        if key not in self.strays:
            return
        where = self._attempts(self.begun[key][0])
        await where.cancel(*key)
        with contextlib.suppress(ProviderError):  # its host holds nothing of it any more
            if await where.poll(*key) is None and where.begun(*key):
                return
        self.begun.pop(key, None)

    async def _never_ran(self, job: JobView, one: AttemptView) -> bool:
        """See that an attempt whose start failed never begins. False: it did, and goes on."""
        where = self._attempts(one.device_id)
        if where.ran(job.job_id, one.number):
            return False
        await where.cancel(job.job_id, one.number)
        if not where.ran(job.job_id, one.number):
            return True
        outcome = await where.poll(job.job_id, one.number)
        return outcome is not None and outcome.reason == "cancelled" and not outcome.duration_ms

    async def _watch(self, job: JobView, one: AttemptView) -> None:
        try:
            outcome = await self._attempts(one.device_id).poll(job.job_id, one.number)
        except ProviderError as error:
            await self._fail(job, one, "lost", "its host holds nothing of it any more", error.text)
            return
        if outcome is None:
            return
        event_type, fact = ended_fact(
            job,
            outcome,
            self._costs(one, outcome.duration_ms, outcome.ended_ms),
            one.number,
            energy=self._drawn(job, one, outcome.duration_ms),
            superfluous=is_superfluous(job, one),
        )
        await self._emit(event_type, one.device_id, fact)

    async def lose(self, device_ids: Set[str], now_ms: int) -> None:
        """Book what runs on devices that were taken away as interrupted: its time is paid for."""
        for job, one in list(attempts_at(self._state(), self._author)):
            if not device_ids.isdisjoint(one.devices):
                async with self._locks.one_at_a_time((job.job_id, one.number)):
                    await self._lose(job.job_id, one.number, now_ms)

    async def _lose(self, job_id: str, number: int, now_ms: int) -> None:
        job = self._state().jobs.get(job_id)
        one = None if job is None else self._mine(job, number)
        if job is None or one is None:
            return
        ran_ms = max(0, now_ms - one.started_ms) if one.started_ms else 0
        costs, energy = self._costs(one, ran_ms, now_ms), self._drawn(job, one, ran_ms)
        over = is_superfluous(job, one)
        outcome = taken_away(now_ms, ran_ms)
        event_type, fact = ended_fact(
            job, outcome, costs, one.number, energy=energy, superfluous=over
        )
        await self._emit(event_type, one.device_id, fact)

    def _drawn(self, job: JobView, one: AttemptView, duration_ms: int) -> Energy:
        """What the attempt drew. On a host nobody reads its power: its devices', under load, each
        shared with what runs there beside it now."""
        known, state = self._energy(job.job_id, one.number), self._state()
        first = state.devices.get(one.device_id)
        if known[0] is not None or first is None or not is_on_host(first):
            return known
        held = [other for _, other in attempts_at(state, self._author)]
        running = [other for other in held if other.status in (RUNNING, PAUSED)]
        drawn = list[Energy]()
        for device_id in devices_of(state, one):
            device = state.devices.get(device_id)
            beside = sum(device_id in devices_of(state, other) for other in running)
            watts = device.facts.watts if device is not None else 0
            drawn.append(by_tdp(watts, duration_ms, max(1, beside)))
        return added(drawn)

    def _costs(self, one: AttemptView, duration_ms: int, ended_ms: int) -> list[int]:
        """What each device it had comes to, at what it cost when it ended; 0 for one that is
        gone."""
        state = self._state()
        now = InForce(state, ended_ms)
        found = [state.devices.get(device_id) for device_id in devices_of(state, one)]
        return [cost_nusd(now.price(view), duration_ms) if view else 0 for view in found]

    async def _stop(self, job: JobView, one: AttemptView) -> None:
        where = self._attempts(one.device_id)
        await where.cancel(job.job_id, one.number)
        if where.ran(job.job_id, one.number):
            await self._watch(job, one)
            return
        fact = JobCancelled(
            job_id=job.job_id, attempt=one.number, actual_duration_ms=0, actual_cost_nusd=0
        )
        await self._emit("job_cancelled", one.device_id, encode(fact))


def _always(job: JobView, one: AttemptView) -> bool:
    """Nobody has a word on it."""
    return True
