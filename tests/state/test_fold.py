"""State is a function of the set of events; a job's end is booked once."""

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.policy.commands import PlaceJob, StartJob, StopJob, WatchJob
from mesh.policy.decide import decide
from mesh.state.answers import bills, job_counts
from mesh.state.billing import MOST
from mesh.state.checkpoint import digest, pack, unpack
from mesh.state.fleet import spec
from mesh.state.fold import apply, fold
from mesh.state.state import State
from tests.state.held import busy_devices
from tests.state.job_story import ANA, BEN, DAY_MS, T0, arriving, chained, event, life, owned, told


def test_a_job_lives_from_pending_to_succeeded() -> None:
    state = State()
    seen = []
    for one in chained(life()):
        apply(state, one)
        seen.append(state.jobs["j1"].status)
    assert seen == ["pending", "queued", "running", "succeeded"]


@given(st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_change_the_state(rng: random.Random) -> None:
    events = [*owned("d"), *life("j1"), *life("j2", start=2), event("note_added", 9, author=BEN)]
    assert digest(fold(arriving(rng, events))) == digest(told(events))


def test_a_second_end_of_the_same_job_costs_nothing() -> None:
    again = event("job_completed", 8, job_id="j1", actual_cost_nusd=9)
    late = event("job_failed", 9, job_id="j1", actual_cost_nusd=7, reason="lost")
    state = told([*owned("d"), *life(), again, late])
    assert [b.cost_nusd for b in bills(state)] == [7]
    assert state.jobs["j1"].status == "succeeded"


def test_an_unknown_event_of_a_newer_peer_is_counted_and_skipped() -> None:
    state = told([*life(), event("moon_phase_observed", 20, phase="full")])
    assert state.skipped_count == 1
    assert state.event_count == 5


def test_a_payload_of_wrong_types_folds_without_harm() -> None:
    odd = event("device_registered", 0, name=5, count="many", engines="all", memory_bytes=None)
    device = fold([odd]).devices["d"]
    assert (device.name, spec(device).count) == ("d", 1)
    assert (device.facts.engines, device.facts.memory_bytes) == ((), 0)


def test_only_the_home_of_a_job_moves_it() -> None:
    state = told(life()[:1])
    assert decide(state, ANA) == [PlaceJob("j1")]
    assert decide(state, BEN) == []


@pytest.mark.parametrize(
    ("events", "command"),
    [(2, StartJob("j1")), (3, WatchJob("j1"))],
)
def test_a_dispatched_job_is_started_and_a_started_one_watched(events: int, command) -> None:
    state = told([*owned("d"), *life()[:events]])
    assert decide(state, ANA, start=frozenset({("j1", 1)})) == [command]
    assert busy_devices(state) == {"d"}


def test_a_cancelled_job_is_stopped_and_frees_its_device_only_when_it_ended() -> None:
    asked = [*owned("d"), *life()[:3], event("job_cancel_requested", 5, job_id="j1")]
    assert decide(told(asked), ANA) == [StopJob("j1")]
    assert busy_devices(told(asked)) == {"d"}
    ended = told([*asked, event("job_cancelled", 6, job_id="j1", actual_cost_nusd=3)])
    assert busy_devices(ended) == frozenset()
    assert list(bills(ended))[0].cost_nusd == 3


costs = st.lists(st.integers(0, 10**15), min_size=1, max_size=20)


@given(costs)
def test_what_jobs_cost_adds_up_to_the_nano_dollar(amounts: list[int]) -> None:
    events = owned("d0", "d1", "d2")
    for i, amount in enumerate(amounts):
        events += life(f"j{i}", start=i * DAY_MS // 3, cost=amount, device=f"d{i % 3}")
    assert sum(one.cost_nusd for one in bills(told(events))) == sum(amounts)


@given(st.randoms(use_true_random=False), st.integers(1, 3))
def test_events_applied_as_they_arrive_give_the_same_state_or_say_they_cannot(
    rng: random.Random, keep: int
) -> None:
    events = [one for n in range(5) for one in life(f"j{n}", start=n * 3, cost=n)]
    events += [event("device_registered", n * 4, model=f"m{n}") for n in range(3)]
    events += [event("device_removed", 5), event("job_failed", 30, author=BEN, job_id="j1")]
    # Another peer's notes and device facts mix in; only a job's home may move it.
    events += [event("note_added", n, author=rng.choice([ANA, BEN])) for n in range(3)]
    state = State(keep_ended=keep)
    for one in arriving(rng, events):
        apply(state, one)
    assert state.stale or digest(state) == digest(told(events, keep))


def test_old_jobs_leave_memory_and_stay_on_the_bill() -> None:
    events = [one for n in range(6) for one in life(f"j{n}", start=n * 4, cost=n + 1)]
    state = told(owned("d") + events, keep_ended=2)
    assert sorted(state.jobs) == ["j4", "j5"]
    assert sum(one.cost_nusd for one in bills(state)) == 21
    assert job_counts(state) == {"succeeded": 6}
    whole = told(owned("d") + events)
    assert _by_day(state) == _by_day(whole)


def _by_day(state: State) -> dict[int, int]:
    """What ended on each day cost."""
    found: dict[int, int] = {}
    for one in bills(state):
        day = one.ended_ms // DAY_MS
        found[day] = found.get(day, 0) + one.cost_nusd
    return found


MOST_SIGNED = 2**53 - 1  # of one event's integers


def test_no_cost_that_a_peer_can_sign_is_too_much_for_a_snapshot() -> None:
    """2,049 such jobs are more than 64 bits hold: a sum is never more than a snapshot holds."""
    dear = [one for n in range(2100) for one in life(f"j{n}", start=n * 4, cost=MOST_SIGNED)]
    state = told(owned("d") + dear, keep_ended=4)
    state.cursor = state.event_count
    again = unpack(pack(state), 4)
    assert again is not None
    assert digest(again) == digest(state)
    assert sum(one.cost_nusd for one in bills(again)) == MOST + 4 * MOST_SIGNED


@pytest.mark.parametrize("kept", [0, 512])
def test_no_cost_that_a_peer_can_sign_lowers_a_bill(kept: int) -> None:
    jobs = life("j0", cost=7) + life("j1", start=4, cost=-MOST_SIGNED)
    state = told(owned("d") + jobs, keep_ended=kept)
    assert [one.cost_nusd for one in bills(state) if one.cost_nusd] == [7]
    end = {"actual_cost_nusd": True, "actual_duration_ms": -1, "tokens_generated": -5}
    odd = [*life("j0")[:3], event("job_completed", 3, job_id="j0", **end)]
    (one,) = bills(told(owned("d") + odd, keep_ended=kept))
    assert (one.cost_nusd, one.duration_ms, one.tokens) == (0, 0, 0)


def test_only_its_home_can_ask_for_a_new_fold_over_a_retired_job() -> None:
    state = told([one for n in range(3) for one in life(f"j{n}", start=n * 4)], keep_ended=1)
    for author, prev in ((ANA, "aa12"), (BEN, "")):
        echo = event("job_failed", 40, author=author, job_id="j0")
        apply(state, replace(echo, seq=13 if prev else 1, prev=prev))
        assert not state.stale
    early = event("job_failed", 2, author=ANA, job_id="j0")  # of a copied disk
    apply(state, replace(early, seq=3, prev="aa2"))
    assert state.stale


def test_a_home_with_a_wrong_clock_displaces_its_own_jobs_and_no_others() -> None:
    far = 3_000_000_000_000 - T0
    honest = [one for n in range(2) for one in life(f"j{n}", start=n * 4)]
    wrong = [
        replace(one, author=BEN)
        for n in range(9)
        for one in life(f"w{n}", start=far + n * 4, device="e")
    ]
    state = told([*honest, *wrong], keep_ended=4)
    assert sorted(state.jobs) == ["j0", "j1", "w7", "w8"]


def test_a_snapshot_gives_the_same_state_back() -> None:
    events = [one for n in range(5) for one in life(f"j{n}", start=n * 4)]
    state = told([*events, event("device_registered", 50, model="x")], keep_ended=2)
    state.cursor = state.event_count
    assert unpack(pack(state), 2) == state
    state.cursor -= 1  # it claims another number of events than it holds
    assert unpack(pack(state), 2) is None


@pytest.mark.parametrize("damage", [b"", b"\x00", b"\xc1\xff", b"\x93\x01\x02"])
def test_a_damaged_snapshot_is_no_snapshot(damage: bytes) -> None:
    assert unpack(damage) is None


def test_a_snapshot_of_another_version_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    blob = pack(told(life()))
    monkeypatch.setattr("mesh.state.checkpoint.FOLD_VERSION", 99)
    assert unpack(blob) is None


def test_taking_ones_own_device_away_takes_it_away() -> None:
    assert told([*owned("rig"), event("device_removed", 3, device="rig")]).devices == {}


def test_a_job_is_moved_by_its_home_and_the_owner_of_its_device_only() -> None:
    submitted, dispatched, started, completed = life()
    forged = event("job_completed", 2, author=BEN, job_id="j1", actual_cost_nusd=9)
    assert told([submitted, dispatched, forged]).jobs["j1"].status == "queued"
    lent = event("job_dispatched", 1, job_id="j1", owner=BEN)
    assert told([submitted, lent, forged]).jobs["j1"].status == "succeeded"


def test_anybody_in_the_fleet_may_ask_for_a_job_to_stop() -> None:
    asked = event("job_cancel_requested", 1, author=BEN, job_id="j1")
    assert fold([life()[0], asked]).jobs["j1"].status == "cancelling"


def test_what_an_owner_said_before_its_job_retired_counts_though_it_had_said_nothing_then() -> None:
    """Ben said that it never began; Ana, who had not heard it, gave it back and ended it later."""
    asked = [
        event("job_submitted", 1, job_id="j", kind="command", batch=1),
        event("job_dispatched", 2, job_id="j", attempt=1, owner=BEN, device="rig"),
        event("job_cancel_requested", 3, job_id="j"),
        event("job_returned", 12, job_id="j", attempt=1, reason="Cancelled", device="rig"),
        event("job_cancelled", 13, job_id="j", attempt=2, device="none"),
    ]
    never = event("job_cancelled", 10, author=BEN, device="rig", job_id="j", attempt=1)
    others = [one for n in range(3) for one in life(f"o{n}", 1000 * (n + 1))]
    early = chained([*asked, never, *others])
    late = sorted(early, key=lambda one: one.author == BEN)  # his word comes last
    assert "j" in fold(early, 1).retired
    assert fold(late, 1).totals == fold(early, 1).totals
