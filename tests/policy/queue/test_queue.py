"""Who starts, who waits and why, in queues small enough to see through."""

import math
from dataclasses import replace

import pytest

from mesh.policy.queue.need import ALONE, Need, need_of
from mesh.policy.queue.order import aged, in_line, new_skips, rank
from mesh.policy.queue.predict import p_in_time, remaining
from mesh.policy.queue.queue import decide_queue
from mesh.policy.queue.room import room_of
from mesh.policy.queue.values import Foreign, Reservation
from mesh.state.fleet import spec
from tests.policy.queue.cases import GIB, MINUTE, T0, room, running, waiting
from tests.state.job_story import BEN, event, life, owned, told

HOUR = 60 * MINUTE


def text_of(said, job_id: str) -> str:
    return said.reasons[job_id, 1].text


def started(said) -> list[str]:
    return [job_id for job_id, _ in said.start]


def test_two_jobs_share_a_card_that_has_room_for_both() -> None:
    said = decide_queue([waiting("a"), waiting("b")], [], [room(gib=8)], T0)
    assert started(said) == ["a", "b"]


def test_a_reading_from_before_a_job_loaded_is_not_believed() -> None:
    job = waiting("b", need=Need(memory_bytes=20 * GIB))
    for loaded, free, starts in ((False, 23 * GIB, []), (True, 20 * GIB, ["b"])):
        said = decide_queue([job], [running("a", loaded=loaded)], [room(free_bytes=free)], T0)
        assert started(said) == starts


def test_a_command_that_says_nothing_has_its_device_to_itself() -> None:
    alone = waiting("cmd", need=ALONE)
    assert started(decide_queue([alone, waiting("b")], [], [room()], T0)) == ["b"]
    busy = decide_queue([alone], [running("a")], [room()], T0)
    assert text_of(busy, "cmd") == (
        "Busy: a runs on gpu0, the next ends by about 08:01 UTC; no other may run beside"
    )
    behind = decide_queue([waiting("b")], [running("cmd", need=ALONE)], [room()], T0)
    assert started(behind) == []


def test_foreign_memory_is_named_with_its_program() -> None:
    held = Foreign(pid=4242, program="ollama", bytes=int(9.1 * GIB))
    card = room(free_bytes=int(14.9 * GIB), foreign=(held,))
    said = decide_queue([waiting("a", need=Need(memory_bytes=18 * GIB))], [], [card], T0)
    assert text_of(said, "a") == (
        "ForeignMemory: ollama (pid 4242) holds 9.1 GiB of 24.0 GiB; needs 18.0 GiB, 14.9 GiB free"
    )


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"drained": "maintenance"}, "Drained: gpu0 takes no new jobs (maintenance)"),
        ({"health": "lost"}, "Unreachable: gpu0: its driver does not list it any more"),
        ({"health": "thermal"}, "ThermalLimit: gpu0: it is too hot to be given work"),
        ({"free_bytes": None}, "StaleView: free memory of gpu0 was never read"),
        ({"read_ms": T0 - 95_000}, "StaleView: free memory of gpu0 was last read 95 s ago"),
        ({"total_bytes": 2 * GIB}, "NoFit: needs 4.0 GiB, gpu0 has 2.0 GiB in all"),
    ],
)
def test_a_device_says_why_it_takes_nobody(changes: dict, text: str) -> None:
    said = decide_queue([waiting("a")], [], [room(**changes)], T0)
    assert text_of(said, "a") == text
    assert said.start == ()


def test_a_reservation_lets_its_own_peer_start_and_others_wait() -> None:
    held = Reservation(by="ana", from_ms=T0, until_ms=T0 + 2 * HOUR)
    jobs = [waiting("hers", by="ana"), waiting("his", by="ben")]
    said = decide_queue(jobs, [], [room(reservations=(held,))], T0)
    assert started(said) == ["hers"]
    assert text_of(said, "his") == "Reserved: gpu0 is reserved for ana from 08:00 to 10:00 UTC"
    assert said.predicted["his", 1].start_p50_ms == T0 + 2 * HOUR


def test_what_ends_before_a_reservation_begins_may_start() -> None:
    held = Reservation(by="ana", from_ms=T0 + 30 * MINUTE, until_ms=T0 + HOUR)
    jobs = [
        waiting("short", p80_ms=29 * MINUTE),
        waiting("long", p80_ms=31 * MINUTE),
        waiting("unknown", p50_ms=0, p80_ms=0, p90_ms=0),
    ]
    said = decide_queue(jobs, [], [room(reservations=(held,))], T0)
    assert started(said) == ["short"]
    assert text_of(said, "unknown").endswith("; how long this job takes is not known")


