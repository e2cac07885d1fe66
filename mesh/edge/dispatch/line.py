"""The owner's queue at work: what it holds is read from the state, the room from its devices.

Who starts next is `mesh/policy/queue`'s to say; this module brings it what it asks for, and keeps
its answer for those who want to know why a job waits, and when it should start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final, final

from mesh.api.wire.claims import MAX_MS, MAX_WORDS, Ask, Standing
from mesh.edge.dispatch.owner import declined
from mesh.edge.dispatch.ports import Ledger
from mesh.policy.decide import attempts_at
from mesh.policy.queue.backfill import reserved
from mesh.policy.queue.need import ALONE, Need, is_loaded, needs_of
from mesh.policy.queue.queue import decide_queue
from mesh.policy.queue.room import with_word
from mesh.policy.queue.values import (
    Attempt,
    Part,
    Prediction,
    QueueDecision,
    Room,
    Running,
    Waiting,
)
from mesh.policy.standing import may_use
from mesh.state.answers import devices_of
from mesh.state.facts.plan import Percentiles
from mesh.state.fleet import DeviceView
from mesh.state.jobs import PAUSED, RUNNING, SERVER, AttemptView, JobView

# A reading of free memory this old is taken anew before anything is started by it.
FRESH_S: Final = 1.0
# Of a log-normal through the median and the ninetieth percentile: the eightieth's share of the way.
P80_OF_P90: Final = 0.8416 / 1.2816
Begun = Mapping[Attempt, Sequence[str]]  # what may run here, and on which devices
# What an ask can't wait out: the home should look elsewhere.
CLOSED: Final = frozenset({"NoFit", "Drained", "Unreachable", "DependencyMissing"})


@final
class Line:
    """One owner's queue. `rooms` reads every device; it may take a second, in a thread."""

    def __init__(
        self, ledger: Ledger, rooms: Callable[[], Sequence[Room]], now_ms: Callable[[], int]
    ) -> None:
        self._ledger: Final = ledger
        self._read: Final = rooms
        self._now_ms: Final = now_ms
        self._rooms: Sequence[Room] = ()
        self._read_s = float("-inf")  # on the loop's clock
        self._reading: asyncio.Task[None] | None = None
        self._skips: dict[Attempt, int] = {}
        self.decision = QueueDecision()

    def decide(self, begun: Begun, read: Callable[[], None]) -> QueueDecision:
        """Who starts and who makes room now, by the last reading; `begun` are the devices of each
        attempt that may run, `read` is called when a newer one is there, for whoever waits."""
        waiting, running = self._held(begun)
        if waiting and _now_s() - self._read_s > FRESH_S:
            self._look_soon(read)
        self.decision = decide_queue(waiting, running, self._told(), self._now_ms())
        alive = {one.key for one in waiting}
        counted = {**self._skips, **self.decision.skips}
        self._skips = {key: count for key, count in counted.items() if key in alive}
        return self.decision

    def standing(self, job_id: str, attempt: int) -> Standing:
        """Why an attempt waits here, and when it should start and end."""
        key = (job_id, attempt)
        return self._standing(self.decision, key, self._now_ms())

    async def expects(self, device: DeviceView, ask: Ask) -> Standing:
        """How an attempt would stand if it came now; RequestError where it never would start."""
        if _now_s() - self._read_s > FRESH_S:
            await self._look()
        now, key = self._now_ms(), (ask.job_id, ask.attempt)
        waiting, running = self._held({})
        asked = _asked(ask, now)
        found = decide_queue([*waiting, asked], running, self._told(), now)
        reason = found.reasons.get(key)
        if reason is not None and reason.code in CLOSED:
            raise declined(reason.code, f"{device.name}: {self._named(reason.text)}")
        return self._standing(found, key, now)

    def _standing(self, decision: QueueDecision, key: Attempt, now_ms: int) -> Standing:
        reason = decision.reasons.get(key)
        text = self._named(reason.text) if reason else ""
        return _standing(reason.code if reason else "", text, decision.predicted.get(key), now_ms)

    def _named(self, text: str) -> str:
        """The queue speaks of ids, people know names; the longest ids first, which hold others."""
        devices = self._ledger.state.devices
        ids = sorted((room.device_id for room in self._rooms), key=len, reverse=True)
        for one in ids:
            if one in text and one in devices:
                text = text.replace(one, devices[one].name)
        return text

    def open_to(self, job: JobView, one: AttemptView) -> bool:
        """Whether this peer's word on its device, and its home's role, still let an attempt begin:
        what it needs may have taken minutes to come."""
        job = self._ledger.state.jobs.get(job.job_id, job)  # it may have another home by now
        if not self._trusts(job):
            return False
        now, waits = self._now_ms(), self._waiting(job, one)
        return all(self._is_open(part.device_id, waits, now) for part in waits.parts)

    def _is_open(self, device_id: str, waits: Waiting, now_ms: int) -> bool:
        unread = Room(device_id=device_id, total_bytes=0, free_bytes=None, read_ms=0)
        room = with_word(unread, self._ledger.state, now_ms)
        return not room.drained and reserved(room, waits, now_ms) is None

    def _trusts(self, job: JobView) -> bool:
        return may_use(self._ledger.state.members, job.home, self._ledger.author)

    def _told(self) -> list[Room]:
        """The last reading, with this peer's word on each device: a drain counts at once."""
        state, now = self._ledger.state, self._now_ms()
        return [with_word(room, state, now) for room in self._rooms]

    def _look_soon(self, read: Callable[[], None]) -> None:
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._look())
            self._reading.add_done_callback(lambda _: read())

    async def _look(self) -> None:
        self._rooms = await asyncio.to_thread(self._read)
        self._read_s = _now_s()

    def _held(self, begun: Begun) -> tuple[list[Waiting], list[Running]]:
        """Everything this owner has accepted: what waits, and what has its device, strays too."""
        strays = dict(begun)
        waiting, running = list[Waiting](), list[Running]()
        reads = {room.device_id: room.read_ms for room in self._rooms}
        for job, one in attempts_at(self._ledger.state, self._ledger.author):
            strays.pop((job.job_id, one.number), None)
            if one.status in (RUNNING, PAUSED) or (job.job_id, one.number) in begun:
                running.append(self._running(job, one, reads))
            elif not job.cancel_asked:
                waiting.append(self._waiting(job, one))
        running += [_stray(key, devices) for key, devices in strays.items() if devices]
        return waiting, running

    def _parts(self, job: JobView, one: AttemptView) -> tuple[Part, ...]:
        """What it takes of each device it has, by the plan of the attempt that counts; of another
        attempt nobody here has that any more."""
        known = needs_of(job) if one.number == job.attempt else {}
        return tuple(
            Part(device_id=device_id, need=known.get(device_id, ALONE))
            for device_id in devices_of(self._ledger.state, one)
        )

    def _waiting(self, job: JobView, one: AttemptView) -> Waiting:
        p50, p80, p90 = _band(job, one)
        first, *others = self._parts(job, one)
        return Waiting(
            job_id=job.job_id,
            attempt=one.number,
            device_id=first.device_id,
            need=first.need,
            others=tuple(others),
            priority=job.asked.priority,
            accepted_ms=one.accepted_ms or one.dispatched_ms,
            deadline_ms=job.due_ms,
            arrived=one.fence,
            p50_ms=p50,
            p80_ms=p80,
            p90_ms=p90,
            preemptible=job.asked.preemptible,
            skips=self._skips.get((job.job_id, one.number), 0),
            by=job.home,
            trusted=self._trusts(job),
        )

    def _running(self, job: JobView, one: AttemptView, reads: Mapping[str, int]) -> Running:
        p50, p80, p90 = _band(job, one)
        first, *others = parts = self._parts(job, one)
        return Running(
            job_id=job.job_id,
            attempt=one.number,
            device_id=first.device_id,
            need=first.need,
            others=tuple(others),
            started_ms=one.started_ms or one.accepted_ms or one.dispatched_ms,
            p50_ms=p50,
            p80_ms=p80,
            p90_ms=p90,
            priority=job.asked.priority,
            preemptible=job.asked.preemptible,
            loaded=is_loaded(job, min(reads.get(part.device_id, 0) for part in parts)),
        )


