"""Jobs whose home changed, attempts that made room for others: what counts, what it cost."""

import random

from mesh.ledger.event import Event
from mesh.policy.commands import ClaimDevice, EndJob, PlaceJob
from mesh.policy.decide import decide
from mesh.state.answers import bills
from mesh.state.fold import fold
from mesh.state.state import State
from tests.state.job_story import ANA, BEN, arriving, chained, event, owned

CAL = "c" * 64
BENS = event("device_registered", -5, author=BEN, device="ben", name="ben", hourly_nusd=3_600_000)


def submitted(**more: object) -> Event:
    return event("job_submitted", 0, job_id="j", kind="command", batch=1, **more)


def dispatched(at: int, by: str, number: int = 1, device: str = "ben", **more: object) -> Event:
    return event(
        "job_dispatched",
        at,
        author=by,
        device=device,
        job_id="j",
        attempt=number,
        owner=BEN,
        **more,
    )


def said(kind: str, at: int, by: str = BEN, number: int = 1, **more: object) -> Event:
    return event(kind, at, author=by, device="ben", job_id="j", attempt=number, **more)


def adopted(at: int, by: str, epoch: int = 1) -> Event:
    return event("job_adopted", at, author=by, device="none", job_id="j", epoch=epoch)


def after(*events: Event) -> State:
    """The same in whatever order they come."""
    story = [*owned("d"), BENS, *events]
    made = fold(chained(story))
    for seed in range(20):
        assert fold(arriving(random.Random(seed), story)).jobs == made.jobs
    return made


def test_who_adopts_a_job_asks_the_owner_it_was_sent_to_before_anybody_else() -> None:
    state = after(submitted(), dispatched(1, ANA), adopted(2, CAL))
    assert decide(state, CAL) == [ClaimDevice("j", 1)]
    assert decide(state, ANA) == []


def test_an_owner_that_tells_the_new_home_it_has_nothing_gives_the_job_back() -> None:
    state = after(submitted(), dispatched(1, ANA), adopted(2, CAL), said("job_returned", 3, CAL))
    assert decide(state, CAL) == [PlaceJob("j")]


def test_a_lease_counts_more_than_a_home_that_says_there_is_none() -> None:
    state = after(
        submitted(),
        dispatched(1, ANA),
        said("job_accepted", 2),
        adopted(3, CAL),
        said("job_returned", 4, CAL),
    )
    assert state.jobs["j"].status == "queued"


def test_an_owner_has_one_attempt_of_a_number_whichever_home_sent_it() -> None:
    state = after(
        submitted(),
        dispatched(1, ANA),
        adopted(2, CAL),
        dispatched(3, CAL, epoch=1),
        said("job_accepted", 4),
        said("job_completed", 9, actual_cost_nusd=50, actual_duration_ms=50),
    )
    assert len(state.jobs["j"].attempts) == 1
    assert sum(one.cost_nusd for one in bills(state)) == 50


def test_of_two_who_adopt_at_once_the_higher_key_decides() -> None:
    state = after(submitted(), adopted(1, BEN), adopted(1, CAL))
    assert state.jobs["j"].home == CAL
    assert decide(state, BEN) == []


def test_an_attempt_that_made_room_does_not_cancel_the_job() -> None:
    state = after(
        submitted(replace_after_ms=1),
        dispatched(1, ANA),
        said("job_accepted", 2),
        said("job_replaced", 3, ANA),
        event("job_dispatched", 4, device="d", job_id="j", attempt=2),
        event("job_cancelled", 5, device="d", job_id="j", attempt=2),
        said("job_failed", 6, reason="lost", actual_cost_nusd=7),
    )
    job = state.jobs["j"]
    assert (job.status, job.reason) == ("failed", "lost")
    assert sum(one.cost_nusd for one in bills(state)) == 7


def test_what_ran_is_billed_when_the_job_ended_without_it() -> None:
    state = after(
        submitted(replace_after_ms=1),
        dispatched(1, ANA),
        said("job_accepted", 2),
        said("job_replaced", 3, ANA),
        event("job_failed", 4, device="none", job_id="j", attempt=2, reason="setup"),
        said("job_cancelled", 6, actual_cost_nusd=7, actual_duration_ms=7),
    )
    assert state.jobs["j"].status == "failed"
    assert sum(one.cost_nusd for one in bills(state)) == 7


def test_what_nobody_waits_for_is_asked_after_until_its_owner_says_how_it_is() -> None:
    state = after(
        submitted(replace_after_ms=1),
        dispatched(1, ANA),
        said("job_replaced", 3, ANA),
        event("job_cancel_requested", 4, job_id="j"),
    )
    assert decide(state, ANA) == [EndJob("j"), ClaimDevice("j", 1)]
