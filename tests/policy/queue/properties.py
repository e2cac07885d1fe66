"""What must hold of every decision, each as a function that raises where it does not."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

from mesh.policy.queue import order
from mesh.policy.queue.need import Need
from mesh.policy.queue.values import ASSUMED_MS, Part, Room, one_by_one
from tests.policy.queue.cases import GIB, MINUTE, T0, Decide, Owner, a_case, room, waiting


def books_no_byte_twice(decide: Decide, rng: random.Random) -> None:
    """What starts fits beside what runs, by the reading and by the book."""
    case = a_case(rng)
    started = set(case.ask(decide).start)
    ram: Counter[str] = Counter()
    starts = [part for j in case.waiting if j.key in started for part in one_by_one(j)]
    runs = [part for j in case.running for part in one_by_one(j)]
    for one in case.rooms:
        new = [j for j in starts if j.device_id == one.device_id]
        old = [j for j in runs if j.device_id == one.device_id]
        fresh = [j for j in old if not j.loaded]
        if new:
            assert card_bytes(one, new) + card_bytes(one, fresh) <= (one.free_bytes or 0)
            foreign = sum(f.bytes for f in one.foreign)
            assert card_bytes(one, new) + card_bytes(one, old) + foreign <= one.total_bytes
            assert not one.max_jobs or len(new) + len(old) <= one.max_jobs
            assert len(new) + len(old) == 1 or not any(j.need.exclusive for j in [*new, *old])
            assert all(j.need.cards <= one.cards for j in new)
        beside = sum(j.need.ram_bytes + one.is_ram * j.need.memory_bytes for j in [*new, *fresh])
        ram[one.host or one.device_id] += beside if new or fresh else 0
    for one in case.rooms:
        on = {
            r.device_id
            for r in case.rooms
            if (r.host or r.device_id) == (one.host or one.device_id)
        }
        if any(j.device_id in on and uses_ram(j.need, one) for j in starts):
            assert (
                one.ram_free_bytes is None or ram[one.host or one.device_id] <= one.ram_free_bytes
            )


def card_bytes(one: Room, jobs: list) -> int:
    return sum(j.need.memory_bytes + one.is_ram * j.need.ram_bytes for j in jobs)


def uses_ram(need: Need, one: Room) -> bool:
    return need.ram_bytes > 0 or (one.is_ram and need.memory_bytes > 0)


def starts_nothing_where_it_may_not(decide: Decide, rng: random.Random) -> None:
    """Nothing on a drained, broken or unread device, nor into somebody else's reservation; a gang
    on no device then, and never on two hosts."""
    case = a_case(rng)
    rooms = {one.device_id: one for one in case.rooms}
    started = set(case.ask(decide).start)
    for job in case.waiting:
        if job.key not in started:
            continue
        ends = case.now + (job.p80_ms or ASSUMED_MS)
        for part in job.parts:
            one = rooms[part.device_id]
            assert not one.drained
            assert one.health in ("", "degraded")
            assert one.free_bytes is not None
            assert case.now - one.read_ms <= 60_000
            for held in one.reservations:
                assert held.by == job.by or ends <= held.from_ms or held.until_ms <= case.now
        hosts = {rooms[part.device_id].host or part.device_id for part in job.parts}
        assert len(hosts) == 1


def says_why_everybody_waits(decide: Decide, rng: random.Random) -> None:
    """Each job starts or has a reason, never both; only what may be stopped is."""
    case = a_case(rng)
    said = case.ask(decide)
    assert {*said.start, *said.reasons} == {one.key for one in case.waiting}
    assert not {*said.start} & {*said.reasons}
    assert all(one.text.startswith(f"{one.code}: ") for one in said.reasons.values())
    for one in case.running:
        if one.key in said.preempt:
            assert one.preemptible
            assert case.now - one.started_ms >= one.min_runtime_ms
            least = min(order.class_of(j.priority) for j in case.waiting)
            assert least < order.class_of(one.priority)
    for one in said.predicted.values():
        assert one.p_deadline is None or 0.0 <= one.p_deadline <= 1.0
        assert (one.start_p50_ms or 0) <= (one.start_p90_ms or 0)
        assert (one.end_p50_ms or 0) <= (one.end_p90_ms or 0)


def answers_the_same_in_any_order(decide: Decide, rng: random.Random) -> None:
    case = a_case(rng)
    first = case.ask(decide)
    for group in (case.waiting, case.running, case.rooms):
        rng.shuffle(group)
    assert case.ask(decide) == first


def keeps_a_rank_by_waiting(decide: Decide, rng: random.Random) -> None:
    """A rank does not fall with time, and no younger job of the same kind starts first."""
    case = a_case(rng)
    later = case.now + rng.randint(0, 200 * MINUTE)
    for job in case.waiting:
        then, now = order.rank(job, later), order.rank(job, case.now)
        assert then <= now
    twin = waiting(
        "old", accepted_ms=T0 - rng.randint(2, 90) * MINUTE, priority=rng.randint(0, 100)
    )
    young = replace(twin, job_id="a-new", accepted_ms=T0 - MINUTE)
    owner = Owner(decide, [room(gib=4)], {"old": MINUTE, "a-new": MINUTE, "first": MINUTE})
    owner.waiting = [replace(twin, job_id="first", accepted_ms=0, priority=100), twin, young]
    for _ in range(4):
        owner.step()
        owner.pass_time()
    assert owner.started_at["old"] < owner.started_at["a-new"]


def never_delays_the_first(decide: Decide, rng: random.Random) -> None:
    """Where every job ends by its p80, the first in line starts by the time it was promised."""
    devices = [f"gpu{n}" for n in range(rng.randint(1, 3))]
    gangs = len(devices) > 1 and rng.random() < 0.5
    host = "h" if gangs else rng.choice(("", "h"))
    rooms = [room(one, rng.choice((8, 24)), host=host) for one in devices]
    jobs = []
    for n in range(rng.randint(2, 14)):
        p80 = rng.randint(1, 60) * MINUTE
        need = Need(
            memory_bytes=rng.randint(1, 8) * GIB,
            ram_bytes=rng.choice((0, 0, rng.randint(1, 60) * GIB)),
            exclusive=rng.random() < 0.2,
        )
        jobs.append(
            waiting(
                f"j{n}",
                need=need,
                **some_devices(rng, devices, gangs=gangs),
                accepted_ms=T0 - rng.randint(0, 9),
                p50_ms=p80 // 2,
                p80_ms=p80,
                p90_ms=2 * p80,
                skips=0,
            )
        )
    least = rng.choice((0, 1))  # of p80: jobs that take all of it leave no slack to hide behind
    lengths = {job.job_id: rng.randint(max(1, least * job.p80_ms), job.p80_ms) for job in jobs}
    owner = Owner(decide, rooms, lengths, waiting=jobs)
    promised: dict[str, int] = {}
    while owner.waiting:
        if any(owner.skips.get(job.key, 0) >= order.MAX_SKIPS for job in owner.waiting):
            promised.clear()  # another goes first, whose turn it is
        owner.step()
        for (job_id, _), at in owner.said.reserved.items():
            promised.setdefault(job_id, at)
        for job_id, at in promised.items():
            began = owner.started_at.get(job_id, owner.now)
            assert began <= at, f"{job_id} was promised {at - T0}, and waits at {began - T0}"
        owner.pass_time()


def some_devices(rng: random.Random, devices: list[str], *, gangs: bool) -> dict[str, object]:
    """One device, or with `gangs` now and then several, of each of which as much is taken."""
    count = rng.choice((1, 1, 2, len(devices))) if gangs else 1
    first, *more = rng.sample(devices, min(count, len(devices)))
    size = Need(memory_bytes=rng.randint(1, 8) * GIB)
    return {"device_id": first, "others": tuple(Part(device_id=one, need=size) for one in more)}


def gives_all_of_a_gang_back(decide: Decide, rng: random.Random) -> None:
    """Each device is free again once a gang on it has ended: one that needs all of it starts."""
    devices = [f"gpu{n}" for n in range(rng.randint(2, 4))]
    whole = Need(memory_bytes=8 * GIB)
    rest = tuple(Part(device_id=one, need=whole) for one in devices[1:])
    gang = waiting("gang", device_id=devices[0], need=whole, others=rest)
    after = [waiting(f"on-{one}", device_id=one, need=whole, accepted_ms=T0 + 1) for one in devices]
    lengths = {"gang": MINUTE} | {one.job_id: MINUTE for one in after}
    owner = Owner(decide, [room(one, 8, host="h") for one in devices], lengths)
    owner.waiting = [gang, *after]
    rng.shuffle(owner.waiting)
    owner.step()
    owner.step()
    assert set(owner.started_at) == {"gang"}, "a gang that all fits starts, and has all of it"
    assert owner.pass_time() == ["gang"]
    owner.step()
    assert set(owner.started_at) == {"gang"} | {one.job_id for one in after}


def starves_nobody(decide: Decide, rng: random.Random) -> None:
    """However many more important ones keep coming, an old job starts after a bounded number; a
    gang too, on whichever of its devices they come."""
    size, devices = rng.choice((1, 2, 4)), [f"gpu{n}" for n in range(rng.choice((1, 1, 2, 3)))]
    old = [
        waiting(
            f"old{n}",
            priority=rng.randint(0, 60),
            need=Need(memory_bytes=rng.randint(1, 8) * GIB),
            **some_devices(rng, devices, gangs=True),
        )
        for n in range(size)
    ]
    rooms = [room(one, gib=8, host="h") for one in devices]
    owner = Owner(decide, rooms, {one.job_id: MINUTE for one in old}, waiting=list(old))
    others, number = rng.randint(2, 6), 0
    bound = 40 + 12 * size * others * len(devices)
    while any(one.job_id not in owner.started_at for one in old):
        while (
            sum(one.job_id.startswith("new") for one in (*owner.waiting, *owner.running)) < others
        ):
            number += 1
            job = waiting(
                f"new{number}",
                priority=rng.randint(60, 100),
                accepted_ms=owner.now,
                need=Need(memory_bytes=rng.randint(1, 4) * GIB),
                device_id=rng.choice(devices),
                deadline_ms=rng.choice((None, owner.now + 5 * MINUTE)),
            )
            owner.waiting.append(job)
            owner.lengths[job.job_id] = rng.randint(1, MINUTE)
        owner.step()
        owner.pass_time()
        assert len(owner.started_at) < bound, f"{number} others came first"


PROPERTIES = (
    books_no_byte_twice,
    starts_nothing_where_it_may_not,
    says_why_everybody_waits,
    answers_the_same_in_any_order,
    keeps_a_rank_by_waiting,
    never_delays_the_first,
    starves_nobody,
    gives_all_of_a_gang_back,
)
