"""A home that cannot place a job, or hears nothing: what it says, and what it leaves open."""

import asyncio
from pathlib import Path

import pytest

from mesh.api.bodies import SALT_BYTES, Body, seal
from mesh.api.errors import RequestError
from mesh.edge.dispatch.candidates import Candidate
from mesh.edge.jobs.private import keep_body
from mesh.policy.commands import EndJob, LoseAttempt, PlaceJob
from mesh.policy.decide import decide
from mesh.policy.reconcile import is_superfluous
from mesh.state.fold import apply
from mesh.state.jobs import MAX_ATTEMPTS, PENDING, JobView
from mesh.state.members import Members
from mesh.state.state import State
from tests.edge.dispatch.stage import Stage
from tests.state.job_story import BEN, event, owned, told

BODY, SALT = Body(command=("true",)), bytes(SALT_BYTES)


def submitted(**more: object) -> State:
    sealed = seal(BODY, SALT)
    asked = {"body_hash": sealed.body_hash, "body_bytes": sealed.body_bytes, **more}
    return told([*owned("d"), event("job_submitted", 1, job_id="j", kind="command", **asked)])


def sent_to_ben(state: State, number: int = 1) -> None:
    sent = {"job_id": "j", "attempt": number, "owner": BEN}
    apply(state, event("job_dispatched", 10 * number, device="ben", **sent))


async def test_a_job_is_not_failed_while_an_owner_that_was_given_up_may_have_it(
    tmp_path: Path,
) -> None:
    stage = Stage(tmp_path, submitted(replace_after_ms=1))  # what was typed is gone
    sent_to_ben(stage.state)
    apply(stage.state, event("job_replaced", 11, device="ben", job_id="j", attempt=1))
    await stage.home.place(stage.state.jobs["j"])
    assert stage.said == []
    assert stage.home.why(stage.state.jobs["j"])[0] == "setup"


async def test_a_job_that_every_owner_gave_back_fails_and_stays_so(tmp_path: Path) -> None:
    stage = Stage(tmp_path, submitted())
    keep_body(tmp_path, "j", BODY, SALT)
    for number in range(1, MAX_ATTEMPTS):
        sent_to_ben(stage.state, number)
        gone = {"job_id": "j", "attempt": number, "reason": "HoldLapsed"}
        apply(stage.state, event("job_returned", 10 * number + 1, device="ben", **gone))
    assert stage.state.jobs["j"].status == PENDING
    await stage.home.place(stage.state.jobs["j"])
    assert (stage.state.jobs["j"].status, stage.state.jobs["j"].reason) == (
        "failed",
        "no_resource",
    )


async def test_a_job_is_adopted_once_and_only_while_it_goes_on(tmp_path: Path) -> None:
    stage = Stage(tmp_path, submitted(), author=BEN)
    await stage.home.adopt("j")
    await stage.home.adopt("j")
    assert [kind for kind, _, _ in stage.said] == ["job_adopted"]
    assert (stage.state.jobs["j"].home, stage.state.jobs["j"].epoch) == (BEN, 1)
    with pytest.raises(RequestError, match="no job k"):
        await stage.home.adopt("k")


async def test_a_job_that_was_placed_by_another_home_meanwhile_is_not_failed_by_this_one(
    tmp_path: Path,
) -> None:
    """Ana saw that what was typed is gone; before she said so, Ben had adopted it and sent it."""
    stage = Stage(tmp_path, submitted())
    seen = stage.state.jobs["j"]
    apply(stage.state, event("job_adopted", 5, author=BEN, device="none", job_id="j", epoch=1))
    await stage.home.place(seen)
    assert stage.said == []


async def test_a_job_that_was_told_no_asks_again_at_once_when_a_device_opens(
    tmp_path: Path,
) -> None:
    stage = Stage(tmp_path, submitted())
    later_s = asyncio.get_running_loop().time() + 60
    stage.home._pursuit("j").later(("Drained", "rig is drained"), later_s)
    stage.dispatch.heard(["job_started", "note_added"])
    assert not stage.home.due("j", 0)
    stage.dispatch.heard(["note_added", "device_resumed"])
    assert stage.home.due("j", 0)


@pytest.mark.parametrize("asked", ["nothing", "cancel", "replace"])
async def test_a_job_at_an_owner_that_was_put_out_is_given_up(tmp_path: Path, asked: str) -> None:
    """Nothing that Ben says counts any more, and his program may run on: the job ends, and is tried
    elsewhere only where it says that it may be."""
    stage = Stage(tmp_path, submitted(retries=3, replace_after_ms=60_000 * (asked == "replace")))
    sent_to_ben(stage.state)
    apply(stage.state, event("job_accepted", 11, author=BEN, device="ben", job_id="j", attempt=1))
    if asked == "cancel":
        apply(stage.state, event("job_cancel_requested", 12, job_id="j"))
    here = decide(stage.state, stage.author)
    assert LoseAttempt("j", 1) not in here
    stage.state.members = Members(root=stage.author)
    assert decide(stage.state, stage.author) == [LoseAttempt("j", 1)]
    await stage.home.lose(stage.state.jobs["j"], 1)
    job = stage.state.jobs["j"]
    ends = {
        "nothing": ("failed", "removed"),
        "cancel": ("cancelling", ""),
        "replace": (PENDING, ""),
    }
    assert (job.status, job.reason) == ends[asked]
    then = {"nothing": [], "cancel": [EndJob("j")], "replace": [PlaceJob("j")]}
    assert decide(stage.state, stage.author) == then[asked]
    assert is_superfluous(job, job.attempts[0]) is (asked == "nothing")  # let in again, Ben ends it


class Purse:
    """A test double: says what it is told to, and notes what it is asked."""

    def __init__(self, *answers: tuple[str, str]) -> None:
        self.answers = list(answers)
        self.asked: list[int] = []

    async def hold(self, job: JobView, chosen: Candidate) -> tuple[str, str]:
        self.asked.append(chosen.ask.attempt)
        return self.answers.pop(0)


async def test_a_job_without_money_waits_with_the_amount_and_its_place_is_given_back(
    tmp_path: Path,
) -> None:
    stage = Stage(tmp_path, submitted())
    keep_body(tmp_path, "j", BODY, SALT)
    no = ("OverBudget", "the budget fleet per month is used up: $5.00 of $5.00")
    stage.home.budgets = purse = Purse(no, ("", ""))
    await stage.home.place(stage.state.jobs["j"])
    assert stage.home.why(stage.state.jobs["j"]) == no
    assert stage.said == [], "nothing is dispatched, and nothing has failed"
    await stage.home.place(stage.state.jobs["j"])
    assert [kind for kind, _, _ in stage.said][:1] == ["job_dispatched"]
    assert purse.asked == [1, 1]
