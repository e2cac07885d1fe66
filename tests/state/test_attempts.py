"""A job and its attempts follow from the set of events: no clock, no order of arrival decides."""

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.ledger.event import Event
from mesh.policy.decide import decide
from mesh.policy.reconcile import WORDS, is_superfluous, kept
from mesh.state.answers import bills
from mesh.state.checkpoint import digest
from mesh.state.fold import fold
from mesh.state.jobs import MAX_ATTEMPTS, JobView
from mesh.state.members import ADMIN, MEMBER, RUNNER
from mesh.state.state import State
from tests.state.job_story import ANA, BEN, arriving, event, life, told
from tests.state.trust_story import NAMES, Key, fleet, live

CID = "c" * 64
HOUR_MS = 3_600_000
FAR = -10 * HOUR_MS  # Ben's clock is ten hours slow: all he says seems to come first


def asked(**more: object) -> Event:
    return event("job_submitted", 0, job_id="j", kind="command", **more)


def sent(number: int, owner: str, at: int = 1, device: str = "d") -> Event:
    return event("job_dispatched", at, device=device, job_id="j", attempt=number, owner=owner)


def by(author: str, kind: str, number: int, at: int = FAR, **more: object) -> Event:
    return event(f"job_{kind}", at, author=author, device="d", job_id="j", attempt=number, **more)


def owned_by(author: str, device: str = "d") -> Event:
    return replace(event("device_registered", -100, device=device), author=author)


def job(*events: Event) -> JobView:
    return told([asked(), *events]).jobs["j"]


def test_an_owner_whose_clock_is_wrong_is_heard_all_the_same() -> None:
    steps = [sent(1, BEN), by(BEN, "accepted", 1), by(BEN, "started", 1, FAR + 1)]
    assert job(steps[0]).status == "dispatched"
    assert job(*steps[:2]).status == "queued"
    assert job(*steps).status == "running"
    done = by(BEN, "completed", 1, FAR + 2, actual_cost_nusd=7)
    assert job(*steps, done).status == "succeeded"


def test_only_who_has_the_device_says_what_became_of_an_attempt() -> None:
    for kind in ("accepted", "started", "completed"):
        assert job(sent(1, BEN), by(CID, kind, 1)).status == "dispatched"
    assert job(by(BEN, "accepted", 1)).status == "pending"


def test_a_job_an_owner_did_not_take_looks_for_another() -> None:
    view = job(sent(1, BEN), event("job_returned", 2, job_id="j", attempt=1, reason="HoldLapsed"))
    assert (view.status, decide(told([asked()]), ANA)[0].job_id) == ("pending", "j")
    again = job(
        sent(1, BEN),
        event("job_returned", 2, job_id="j", attempt=1, reason="HoldLapsed"),
        sent(2, CID, 3),
    )
    assert (again.status, again.owner, again.attempt) == ("dispatched", CID, 2)


@pytest.mark.parametrize(
    ("reason", "retries", "preemptible", "status"),
    [
        ("oom", 1, 0, "pending"),
        ("oom", 0, 0, "failed"),
        ("exit", 2, 0, "failed"),
        ("interrupted", 0, 1, "pending"),
        ("interrupted", 0, 0, "failed"),
        ("lost", 1, 0, "pending"),
    ],
)
def test_what_is_no_fault_of_the_jobs_is_tried_again(
    reason: str, retries: int, preemptible: int, status: str
) -> None:
    state = told(
        [
            asked(retries=retries, preemptible=bool(preemptible)),
            sent(1, BEN),
            by(BEN, "started", 1),
            by(BEN, "failed", 1, FAR + 1, reason=reason, actual_cost_nusd=5),
        ]
    )
    assert state.jobs["j"].status == status


def test_every_attempt_is_billed_where_it_ran() -> None:
    state = told(
        [
            owned_by(BEN),
            owned_by(CID, "e"),
            asked(retries=1),
            sent(1, BEN),
            by(BEN, "failed", 1, reason="lost", actual_cost_nusd=5),
            sent(2, CID, 2, "e"),
            by(CID, "completed", 2, FAR + 3, actual_cost_nusd=7),
        ]
    )
    found = {(one.device_id, one.cost_nusd, one.jobs) for one in bills(state)}
    assert found == {("d", 5, 0), ("e", 7, 1)}


def replaced(*more: Event, word: str = "") -> State:
    """Ben's attempt was given up, and Cid has another; then what is told."""
    return told(
        [
            asked(replace_after_ms=60_000, reconcile=word),
            sent(1, BEN),
            by(BEN, "accepted", 1),
            by(BEN, "started", 1, FAR + 1),
            event("job_replaced", 2, job_id="j", attempt=1),
            sent(2, CID, 3, "e"),
            by(CID, "accepted", 2, 4),
            by(CID, "started", 2, 5),
            *more,
        ]
    )


@pytest.mark.parametrize("word", WORDS)
def test_of_two_attempts_every_owner_keeps_the_same_one(word: str) -> None:
    view = replaced(word=word).jobs["j"]
    keep = kept(view)
    assert keep is not None
    assert [is_superfluous(view, one) for one in view.attempts].count(True) == 1
    assert keep.number == (2 if word == "keep_replacement" else 1)


def test_a_given_up_attempt_that_succeeds_is_the_jobs_success() -> None:
    state = replaced(by(BEN, "completed", 1, FAR + 2))
    assert (state.jobs["j"].status, state.jobs["j"].owner) == ("succeeded", BEN)
    assert [command.attempt for command in decide(state, CID)] == [2]  # Cid ends its own


