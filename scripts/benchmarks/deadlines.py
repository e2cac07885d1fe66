"""What becomes of what an owner's queue tells when a job comes: its end, the chance that it
meets its deadline. Histories of jobs whose lengths are as they say, played to their end.

argv: [histories] [seed].
"""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from typing import final

from mesh.policy.queue.need import Need
from mesh.policy.queue.queue import decide_queue
from mesh.policy.queue.values import Attempt, Prediction, QueueDecision, Room, Running, Waiting

GIB, MINUTE = 1 << 30, 60_000
DEVICES, JOBS = 4, 200  # of one history
BETWEEN_MS = 0.7 * MINUTE  # jobs come so often, at the mean: a line forms on every device
Z80, Z90 = 0.8416, 1.2816  # standard deviations to the percentiles
EDGES = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)


@final
@dataclass(frozen=True, slots=True)
class Told:
    """What was predicted of one job, and when it ended."""

    said: Prediction
    deadline_ms: int
    ended_ms: int


@final
@dataclass(slots=True)
class History:
    """One owner's jobs from the first to the last. `mixed`: some come that rank before others."""

    rng: random.Random
    mixed: bool
    waiting: dict[Attempt, Waiting] = field(default_factory=dict)
    running: dict[Attempt, Running] = field(default_factory=dict)
    took: dict[Attempt, int] = field(default_factory=dict)
    said: dict[Attempt, tuple[Prediction, int]] = field(default_factory=dict)
    ends: list[tuple[int, Attempt]] = field(default_factory=list)

    def play(self) -> Iterator[Told]:
        """Each job as it ends."""
        coming = sorted(int(self.rng.uniform(0, JOBS * BETWEEN_MS)) for _ in range(JOBS))
        number = 0
        while number < JOBS or self.ends:
            if number < JOBS and (not self.ends or coming[number] <= self.ends[0][0]):
                self.come(number, coming[number])
                number += 1
                continue
            now_ms, key = heappop(self.ends)
            del self.running[key]
            self.decide(now_ms)
            yield Told(*self.said[key], now_ms)

    def come(self, number: int, now_ms: int) -> None:
        """A job comes: its length is log-normal, with the p50 and p90 that it says."""
        p50, ratio = MINUTE * math.exp(self.rng.uniform(0, 3)), self.rng.uniform(1.2, 3)
        sigma = math.log(ratio) / Z90
        job = Waiting(
            job_id=f"j{number}",
            attempt=1,
            device_id=f"d{self.rng.randrange(DEVICES)}",
            need=Need(memory_bytes=self.rng.choice((4, 8, 12)) * GIB),
            priority=self.rng.choice((25, 50, 75)) if self.mixed else 50,
            accepted_ms=now_ms,
            deadline_ms=now_ms + int(p50 * self.rng.uniform(0.7, 8)),
            p50_ms=int(p50),
            p80_ms=int(p50 * math.exp(sigma * Z80)),
            p90_ms=int(p50 * ratio),
        )
        self.waiting[job.key] = job
        self.took[job.key] = int(p50 * math.exp(self.rng.gauss(0, sigma)))
        found = self.decide(now_ms).predicted[job.key]
        self.said[job.key] = found, job.deadline_ms or 0

    def decide(self, now_ms: int) -> QueueDecision:
        """Start who may start now."""
        rooms = [_room(n, now_ms) for n in range(DEVICES)]
        found = decide_queue(
            list(self.waiting.values()), list(self.running.values()), rooms, now_ms
        )
        for key in found.start:
            self.running[key] = _running(self.waiting.pop(key), now_ms)
            heappush(self.ends, (now_ms + self.took[key], key))
        for key, count in found.skips.items():
            if key in self.waiting:
                self.waiting[key] = replace(self.waiting[key], skips=count)
        return found


def _room(number: int, now_ms: int) -> Room:
    return Room(
        device_id=f"d{number}",
        total_bytes=24 * GIB,
        free_bytes=24 * GIB,
        read_ms=now_ms,
        ram_free_bytes=64 * GIB,
    )


def _running(job: Waiting, now_ms: int) -> Running:
    return Running(
        job_id=job.job_id,
        attempt=job.attempt,
        device_id=job.device_id,
        need=job.need,
        started_ms=now_ms,
        p50_ms=job.p50_ms,
        p80_ms=job.p80_ms,
        p90_ms=job.p90_ms,
        priority=job.priority,
    )


def main(words: Sequence[str]) -> None:
    """Tables for queues without and with jobs that rank before others."""
    number, seed = map(int, [*words, *("50", "1")[len(words) :]])
    for mixed in (False, True):
        rng = random.Random(seed)
        told = [one for _ in range(number) for one in History(rng, mixed).play()]
        print("== some rank before others" if mixed else "== all rank alike")
        show(told)


def show(told: Sequence[Told]) -> None:
    """How often it was in time, by the chance that was told; and how late against p50 and p90."""
    pairs = [
        (one.said.p_deadline, one.ended_ms <= one.deadline_ms)
        for one in told
        if one.said.p_deadline is not None
    ]
    for low, high in zip(EDGES, EDGES[1:], strict=False):
        some = [(p, met) for p, met in pairs if low <= p < high or p == high == 1.0]
        if some:
            mean, met = sum(p for p, _ in some) / len(some), sum(m for _, m in some) / len(some)
            print(f"told {100 * mean:.0f} %: in time {100 * met:.0f} % of {len(some)}")
    brier = sum((p - met) ** 2 for p, met in pairs) / len(pairs)
    base = sum(met for _, met in pairs) / len(pairs)
    print(f"Brier score {brier:.3f}; of always telling the mean {base * (1 - base):.3f}")
    for name, bound in (("p50", 0.5), ("p90", 0.9)):
        said = [getattr(one.said, f"end_{name}_ms") for one in told]
        known = [(at, one.ended_ms) for at, one in zip(said, told, strict=True) if at is not None]
        inside = sum(end <= at for at, end in known) / len(known)
        print(f"ended by {name}: {100 * inside:.0f} % (told {100 * bound:.0f})")


if __name__ == "__main__":
    main(sys.argv[1:])
