"""State is a function of the set of events; a job's end is booked once."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.ledger.event import Event
from mesh.policy.commands import PlaceJob, StartJob, StopJob, WatchJob
from mesh.policy.decide import busy_devices, decide
from mesh.state.billing import cost_csv, cost_report
from mesh.state.checkpoint import pack, unpack
from mesh.state.fleet import spec
from mesh.state.fold import State, apply, bills, fold, job_counts

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
        seq=at + 1,
        prev="0" * 64,
        hlc=f"{T0 + at:013d}-00000",
        sig="",
        v=1,
    )


def life(job_id: str = "j1", start: int = 0, cost: int = 7, device: str = "d") -> list[Event]:
    """A job from submission to its paid end, in four events."""
    done = {"actual_cost_nusd": cost, "actual_duration_ms": 60_000, "tokens_generated": 100}
    return [
        event("job_submitted", start, job_id=job_id, kind="model", model="m"),
        event("job_dispatched", start + 1, device=device, job_id=job_id, attempt=1),
        event("job_started", start + 2, device=device, job_id=job_id, attempt=1, pid=9),
        event("job_completed", start + 3, device=device, job_id=job_id, attempt=1, **done),
    ]


def test_a_job_lives_from_pending_to_succeeded() -> None:
    state = State()
    seen = []
    for one in life():
        apply(state, one)
        seen.append(state.jobs["j1"].status)
    assert seen == ["pending", "starting", "running", "succeeded"]


@given(st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_change_the_state(rng: random.Random) -> None:
    events = life("j1") + life("j2", start=2) + [event("note_added", 9, text="hi")]
    shuffled = events[:]
    rng.shuffle(shuffled)
    assert fold(shuffled) == fold(events)


def test_a_second_end_of_the_same_job_costs_nothing() -> None:
    again = event("job_completed", 8, job_id="j1", actual_cost_nusd=7)
    late = event("job_failed", 9, job_id="j1", actual_cost_nusd=7, reason="lost")
    state = fold([*life(), again, late])
    assert [b.cost_nusd for b in bills(state)] == [7]
    assert state.jobs["j1"].status == "succeeded"


def test_an_unknown_event_of_a_newer_peer_is_counted_and_skipped() -> None:
    state = fold([*life(), event("moon_phase_observed", 20, phase="full")])
    assert state.skipped_count == 1
    assert state.event_count == 5


def test_a_payload_of_wrong_types_folds_without_harm() -> None:
    odd = event("device_registered", 0, name=5, count="many", engines="all", memory_bytes=None)
    device = fold([odd]).devices["d"]
    assert (device.name, spec(device).count) == ("d", 1)
    assert (device.facts.engines, device.facts.memory_bytes) == ((), 0)


def test_only_the_home_of_a_job_moves_it() -> None:
    state = fold(life()[:1])
    assert decide(state, ANA) == [PlaceJob("j1")]
    assert decide(state, BEN) == []


@pytest.mark.parametrize(
    ("events", "command"),
    [(2, StartJob("j1")), (3, WatchJob("j1"))],
)
def test_a_dispatched_job_is_started_and_a_started_one_watched(events: int, command) -> None:
    state = fold(life()[:events])
    assert decide(state, ANA) == [command]
    assert busy_devices(state) == {"d"}


def test_a_cancelled_job_is_stopped_and_frees_its_device_only_when_it_ended() -> None:
    asked = [*life()[:3], event("job_cancel_requested", 5, job_id="j1")]
    assert decide(fold(asked), ANA) == [StopJob("j1")]
    assert busy_devices(fold(asked)) == {"d"}
    ended = fold([*asked, event("job_cancelled", 6, job_id="j1", actual_cost_nusd=3)])
    assert busy_devices(ended) == frozenset()
    assert list(bills(ended))[0].cost_nusd == 3


costs = st.lists(st.integers(0, 10**15), min_size=1, max_size=20)


@given(costs, st.sampled_from(["day", "month", "device", "job", "model"]))
def test_every_grouping_adds_up_to_the_nano_dollar(amounts: list[int], by: str) -> None:
    events = []
    for i, amount in enumerate(amounts):
        events += life(f"j{i}", start=i * DAY_MS // 3, cost=amount, device=f"d{i % 3}")
    report = cost_report(bills(fold(events)), by)
    groups = report["groups"]
    assert report["total_cost_nusd"] == sum(amounts)
    assert sum(g["total_cost_nusd"] for g in groups) == sum(amounts)
    assert sum(d["cost_nusd"] for g in groups for d in g["devices"]) == sum(amounts)


def test_a_day_has_the_seeds_shape() -> None:
    (group,) = cost_report(bills(fold(life(cost=1_500_000_000))), "day")["groups"]
    assert group["period"] == "2027-01-15"
    assert group["total_cost"] == 1.5
    assert group["total_throughput"] == 100
    assert group["devices"][0]["hours_used"] == round(1 / 60, 6)


def test_csv_has_a_row_per_group_and_device_and_cannot_become_a_formula() -> None:
    events = life("j1") + life("=1+1", start=9, device="=cmd")
    lines = cost_csv(cost_report(bills(fold(events)), "job")).splitlines()
    assert lines[0] == "job,device_id,device_model,hours_used,cost_usd,cost_nusd"
    assert lines[1].startswith("'=1+1,'=cmd,")
    assert len(lines) == 3


@given(st.randoms(use_true_random=False), st.integers(1, 3))
def test_events_applied_as_they_arrive_give_the_same_state_or_say_they_cannot(
    rng: random.Random, keep: int
) -> None:
    events = [one for n in range(5) for one in life(f"j{n}", start=n * 3, cost=n)]
    events += [event("device_registered", n * 4, model=f"m{n}") for n in range(3)]
    events += [event("device_removed", 5), event("job_failed", 30, author=BEN, job_id="j1")]
    # Another peer's notes and device facts mix in; only a job's home may move it.
    events += [event("note_added", n, author=rng.choice([ANA, BEN])) for n in range(3)]
    whole = fold(events, keep)
    rng.shuffle(events)
    state = State(keep_ended=keep)
    for one in events:
        apply(state, one)
    assert state.stale or state == whole


def test_old_jobs_leave_memory_and_stay_on_the_bill() -> None:
    events = [one for n in range(6) for one in life(f"j{n}", start=n * 4, cost=n + 1)]
    state = fold(events, keep_ended=2)
    assert sorted(state.jobs) == ["j4", "j5"]
    assert sum(one.cost_nusd for one in bills(state)) == 21
    assert job_counts(state) == {"succeeded": 6}
    assert cost_report(bills(state), "day") == cost_report(bills(fold(events)), "day")


def test_a_late_event_about_a_retired_job_asks_for_a_new_fold() -> None:
    state = fold([one for n in range(3) for one in life(f"j{n}", start=n * 4)], keep_ended=1)
    apply(state, event("job_failed", 40, job_id="j0"))
    assert not state.stale
    apply(state, event("job_failed", 2, author=BEN, job_id="j0"))
    assert state.stale


def test_a_snapshot_gives_the_same_state_back() -> None:
    events = [one for n in range(5) for one in life(f"j{n}", start=n * 4)]
    state = fold([*events, event("device_registered", 50, model="x")], keep_ended=2)
    assert unpack(pack(state), 2) == state


@pytest.mark.parametrize("damage", [b"", b"\x00", b"\xc1\xff", b"\x93\x01\x02"])
def test_a_damaged_snapshot_is_no_snapshot(damage: bytes) -> None:
    assert unpack(damage) is None


def test_a_snapshot_of_another_version_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    blob = pack(fold(life()))
    monkeypatch.setattr("mesh.state.checkpoint.FOLD_VERSION", 99)
    assert unpack(blob) is None


def test_only_the_peer_that_named_a_device_speaks_of_it() -> None:
    mine = event("device_registered", 1, device="rig", model="mine")
    other = event("device_registered", 2, author=BEN, device="rig", model="forged")
    state = fold([mine, other])
    assert (state.devices["rig"].model, state.untrusted_count) == ("mine", 1)
    assert fold([mine, event("device_removed", 3, device="rig")]).devices == {}


@given(st.permutations(range(6)))
def test_who_owns_a_device_does_not_depend_on_arrival(order: list[int]) -> None:
    said = [
        (ANA, "device_registered"),
        (BEN, "device_registered"),
        (ANA, "device_removed"),
        (BEN, "device_registered"),
        (ANA, "device_registered"),
        (BEN, "device_removed"),
    ]
    events = [event(kind, n, author=who, model=f"m{n}") for n, (who, kind) in enumerate(said)]
    state = State()
    for n in order:
        apply(state, events[n])
    assert state.stale or state == fold(events)


def test_a_job_is_moved_by_its_home_and_the_owner_of_its_device_only() -> None:
    submitted, dispatched, started, completed = life()
    forged = event("job_completed", 2, author=BEN, job_id="j1", actual_cost_nusd=9)
    assert fold([submitted, dispatched, forged]).jobs["j1"].status == "starting"
    lent = event("job_dispatched", 1, job_id="j1", owner=BEN)
    assert fold([submitted, lent, forged]).jobs["j1"].status == "succeeded"


def test_anybody_in_the_fleet_may_ask_for_a_job_to_stop() -> None:
    asked = event("job_cancel_requested", 1, author=BEN, job_id="j1")
    assert fold([life()[0], asked]).jobs["j1"].status == "cancelling"
