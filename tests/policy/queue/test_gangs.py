"""Jobs on several devices of one host: all at once or none, and nobody waits for half of one."""

import pytest

from mesh.policy.queue.need import ALONE, Need, needs_of
from mesh.policy.queue.queue import decide_queue
from mesh.policy.queue.values import Part, Reservation, Room
from tests.policy.queue.cases import GIB, MINUTE, T0, room, running, waiting
from tests.state.job_story import BEN, event, owned, told

BOTH = ("gpu0", "gpu1")
NEED = Need(memory_bytes=20 * GIB)


def rooms(*given: Room) -> list[Room]:
    """Two cards of one host, or those that are given."""
    return list(given) or [room("gpu0", host="h"), room("gpu1", host="h")]


def others(*devices: str, need: Need = NEED) -> tuple[Part, ...]:
    return tuple(Part(device_id=one, need=need) for one in devices)


def gang(job_id: str = "gang", **given: object):
    """A job that needs most of both cards."""
    return waiting(job_id, **{"need": NEED, "others": others("gpu1"), **given})


def text_of(said, job_id: str = "gang") -> str:
    return said.reasons[job_id, 1].text


def test_a_gang_starts_on_all_its_devices_at_once() -> None:
    said = decide_queue([gang(), waiting("late", device_id="gpu1", need=NEED)], [], rooms(), T0)
    assert said.start == (("gang", 1),)
    assert text_of(said, "late").startswith("Busy: gang runs on gpu1")


def test_a_gang_that_waits_for_one_device_holds_none_of_the_others() -> None:
    """What ends before the gang could start may have the free card meanwhile, and no other."""
    short = waiting("short", device_id="gpu0", accepted_ms=T0 + 1)
    long = waiting("long", device_id="gpu0", accepted_ms=T0 + 2, p80_ms=90 * MINUTE, need=NEED)
    busy = running("r", device_id="gpu1", need=NEED, p80_ms=10 * MINUTE)
    said = decide_queue([gang(), short, long], [busy], rooms(), T0)
    assert said.start == (("short", 1),)
    assert said.reserved["gang", 1] == T0 + 10 * MINUTE
    assert text_of(said).startswith("Busy: r runs on gpu1")
    assert text_of(said, "long") == "Busy: gpu0 is kept for gang, which starts by 08:10 UTC"


def test_a_gang_is_promised_the_time_at_which_the_last_of_its_devices_is_free() -> None:
    busy = [
        running("a", device_id="gpu0", need=NEED, p80_ms=5 * MINUTE),
        running("b", device_id="gpu1", need=NEED, p80_ms=9 * MINUTE),
    ]
    said = decide_queue([gang()], busy, rooms(), T0)
    assert said.reserved["gang", 1] == T0 + 9 * MINUTE
    assert said.predicted["gang", 1].start_p50_ms == T0 + MINUTE


CLOSED = [
    ({"drained": "maintenance"}, "Drained: gpu1 takes no new jobs (maintenance)"),
    ({"health": "lost"}, "Unreachable: gpu1: its driver does not list it any more"),
    (
        {"reservations": (Reservation(by=BEN, from_ms=T0, until_ms=T0 + MINUTE),)},
        "Reserved: gpu1 is reserved for bbbbbbbb from 08:00 to 08:01 UTC",
    ),
    ({"total_bytes": 8 * GIB}, "NoFit: needs 20.0 GiB, gpu1 has 8.0 GiB in all"),
    ({"free_bytes": 2 * GIB}, "ForeignMemory: gpu1: programs that can't be named hold the rest"),
    ({"host": "other"}, "NoFit: gpu0 and gpu1 are not of one host"),
]


@pytest.mark.parametrize(("change", "why"), CLOSED)
def test_a_device_that_is_closed_closes_the_gang_and_is_no_reason_for_the_others(
    change: dict[str, object], why: str
) -> None:
    cards = rooms(room("gpu0", host="h"), room("gpu1", **{"host": "h", **change}))
    said = decide_queue([gang(), waiting("one", accepted_ms=T0 + 1)], [], cards, T0)
    assert said.start == (("one", 1),)
    assert text_of(said).startswith(why)


def test_a_hosts_ram_is_taken_once_for_all_of_a_gang() -> None:
    tight = [room(one, host="h", is_ram=True, ram_free_bytes=30 * GIB) for one in ("gpu0", "gpu1")]
    said = decide_queue([gang()], [], tight, T0)
    assert text_of(said) == "Busy: needs 40.0 GiB of the host's RAM, 30.0 GiB free"


def test_others_are_stopped_for_a_gang_only_where_that_frees_all_of_it() -> None:
    long_ago = {"started_ms": T0 - 10 * MINUTE, "priority": 10, "need": NEED}
    one = running("one", device_id="gpu0", preemptible=True, **long_ago)
    two = running("two", device_id="gpu1", preemptible=True, **long_ago)
    firm = running("firm", device_id="gpu1", **long_ago)
    first = gang(priority=90)
    assert set(decide_queue([first], [one, two], rooms(), T0).preempt) == {("one", 1), ("two", 1)}
    assert decide_queue([first], [one, firm], rooms(), T0).preempt == ()
    assert decide_queue([first], [one], rooms(), T0).preempt == (("one", 1),)


def test_a_gang_that_is_stopped_makes_room_on_all_its_devices_and_is_stopped_once() -> None:
    old = running(
        "old", device_id="gpu0", others=others("gpu1"), need=NEED, preemptible=True, priority=10,
        started_ms=T0 - 10 * MINUTE,
    )  # fmt: skip
    urgent = [
        waiting(f"on-{one}", device_id=one, need=NEED, priority=90) for one in ("gpu0", "gpu1")
    ]
    said = decide_queue(urgent, [old], rooms(), T0)
    assert said.preempt == (("old", 1),)
    assert said.reserved == {("on-gpu0", 1): T0, ("on-gpu1", 1): T0}
    assert decide_queue(urgent, [], rooms(), T0).start == (("on-gpu0", 1), ("on-gpu1", 1))


def test_a_gang_that_others_passed_often_stands_first_on_all_its_devices() -> None:
    passed = gang(skips=5, priority=0)
    urgent = [
        waiting(f"u-{one}", device_id=one, need=NEED, priority=99) for one in ("gpu0", "gpu1")
    ]
    assert decide_queue([*urgent, passed], [], rooms(), T0).start == (("gang", 1),)


MEMBERS = [
    {"device_id": "d1", "cards": 1, "layers": 9, "need_bytes": 5 * GIB},
    {"device_id": "d2", "cards": 1, "layers": 3, "need_bytes": 2 * GIB},
]
PLAN = {"cards": 2, "footprint": {"total_bytes": 7 * GIB, "host_bytes": GIB}, "members": MEMBERS}


def test_what_a_gang_takes_of_each_device_is_what_its_plan_says() -> None:
    story = [
        *owned("d1", "d2", "d3"),
        event("job_submitted", 1, job_id="j", kind="model", model="m"),
        event("job_dispatched", 2, device="d1", job_id="j", plan=PLAN, members=["d2", "d3"]),
    ]
    assert needs_of(told(story).jobs["j"]) == {
        "d1": Need(memory_bytes=5 * GIB, ram_bytes=GIB),
        "d2": Need(memory_bytes=2 * GIB),
        "d3": ALONE,  # of which the plan says nothing
    }
