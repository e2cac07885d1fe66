"""Reads this machine's devices once a second while somebody watches or a job runs, else seldom.

Readings stay in memory, bounded; the ledger gets a summary an hour at most. Health and free memory
are the planner's and the queue's: `health`, `devices`.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
import traceback
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, final

from mathcore.device import DeviceSpec
from mesh.api.telemetry import PeerNow
from mesh.edge.disk import StoreError
from mesh.edge.inventory import LocalDevices
from mesh.edge.telemetry.shown import Running, device_now
from mesh.edge.telemetry.summaries import Tally, is_notable
from mesh.state.answers import held_jobs
from mesh.state.facts.fact import encode
from mesh.state.facts.telemetry import TelemetrySummarised
from mesh.state.state import State
from providers.telemetry.energy import UNKNOWN, Meter, Point, added
from providers.telemetry.health import OK, Health
from providers.telemetry.machine import Device, Sample, Sampler
from providers.telemetry.sample import Reading

BUSY_S: Final = 1.0
IDLE_S: Final = 15.0
# A plan takes a reading of its own, unless the last one is as young as this.
FRESH_S: Final = 0.25
# Readings kept of each device: a quarter of an hour at 1 Hz, some 100 bytes each.
RING: Final = 900
# Ended attempts whose energy is remembered until somebody books it.
MAX_ENDED: Final = 256
# What a job's start says of another clock than ours is believed up to a week.
MAX_SINCE_MS: Final = 7 * 86_400_000

Emit = Callable[[str, str, dict[str, object]], Awaitable[object]]
Energy = tuple[int | None, str]  # millijoules, and what they rest on


@final
class Telemetry:
    """This peer's own readings; `may_sign` says whether its summaries may become events."""

    def __init__(
        self,
        sampler: Sampler,
        local: LocalDevices,
        state: Callable[[], State],
        emit: Emit,
        now: Callable[[], int],
        may_sign: Callable[[], bool],
        peer_id: str,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sampler, self._local, self._state = sampler, local, state
        self._emit, self._now, self._may_sign = emit, now, may_sign
        self._peer_id, self._steady = peer_id, steady
        self._lock = threading.Lock()  # the loop and plans in other threads take samples
        self._sample: Sample | None = None
        self._rings: dict[str, deque[Point]] = {}
        self._meters: dict[tuple[str, int], dict[str, Meter]] = {}  # by device
        self._ended: OrderedDict[tuple[str, int], Energy] = OrderedDict()
        self._tallies: dict[str, Tally] = {}
        self._told: dict[str, TelemetrySummarised] = {}
        self._watchers = 0
        self._folded_ms = 0
        self._wake = asyncio.Event()
        self._news = asyncio.Condition()

    # What others ask.

    def health(self, device_id: str) -> Health:
        """How one of this peer's devices is; ok for what is not its own."""
        sample = self._sample
        device = None if sample is None else self._by_id(sample).get(device_id)
        if device is not None:
            return device.health
        if sample is None or not self._local.is_own_card(device_id):
            return Health()
        return self._local.unseen(sample)

    def devices(self) -> list[DeviceSpec]:
        """This machine's devices with the free memory of this moment; blocking for a moment."""
        return self._local.live(self._state(), self.look())

    def reading(self, device_id: str) -> Reading | None:
        """The last reading of one of this peer's devices."""
        sample = self._sample
        device = None if sample is None else self._by_id(sample).get(device_id)
        return None if device is None else device.reading

    def energy(self, job_id: str, attempt: int) -> Energy:
        """(millijoules, basis) an attempt on this machine drew so far, or in all once it ended."""
        meters = self._meters.get((job_id, attempt))
        if meters is not None:
            return added([one.result() for one in meters.values()])
        return self._ended.get((job_id, attempt), (None, UNKNOWN))

    def points(self, device_id: str) -> tuple[Point, ...]:
        """The last readings of a device's power and load, the oldest first."""
        return tuple(self._rings.get(device_id, ()))

    def now(self) -> PeerNow:
        """All devices as they were read last."""
        sample, state = self._sample, self._state()
        jobs = self._running(state)
        found = {} if sample is None else self._by_id(sample)
        at_ms = int(self._steady() * 1000)
        rows = [
            device_now(
                view,
                found.get(view.device_id),
                self.health(view.device_id),
                jobs,
                self.energy,
                at_ms,
            )
            for view in self._local.own(state)
        ]
        return PeerNow(peer_id=self._peer_id, at_ms=self._now(), devices=tuple(rows))

    async def watch(self) -> AsyncIterator[PeerNow]:
        """What there is now, then every sample; the rate is the fast one while anybody does."""
        self._watchers += 1
        self._wake.set()
        try:
            if self._sample is None or self._age_s() > BUSY_S:
                await self.take()
            while True:
                yield self.now()
                async with self._news:
                    await self._news.wait()
        finally:
            self._watchers -= 1

    # Life.

    async def run(self) -> None:
        """Take samples until cancelled; one that fails is told in the log, and tried again."""
        while True:
            try:
                if self._is_due():
                    await self.take()
            except Exception:
                traceback.print_exc()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BUSY_S):
                    await self._wake.wait()
            self._wake.clear()

    def _is_due(self) -> bool:
        running = {job.key for job in self._running(self._state())}
        busy = self._watchers or running or running != self._meters.keys()
        slow = self._sample is not None and self._sample.slow  # is it only slow, or does it hang?
        return bool(busy) or slow or self._age_s() >= IDLE_S

    def _age_s(self) -> float:
        return float("inf") if self._sample is None else self._steady() - self._sample.at_ms / 1000

    async def take(self) -> None:
        """One sample, folded into what is kept, and told to those who watch."""
        sample = await asyncio.to_thread(self.look)
        if sample.at_ms > self._folded_ms:
            self._folded_ms = sample.at_ms
            self._fold(sample)
            await self._summarise(sample)
        async with self._news:
            self._news.notify_all()

    def look(self) -> Sample:
        """A sample of this moment; blocks for milliseconds, half a second where a driver hangs."""
        with self._lock:
            if self._sample is None or self._age_s() > FRESH_S:
                jobs = self._running(self._state())
                self._sample = self._sampler.sample([job.key for job in jobs])
            return self._sample

    def _running(self, state: State) -> list[Running]:
        """Attempts that run on this peer's own devices."""
        own = {view.device_id for view in self._local.own(state)}
        return [
            Running((job.job_id, max(1, job.attempt)), job.devices, job.started_ms)
            for job in held_jobs(state).values()
            if job.started_ms and job.device_id in own
        ]

    def _by_id(self, sample: Sample) -> dict[str, Device]:
        return {self._local.device_id(one.index): one for one in sample.devices}

    def _fold(self, sample: Sample) -> None:
        state = self._state()
        jobs, found = self._running(state), self._by_id(sample)
        for device_id, device in found.items():
            point = _point(device, sample.at_ms, sum(device_id in job.devices for job in jobs))
            self._rings.setdefault(device_id, deque(maxlen=RING)).append(point)
            for job in jobs:
                if device_id in job.devices:
                    self._meters_of(job, state)[device_id].add(point)
            tally = self._tallies.get(device_id)
            if tally is None:
                health = self._told[device_id].health if device_id in self._told else OK
                tally = Tally(sample.at_ms, self._tdp_mw(state, device_id), health)
                self._tallies[device_id] = tally
            tally.add(device, sample.at_ms)
        for key in self._meters.keys() - {job.key for job in jobs}:
            parts = [one.finish(sample.at_ms) for one in self._meters.pop(key).values()]
            self._ended[key] = added(parts)
            while len(self._ended) > MAX_ENDED:
                self._ended.popitem(last=False)

    def _meters_of(self, job: Running, state: State) -> dict[str, Meter]:
        """The attempt's meter on each device; what it drew before this daemon saw it is
        estimated."""
        if job.key not in self._meters:
            since_ms = min(MAX_SINCE_MS, max(0, self._now() - job.started_ms))
            begun_ms = int(self._steady() * 1000) - since_ms
            self._meters[job.key] = {
                one: Meter(begun_ms, self._tdp_mw(state, one)) for one in job.devices
            }
        return self._meters[job.key]

    def _tdp_mw(self, state: State, device_id: str) -> int | None:
        view = state.devices.get(device_id)
        return view.facts.watts * 1000 or None if view is not None else None

    async def _summarise(self, sample: Sample) -> None:
        """Sign what an hour came to, where it says anything new."""
        for device_id, tally in list(self._tallies.items()):
            if not tally.is_over(sample.at_ms) or not self._may_sign():
                continue
            fact = tally.fact(sample.at_ms, self._now())
            del self._tallies[device_id]
            if not is_notable(self._told.get(device_id), fact, tally.memory_bytes):
                continue
            # A full disk or a copied key: the next hour has its own summary.
            with contextlib.suppress(StoreError):
                await self._emit("telemetry_summarised", device_id, encode(fact))
                self._told[device_id] = fact


def _point(device: Device, at_ms: int, jobs: int) -> Point:
    """The reading as energy sees it; of a device that gave none just now nothing is known."""
    reading = device.reading if not device.health.refused_by else None
    if reading is None:
        return Point(at_ms, None, None, max(1, jobs))
    return Point(at_ms, reading.power_mw, reading.utilisation_percent, max(1, jobs))