def _stray(key: Attempt, devices: Sequence[str]) -> Running:
    """What no lease tells of any more: nobody knows what it takes of them."""
    first, *others = (Part(device_id=one, need=ALONE) for one in devices)
    return Running(
        job_id=key[0],
        attempt=key[1],
        device_id=first.device_id,
        need=first.need,
        started_ms=0,
        others=tuple(others),
    )


def _asked(ask: Ask, now_ms: int) -> Waiting:
    others = [(one.device_id, one.memory_bytes) for one in ask.members]
    return Waiting(
        job_id=ask.job_id,
        attempt=ask.attempt,
        device_id=ask.device_id,
        need=_asked_need(ask.memory_bytes, ask.ram_bytes),
        others=tuple(Part(device_id=one, need=_asked_need(size, 0)) for one, size in others),
        priority=ask.priority,
        accepted_ms=now_ms,
        deadline_ms=None if ask.deadline_in_ms is None else now_ms + ask.deadline_in_ms,
        p50_ms=ask.p50_ms,
        p80_ms=_p80(ask.p50_ms, ask.p90_ms),
        p90_ms=ask.p90_ms,
    )


def _standing(code: str, text: str, predicted: Prediction | None, now_ms: int) -> Standing:
    """As it is told to other peers, whose clocks differ."""
    found = predicted or Prediction()
    chance = found.p_deadline

    def within(at_ms: int | None) -> int | None:
        return None if at_ms is None else min(MAX_MS, max(0, at_ms - now_ms))

    return Standing(
        code=code,
        text=text[:MAX_WORDS],
        start_p50_ms=within(found.start_p50_ms),
        start_p90_ms=within(found.start_p90_ms),
        end_p50_ms=within(found.end_p50_ms),
        end_p90_ms=within(found.end_p90_ms),
        p_ppm=None if chance is None else round(1_000_000 * chance),
    )


def _asked_need(memory_bytes: int, ram_bytes: int) -> Need:
    return Need(memory_bytes=memory_bytes, ram_bytes=ram_bytes) if memory_bytes else ALONE


def _band(job: JobView, one: AttemptView) -> tuple[int, int, int]:
    """(p50, p80, p90) of its time, ms; zeros where nobody can say: a server runs until it is
    cancelled."""
    if job.kind == SERVER:
        return 0, 0, 0
    if one.number != job.attempt or job.plan is None:
        return one.expected_ms, one.expected_ms, one.expected_ms
    band: Percentiles = job.predicted.duration_ms
    return band.p50, _p80(band.p50, band.p90), band.p90


def _p80(p50: int, p90: int) -> int:
    return round(p50 * (p90 / p50) ** P80_OF_P90) if 0 < p50 <= p90 else p50


def _now_s() -> float:
    return asyncio.get_running_loop().time()
