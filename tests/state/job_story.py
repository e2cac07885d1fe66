"""Unsigned events of jobs and devices, made links of chains, and the state after them."""

import random
from dataclasses import replace

from mesh.ledger.event import Event
from mesh.state.fold import fold
from mesh.state.state import KEEP_ENDED, State

ANA, BEN = "a" * 64, "b" * 64
DAY_MS = 86_400_000
T0 = 1_800_000_000_000


def event(event_type: str, at: int = 0, author: str = ANA, device: str = "d", **payload) -> Event:
    """An event as the gate would hand it over; only the fold's fields matter here."""
    return Event(
        id=f"evt-{event_type}-{at}",
        hash=f"{event_type}-{at}",
        timestamp="2027-01-15T08:00:00.000Z",
        device_id=device,
        event_type=event_type,
        payload=payload,
        author=author,
        seq=1,
        prev="",
        hlc=f"{T0 + at:013d}-00000",
        sig="",
        v=1,
    )


def chained(events: list[Event]) -> list[Event]:
    """The events as each author's chain, in the order of their clocks."""
    made, tips = [], {}
    for one in sorted(events, key=lambda one: (one.hlc, one.id)):
        last = tips.get(one.author)
        seq, prev = (last.seq + 1, last.hash) if last else (1, "")
        name = f"{one.author[:2]}{seq}"
        tips[one.author] = replace(one, seq=seq, prev=prev, hash=name, id=name)
        made.append(tips[one.author])
    return made


def arriving(rng: random.Random, events: list[Event]) -> list[Event]:
    """The events as a ledger may get them: each after the one before it of its author."""
    chains: dict[str, list[Event]] = {}
    for one in chained(events):
        chains.setdefault(one.author, []).append(one)
    turns = [author for author, chain in chains.items() for _ in chain]
    rng.shuffle(turns)
    return [chains[author].pop(0) for author in turns]


def told(events: list[Event], keep_ended: int = KEEP_ENDED) -> State:
    """The state after these events, each a link of its author's chain."""
    return fold(chained(events), keep_ended)


def owned(*devices: str) -> list[Event]:
    """Ana's devices, registered before anything else."""
    return [event("device_registered", n - 100, device=one) for n, one in enumerate(devices)]


def life(job_id: str = "j1", start: int = 0, cost: int = 7, device: str = "d") -> list[Event]:
    """A job from submission to its paid end, in four events."""
    done = {"actual_cost_nusd": cost, "actual_duration_ms": 60_000, "tokens_generated": 100}
    return [
        event("job_submitted", start, job_id=job_id, kind="model", model="m"),
        event("job_dispatched", start + 1, device=device, job_id=job_id, attempt=1),
        event("job_started", start + 2, device=device, job_id=job_id, attempt=1, pid=9),
        event("job_completed", start + 3, device=device, job_id=job_id, attempt=1, **done),
    ]
