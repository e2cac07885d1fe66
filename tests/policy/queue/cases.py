"""Queues made up by a random generator, and a small owner that lives by the decisions."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from mesh.policy.queue.need import ALONE, Need
from mesh.policy.queue.values import (
    Attempt,
    Foreign,
    Part,
    QueueDecision,
    Reservation,
    Room,
    Running,
    Waiting,
)

GIB = 1 << 30
MINUTE = 60_000
T0 = 1_800_000_000_000
KEYS = ("ana", "ben")
Decide = Callable[..., QueueDecision]


def waiting(job_id: str, **given: object) -> Waiting:
    """A job of a minute that needs 4 GiB on the only card."""
    fields = {
        "job_id": job_id, "attempt": 1, "device_id": "gpu0", "need": Need(memory_bytes=4 * GIB),
        "accepted_ms": T0, "p50_ms": MINUTE, "p80_ms": MINUTE, "p90_ms": MINUTE,
    }  # fmt: skip
    return Waiting(**{**fields, **given})  # type: ignore[arg-type]


def running(job_id: str, **given: object) -> Running:
    """The same, started just now."""
    fields = {
        "job_id": job_id, "attempt": 1, "device_id": "gpu0", "need": Need(memory_bytes=4 * GIB),
        "started_ms": T0, "p50_ms": MINUTE, "p80_ms": MINUTE, "p90_ms": MINUTE,
    }  # fmt: skip
    return Running(**{**fields, **given})  # type: ignore[arg-type]


def room(device_id: str = "gpu0", gib: float = 24, **given: object) -> Room:
    """A card with so much memory, all of it free a moment ago."""
    size = int(gib * GIB)
    fields = {
        "device_id": device_id, "total_bytes": size, "free_bytes": size, "read_ms": T0,
        "ram_free_bytes": 64 * GIB,
    }  # fmt: skip
    return Room(**{**fields, **given})  # type: ignore[arg-type]


def a_need(rng: random.Random) -> Need:
    if rng.random() < 0.15:
        return ALONE
    return Need(
        memory_bytes=rng.randint(1, 26) * GIB,
        ram_bytes=rng.choice((0, 0, rng.randint(1, 40) * GIB)),
        cards=rng.choice((1, 1, 1, 2)),
    )


def a_length(rng: random.Random) -> dict[str, int]:
    if rng.random() < 0.15:
        return {"p50_ms": 0, "p80_ms": 0, "p90_ms": 0}
    p50 = rng.randint(1_000, 40 * MINUTE)
    p80 = int(p50 * rng.uniform(1.0, 1.6))
    return {"p50_ms": p50, "p80_ms": p80, "p90_ms": int(p80 * rng.uniform(1.0, 1.5))}


def a_gang(rng: random.Random, devices: list[str]) -> tuple[str, tuple[Part, ...]]:
    """A device, and now and then what a gang takes of more; not always of one host."""
    first, *more = rng.sample(devices, rng.choice((1, 1, 1, min(2, len(devices)), len(devices))))
    return first, tuple(Part(device_id=one, need=a_need(rng)) for one in more)


def a_job(rng: random.Random, number: int, now: int, devices: list[str]) -> Waiting:
    first, others = a_gang(rng, devices)
    return Waiting(
        job_id=f"j{number:03d}",
        attempt=1,
        device_id=first,
        others=others,
        need=a_need(rng),
        priority=rng.randint(0, 100),
        accepted_ms=now - rng.randint(0, 90 * MINUTE),
        deadline_ms=rng.choice((None, now + rng.randint(-5, 90) * MINUTE)),
        preemptible=rng.random() < 0.5,
        skips=rng.choice((0, 0, 0, 3, 5, 7)),
        by=rng.choice(KEYS),
        **a_length(rng),
    )


def a_room(rng: random.Random, device_id: str, now: int) -> Room:
    total = rng.choice((8, 24, 48)) * GIB
    held = rng.choice((0, 0, rng.randint(1, 9) * GIB))
    start = now + rng.randint(-60, 60) * MINUTE
    until = start + rng.randint(1, 90) * MINUTE
    return Room(
        device_id=device_id,
        total_bytes=total,
        free_bytes=None if rng.random() < 0.03 else max(0, total - held - rng.randint(0, 1) * GIB),
        read_ms=now - rng.choice((0, 500, 90_000 if rng.random() < 0.1 else 1_000)),
        cards=rng.choice((1, 2)),
        ram_free_bytes=rng.choice((None, 16 * GIB, 64 * GIB)),
        max_jobs=rng.choice((0, 0, 1, 3)),
        foreign=(Foreign(pid=4242, program="ollama", bytes=held),) if held else (),
        drained=rng.choice(("", "", "", "maintenance")),
        reservations=rng.choice(
            ((), (), (Reservation(by=rng.choice(KEYS), from_ms=start, until_ms=until),))
        ),
        health=rng.choice(("", "", "", "degraded", "lost")),
        host=rng.choice(("", "h")),
        is_ram=rng.random() < 0.2,
    )


@dataclass(slots=True)
class Case:
    """One question to the queue."""

    waiting: list[Waiting]
    running: list[Running]
    rooms: list[Room]
    now: int = T0

    def ask(self, decide: Decide) -> QueueDecision:
        return decide(self.waiting, self.running, self.rooms, self.now)


def a_case(rng: random.Random) -> Case:
    """Devices, a few jobs that fit there and run, and many that wait."""
    devices = [f"gpu{n}" for n in range(rng.randint(1, 3))]
    rooms = [a_room(rng, one, T0) for one in devices]
    if rng.random() < 0.4:  # a host as most are: all its cards work
        well = {"host": "h", "drained": "", "health": "", "read_ms": T0, "is_ram": False}
        rooms = [replace(one, **well) for one in rooms]
    run: list[Running] = []
    for one in rooms:
        left, loaded = one.free_bytes or 0, 0
        for n in range(rng.randint(0, 2)):
            need = Need(memory_bytes=rng.randint(1, 8) * GIB)
            if need.memory_bytes > left:
                continue
            left -= need.memory_bytes
            is_loaded = rng.random() < 0.5
            loaded += need.memory_bytes * is_loaded
            run.append(
                Running(
                    job_id=f"{one.device_id}-r{n}",
                    attempt=1,
                    device_id=one.device_id,
                    need=need,
                    started_ms=T0 - rng.randint(0, 30 * MINUTE),
                    priority=rng.randint(0, 100),
                    preemptible=rng.random() < 0.5,
                    loaded=is_loaded,
                    **a_length(rng),
                )
            )
        if one.free_bytes is not None:
            at = rooms.index(one)
            rooms[at] = replace(one, free_bytes=one.free_bytes - loaded)
    run += a_running_gang(rng, rooms, run)
    jobs = [a_job(rng, n, T0, [*devices, "gone"]) for n in range(rng.randint(0, 12))]
    return Case(jobs, run, rooms)


def a_running_gang(rng: random.Random, rooms: list[Room], run: list[Running]) -> list[Running]:
    """One that fits beside what runs on every device, now and then, and is not loaded yet."""
    if len(rooms) < 2 or rng.random() < 0.5:
        return []
    size = rng.randint(1, 4) * GIB
    for one in rooms:
        fresh = [j.need.memory_bytes for j in run if j.device_id == one.device_id and not j.loaded]
        if one.free_bytes is None or size + sum(fresh) > one.free_bytes:
            return []
    need = Need(memory_bytes=size)
    return [
        Running(
            job_id="gang",
            attempt=1,
            device_id=rooms[0].device_id,
            need=need,
            others=tuple(Part(device_id=one.device_id, need=need) for one in rooms[1:]),
            started_ms=T0 - rng.randint(0, 30 * MINUTE),
            priority=rng.randint(0, 100),
            preemptible=rng.random() < 0.5,
            **a_length(rng),
        )
    ]


@dataclass(slots=True)
class Owner:
    """An owner that starts what it is told and whose jobs end when `lengths` says."""

    decide: Decide
    rooms: list[Room]
    lengths: dict[str, int]
    now: int = T0
    waiting: list[Waiting] = field(default_factory=list)
    running: list[Running] = field(default_factory=list)
    skips: dict[Attempt, int] = field(default_factory=dict)
    started_at: dict[str, int] = field(default_factory=dict)
    said: QueueDecision = field(default_factory=QueueDecision)

    def step(self) -> None:
        """Ask, start, and let time go to the next end."""
        waiting = [replace(one, skips=self.skips.get(one.key, 0)) for one in self.waiting]
        rooms = [replace(one, read_ms=self.now) for one in self.rooms]
        self.said = self.decide(waiting, self.running, rooms, self.now)
        self.skips.update(self.said.skips)
        for one in self.waiting:
            if one.key in self.said.start:
                self.running.append(self._started(one))
                self.started_at[one.job_id] = self.now
        self.waiting = [one for one in self.waiting if one.key not in self.said.start]

    def pass_time(self) -> list[str]:
        """To the next end of a running job; who ended."""
        if not self.running:
            self.now += MINUTE
            return []
        self.now = min(self._end(one) for one in self.running)
        ended = [one.job_id for one in self.running if self._end(one) == self.now]
        self.running = [one for one in self.running if one.job_id not in ended]
        return ended

    def _end(self, one: Running) -> int:
        return one.started_ms + self.lengths[one.job_id]

    def _started(self, one: Waiting) -> Running:
        return Running(
            job_id=one.job_id,
            attempt=one.attempt,
            device_id=one.device_id,
            need=one.need,
            others=one.others,
            started_ms=self.now,
            p50_ms=one.p50_ms,
            p80_ms=one.p80_ms,
            p90_ms=one.p90_ms,
            priority=one.priority,
        )