def test_a_short_job_runs_while_the_first_in_line_waits_and_a_long_one_does_not() -> None:
    busy = running("r", need=Need(memory_bytes=20 * GIB), p80_ms=10 * MINUTE)
    first = waiting("first", need=Need(memory_bytes=22 * GIB), accepted_ms=T0 - 5)
    jobs = [first, waiting("long", p80_ms=11 * MINUTE), waiting("short", p80_ms=9 * MINUTE)]
    said = decide_queue(jobs, [busy], [room()], T0)
    assert started(said) == ["short"]
    assert said.reserved == {("first", 1): T0 + 10 * MINUTE}
    assert text_of(said, "long") == "Busy: gpu0 is kept for first, which starts by 08:10 UTC"


def test_a_long_job_may_run_in_memory_the_first_in_line_will_not_need() -> None:
    busy = running("r", need=Need(memory_bytes=20 * GIB), p80_ms=10 * MINUTE)
    first = waiting("first", need=Need(memory_bytes=10 * GIB), accepted_ms=T0 - 5)
    said = decide_queue([first, waiting("long", p80_ms=HOUR)], [busy], [room()], T0)
    assert started(said) == ["long"]


def test_what_was_passed_five_times_comes_first_and_the_others_count_anew() -> None:
    card = room(gib=4)
    old = waiting("old", priority=0, accepted_ms=T0 - 9, skips=5)
    older = waiting("other", priority=0, accepted_ms=T0 - 8, skips=5)
    said = decide_queue([waiting("new", priority=100), old, older], [], [card], T0)
    assert started(said) == ["old"]
    assert said.skips == {("other", 1): 0}
    passed = decide_queue([waiting("new", priority=100), replace(old, skips=4)], [], [card], T0)
    assert started(passed) == ["new"]
    assert passed.skips == {("old", 1): 5}


def test_the_class_comes_before_slack_and_slack_before_age() -> None:
    jobs = [
        waiting("normal", deadline_ms=T0 + 1),
        waiting("aged", accepted_ms=T0 - 3 * MINUTE),
        waiting("due", deadline_ms=T0 + HOUR),
        waiting("high", priority=75),
    ]
    assert [job.job_id for job in in_line(jobs, T0)] == ["high", "normal", "due", "aged"]
    assert rank(jobs[2], T0 + MINUTE) <= rank(jobs[2], T0)


def test_of_jobs_of_one_moment_the_first_that_was_taken_comes_first() -> None:
    """A clock that went back an hour stamps an hour of leases alike."""
    first, second = waiting("z", arrived=4), waiting("a", arrived=7)
    assert in_line([second, first], T0 + MINUTE) == [first, second]
    assert new_skips([first], [second]) == {first.key: 1}


def test_a_job_ages_a_point_a_minute_up_to_the_next_class() -> None:
    job = waiting("a", priority=30)
    assert [aged(job, T0 + n * MINUTE) for n in (0, 1, 19, 20, 1000)] == [30, 31, 49, 50, 50]


def test_only_the_least_loss_is_stopped_for_a_higher_class() -> None:
    half = Need(memory_bytes=10 * GIB)
    given = {"need": half, "priority": 25, "preemptible": True, "loaded": True}
    runs = [
        running("long", started_ms=T0 - HOUR, **given),
        running("short", started_ms=T0 - 5 * MINUTE, **given),
    ]
    job = waiting("urgent", priority=100, need=half)
    card = room(free_bytes=4 * GIB)
    assert decide_queue([job], runs, [card], T0).preempt == (("short", 1),)
    fresh = [replace(one, started_ms=T0 - 59_000) for one in runs]
    assert decide_queue([job], fresh, [card], T0).preempt == ()
    same = replace(job, priority=49)
    assert decide_queue([same], runs, [card], T0).preempt == ()


def test_no_job_is_stopped_where_that_would_not_be_enough() -> None:
    runs = [
        running("keep", need=Need(memory_bytes=15 * GIB), started_ms=T0 - HOUR, loaded=True),
        running("go", preemptible=True, priority=0, started_ms=T0 - HOUR, loaded=True),
    ]
    job = waiting("urgent", priority=100, need=Need(memory_bytes=20 * GIB))
    assert decide_queue([job], runs, [room(free_bytes=5 * GIB)], T0).preempt == ()