def test_a_replacement_that_fails_leaves_the_first_attempt() -> None:
    view = replaced(by(CID, "failed", 2, 6, reason="exit")).jobs["j"]
    assert (view.status, view.attempt) == ("running", 1)


def test_a_cancel_ends_what_any_owner_has_and_what_nobody_has() -> None:
    cancel = event("job_cancel_requested", 9, author=CID, job_id="j")
    state = told([asked(), sent(1, BEN), by(BEN, "accepted", 1), cancel])
    assert state.jobs["j"].status == "cancelling"
    assert [type(one).__name__ for one in decide(state, BEN)] == ["StopJob"]
    assert [type(one).__name__ for one in decide(told([asked(), cancel]), ANA)] == ["EndJob"]
    ended = told([asked(), cancel, event("job_cancelled", 10, job_id="j", attempt=1)])
    assert ended.jobs["j"].status == "cancelled"


def test_what_its_owner_ended_at_the_homes_word_is_cancelled_whatever_the_owner_had_heard() -> None:
    """Ben was told to end it, and booked that before the cancel had reached him."""
    cancel = event("job_cancel_requested", 9, job_id="j")
    end = by(BEN, "failed", 1, reason="interrupted", text="it gave way", actual_cost_nusd=7)
    view = job(sent(1, BEN), by(BEN, "accepted", 1, FAR - 1), cancel, end)
    assert (view.status, view.reason, view.text, view.cost_nusd) == ("cancelled", "", "", 7)
    assert [one.status for one in view.attempts] == ["cancelled"]
    broke = by(BEN, "failed", 1, reason="exit")
    assert job(sent(1, BEN), by(BEN, "accepted", 1, FAR - 1), cancel, broke).status == "failed"


def test_a_paused_attempt_runs_again_when_it_was_resumed() -> None:
    steps = [sent(1, BEN), by(BEN, "started", 1)]
    pause = by(BEN, "paused", 1, FAR + 5, reason="OwnerPresent")
    view = job(*steps, pause)
    assert (view.status, view.attempts[0].paused_for) == ("paused", "OwnerPresent")
    assert job(*steps, pause, by(BEN, "resumed", 1, FAR + 6)).status == "running"
    again = by(BEN, "paused", 1, FAR + 7, reason="ThermalLimit")
    assert job(*steps, pause, by(BEN, "resumed", 1, FAR + 6), again).status == "paused"


def test_an_admin_may_adopt_a_job_and_nobody_else() -> None:
    root, ana, *_, events = fleet()
    cid, dan = Key("cid"), Key("dan")
    events += [root.add("cid", MEMBER), root.add("dan", RUNNER)]
    events += [cid.say("job_submitted", job_id="x", kind="command")]
    assert (
        live([*events, dan.say("job_adopted", job_id="x", epoch=9)]).jobs["x"].home == NAMES["cid"]
    )
    adopted = [*events, ana.say("job_adopted", job_id="x", epoch=1)]
    assert live(adopted).jobs["x"].home == NAMES["ana"]
    assert live(adopted).members.role(NAMES["ana"]) == ADMIN
    later = live([*adopted, root.say("job_adopted", job_id="x", epoch=2)])
    assert (later.jobs["x"].home, later.jobs["x"].origin) == (NAMES["root"], NAMES["cid"])


def test_however_many_attempts_are_signed_a_job_keeps_sixteen() -> None:
    state = told([asked(), *(sent(n, BEN, n) for n in range(1, 100))])
    assert len(state.jobs["j"].attempts) == MAX_ATTEMPTS


@settings(max_examples=60, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_of_arrival_changes_nothing(rng: random.Random) -> None:
    pool = [
        asked(retries=2, replace_after_ms=60_000),
        event("job_cancel_requested", 40, author=CID, job_id="j"),
        *(sent(n, rng.choice((BEN, CID, "")), n) for n in (1, 2, 3)),
        *(event("job_replaced", 10 + n, job_id="j", attempt=n) for n in (1, 2)),
        *(
            by(who, kind, n, rng.randrange(-50, 50), reason=rng.choice(("oom", "exit")))
            for who in (BEN, CID)
            for kind in ("accepted", "started", "completed", "failed", "cancelled", "paused")
            for n in (1, 2, 3)
        ),
    ]
    events = rng.sample(pool, rng.randrange(1, len(pool)))
    assert digest(fold(arriving(rng, events))) == digest(told(events))


def test_a_job_that_went_on_after_its_end_by_a_slow_clock_retires_in_its_turn() -> None:
    """By the clocks Ana sent it elsewhere long after it had ended, and others had retired it."""
    lost = by(BEN, "failed", 1, FAR + 2, reason="lost")
    story = [
        asked(), sent(1, BEN), by(BEN, "accepted", 1, FAR), by(BEN, "started", 1, FAR + 1), lost,
        *(one for n in range(4) for one in life(f"k{n}", 100 + 10 * n)),
        event("job_replaced", 300, device="d", job_id="j", attempt=1),
        event("job_dispatched", 301, device="a", job_id="j", attempt=2),
        event("job_completed", 302, device="a", job_id="j", attempt=2, actual_cost_nusd=7),
    ]  # fmt: skip
    made = [fold(arriving(random.Random(n), story), keep_ended=2) for n in range(20)]
    assert not any(one.stale for one in made)
    assert len({digest(one) for one in made}) == 1
    assert made[0].jobs["j"].status == "succeeded"
