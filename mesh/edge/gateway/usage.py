"""What requests to this peer's servers used, summed up and signed once a minute: no content, ever.

What was answered since the last summary is in memory alone: a crash loses a minute of it at most.
"""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, final

from mathcore.price import cost_nusd
from mesh.edge.gateway.own import Served
from mesh.state.answers import devices_of
from mesh.state.bills.in_force import InForce
from mesh.state.facts.serving import TailFact, UsageRow
from mesh.state.fleet import DeviceView
from mesh.state.state import State
from providers.telemetry.energy import added, by_tdp

SPAN_S: Final = 60.0
MAX_SAMPLES: Final = 512  # of a row's times: quantiles of a minute need no more
# Rows of a minute; what comes beyond is booked under no key.
MAX_KEPT: Final = 1024

Key = tuple[str, str, str, str]  # key id, model, device, job
Summary = tuple[int, int, list[UsageRow]]  # since when, for how long, and what
Tell = Callable[[int, int, Sequence[UsageRow]], Awaitable[object]]


@final
class Sample:
    """Some of many times, each as likely as the others."""

    def __init__(self) -> None:
        self._seen, self._kept = 0, list[int]()

    def add(self, ms: int) -> None:
        """One more."""
        self._seen += 1
        if len(self._kept) < MAX_SAMPLES:
            self._kept.append(ms)
        elif (place := random.randrange(self._seen)) < MAX_SAMPLES:
            self._kept[place] = ms

    def tail(self) -> TailFact | None:
        """The median and the slowest; None of nothing."""
        if not self._kept:
            return None
        kept = sorted(self._kept)
        p50, p90, p99 = (kept[min(len(kept) - 1, len(kept) * q // 100)] for q in (50, 90, 99))
        return TailFact(p50=p50, p90=p90, p99=p99)


@final
@dataclass(slots=True)
class _Row:
    """One key's requests of one server since the last summary."""

    requests: int = 0
    errors: int = 0
    cut: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    energy_mj: int = 0
    energy_basis: str = ""
    cost_nusd: int = 0
    first_ms: Sample = field(default_factory=Sample)
    took_ms: Sample = field(default_factory=Sample)

    def add(self, one: Served, cost_nusd: int, energy_mj: int, basis: str) -> None:
        """One more request."""
        tally = one.tally
        self.requests += 1
        self.errors += one.failed
        self.cut += one.failed and tally.first_s is not None
        self.prompt_tokens += tally.prompt_tokens
        self.cached_tokens += tally.cached_tokens
        self.generated_tokens += tally.tokens
        self.energy_mj, self.energy_basis = self.energy_mj + energy_mj, basis or self.energy_basis
        self.cost_nusd += cost_nusd
        if tally.first_s is not None:
            self.first_ms.add(round(1000 * tally.first_s))
        self.took_ms.add(round(1000 * tally.took_s))

    def fact(self, key: Key) -> UsageRow:
        """As it is signed."""
        key_id, model, device_id, job_id = key
        return UsageRow(
            key_id=key_id,
            model=model,
            device_id=device_id,
            job_id=job_id,
            requests=self.requests,
            errors=self.errors,
            cut=self.cut,
            prompt_tokens=self.prompt_tokens,
            cached_tokens=self.cached_tokens,
            generated_tokens=self.generated_tokens,
            energy_mj=self.energy_mj,
            energy_basis=self.energy_basis,
            cost_nusd=self.cost_nusd,
            first_token_ms=self.first_ms.tail(),
            duration_ms=self.took_ms.tail(),
        )


@final
class UsageBook:
    """One owner's. `tell` signs what was used since a moment, for so long; `now_ms` is UTC."""

    def __init__(self, state: Callable[[], State], tell: Tell, now_ms: Callable[[], int]) -> None:
        self._state: Final = state
        self._tell: Final = tell
        self._now_ms: Final = now_ms
        self._rows: dict[Key, _Row] = {}
        self._unsigned: Summary | None = None  # the disk refused it: it is tried again
        self._since_s = time.monotonic()

    def served(self, one: Served) -> int:
        """Book a request's end; what it cost: its share of the time of all its server's devices."""
        devices = self._devices(one)
        ms = round(1000 * one.share_s)
        now = InForce(self._state(), self._now_ms())
        cost = sum(cost_nusd(now.price(device), ms) for device in devices)
        energy_mj, basis = added([by_tdp(device.facts.watts, ms, 1) for device in devices])
        key = one.key_id, one.job.model, one.device_id, one.job.job_id
        if key not in self._rows and len(self._rows) >= MAX_KEPT:
            key = "", *key[1:]
        self._rows.setdefault(key, _Row()).add(one, cost, energy_mj or 0, basis)
        return cost

    async def step(self, *, last: bool = False) -> None:
        """Sign what a minute came to; `last`: whatever there is."""
        if self._unsigned is None:
            self._unsigned = self._summary(last=last)
        if self._unsigned is not None:
            await self._tell(*self._unsigned)
            self._unsigned = None
        if last and self._rows:
            await self.step(last=True)

    def _summary(self, *, last: bool) -> Summary | None:
        """What is booked so far, and booked no more; None where it is not time yet."""
        now_s = time.monotonic()
        span_ms = round(1000 * (now_s - self._since_s))
        if not self._rows:
            self._since_s = now_s
        if not self._rows or (span_ms < 1000 * SPAN_S and not last):
            return None
        rows, self._rows, self._since_s = self._rows, {}, now_s
        begun_ms = max(0, self._now_ms() - span_ms)
        return begun_ms, span_ms, [row.fact(key) for key, row in rows.items()]

    def _devices(self, one: Served) -> Sequence[DeviceView]:
        state = self._state()
        for attempt in one.job.attempts:
            if attempt.device_id == one.device_id:
                found = [state.devices.get(each) for each in devices_of(state, attempt)]
                return [device for device in found if device is not None]
        return ()