def test_devices_of_one_host_share_its_ram() -> None:
    rooms = [room(one, host="h", ram_free_bytes=10 * GIB) for one in ("gpu0", "gpu1")]
    need = Need(memory_bytes=GIB, ram_bytes=6 * GIB)
    jobs = [waiting("a", need=need), waiting("b", need=need, device_id="gpu1")]
    said = decide_queue(jobs, [], rooms, T0)
    assert started(said) == ["a"]
    assert text_of(said, "b") == "Busy: needs 6.0 GiB of the host's RAM, 4.0 GiB free"


def test_the_chance_to_meet_a_deadline_follows_a_log_normal() -> None:
    assert p_in_time(100, 100, 200) == pytest.approx(0.5)
    assert p_in_time(200, 100, 200) == pytest.approx(0.9)
    assert p_in_time(50, 100, 200) == pytest.approx(0.1)
    assert p_in_time(0, 100, 200) == 0.0
    job = waiting("a", p50_ms=100, p80_ms=150, p90_ms=200, deadline_ms=T0 + 200)
    said = decide_queue([job], [], [room()], T0).predicted["a", 1]
    assert (said.start_p50_ms, said.end_p50_ms, said.end_p90_ms) == (T0, T0 + 100, T0 + 200)
    assert said.p_deadline == pytest.approx(0.9)


def test_spreads_of_what_is_waited_for_add_as_squares() -> None:
    lengths = {"p50_ms": 100, "p80_ms": 120, "p90_ms": 130, "need": ALONE}
    jobs = [waiting(one, accepted_ms=T0 + n, **lengths) for n, one in enumerate("abc")]
    said = decide_queue(jobs, [], [room()], T0).predicted
    assert said["c", 1].start_p50_ms == T0 + 200
    assert said["c", 1].start_p90_ms == T0 + int(200 + math.hypot(30, 30))


def test_a_job_that_ran_long_is_expected_to_run_on() -> None:
    assert remaining(100, 200, 0) == (100.0, 200.0)
    half, most = remaining(100, 200, 200)
    assert 0 < half < most


def test_nobody_knows_a_start_behind_a_job_of_unknown_length() -> None:
    unknown = running("r", need=ALONE, p50_ms=0, p80_ms=0, p90_ms=0)
    said = decide_queue([waiting("a")], [unknown], [room()], T0)
    assert said.predicted["a", 1].start_p50_ms is None
    assert said.reserved == {}


def test_an_attempt_of_a_plan_needs_what_the_plan_promised() -> None:
    plan = {"cards": 2, "footprint": {"total_bytes": 8 * GIB, "host_bytes": 3 * GIB}}
    story = [
        *owned("d"),
        event("job_submitted", 0, job_id="m", model="m"),
        event("job_dispatched", 1, job_id="m", plan=plan),
        *life("c", start=5)[:2],
    ]
    jobs = told(story).jobs
    assert need_of(jobs["m"]) == Need(memory_bytes=4 * GIB, cards=2, ram_bytes=3 * GIB)
    assert need_of(jobs["c"]) == ALONE


def test_a_room_is_what_the_ledger_and_a_reading_say() -> None:
    hardware = {"kind": "gpu", "count": 2, "memory_bytes": 24 * GIB, "free_bytes": 23 * GIB}
    story = [
        event("device_registered", 0, device="d", ram_free_bytes=50 * GIB, **hardware),
        event("device_drained", 1, device="d", reason_code="upgrade"),
        event("device_reserved", 2, device="d", reservation_id="r", by=BEN, from_ms=T0,
              until_ms=T0 + HOUR),
    ]  # fmt: skip
    state = told(story)
    found = room_of(state, spec(state.devices["d"]), T0, now_ms=T0)
    assert (found.drained, found.cards, found.free_bytes) == ("upgrade", 2, 23 * GIB)
    assert found.reservations == (Reservation(by=BEN, from_ms=T0, until_ms=T0 + HOUR),)
    assert (found.is_ram, found.ram_free_bytes) == (False, 50 * GIB)


def test_a_job_takes_its_ram_from_the_one_memory_a_unified_device_has() -> None:
    unified = room(gib=16, is_ram=True, ram_free_bytes=None)
    need = Need(memory_bytes=10 * GIB, ram_bytes=4 * GIB)
    said = decide_queue([waiting("a", need=need), waiting("b", need=need)], [], [unified], T0)
    assert started(said) == ["a"]
    assert text_of(said, "b").endswith("needs 14.0 GiB, 2.0 GiB free")
