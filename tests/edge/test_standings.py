"""Why a job waits is known where it waits, and asked there: briefly, and not by everybody anew."""

import asyncio
from pathlib import Path

import pytest

from mesh.api.errors import RequestError
from mesh.api.wire.claims import Lease, Leases, Standing
from mesh.edge import standings
from mesh.edge.standings import SILENT, Standings
from mesh.state.fold import apply
from tests.edge.dispatch.stage import Stage
from tests.state.job_story import ANA, BEN, event, told

WHY = Standing(code="Drained", text="Drained: rig takes no new jobs")


class Owners:
    """Ben's peer, which tells why things wait; `lost` while no link is up."""

    def __init__(self) -> None:
        self.asked, self.lost, self.hangs = 0, False, False
        self.error: RequestError | None = None

    def reachable(self, author: str) -> bool:
        return not self.lost

    def owner(self, author: str) -> "Owners":
        assert author == BEN
        return self

    async def waiting(self, home: str) -> Leases:
        assert home == ANA
        self.asked += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error
        return Leases(leases=[Lease(job_id="j", attempt=1, fence=1, status="queued", standing=WHY)])


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """A job of Ana's that waits in Ben's line."""
    placed = {"job_id": "j", "attempt": 1}
    return Stage(
        tmp_path,
        told(
            [
                event("device_registered", 0, author=BEN, device="rig", name="rig", kind="cpu"),
                event("job_submitted", 1, job_id="j", kind="command"),
                event("job_dispatched", 2, device="rig", owner=BEN, **placed),
                event("job_accepted", 3, author=BEN, device="rig", **placed),
            ]
        ),
    )


def made(stage: Stage) -> tuple[Standings, Owners]:
    owners = Owners()
    stage.dispatch.home.peers = owners  # type: ignore[assignment]
    return Standings(ANA, stage.dispatch), owners


async def test_the_owner_of_the_line_says_why_and_is_asked_once_for_all_who_look(
    stage: Stage,
) -> None:
    asked, owners = made(stage)
    for _ in range(3):
        assert await asked.of(stage.state.jobs.values()) == {"j": WHY}
    assert owners.asked == 1


@pytest.mark.parametrize("how", ["lost", "error", "hangs"])
async def test_an_owner_that_does_not_answer_is_said_to_be_silent(
    stage: Stage, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, owners = made(stage)
    monkeypatch.setattr(standings, "ASK_S", 0.01)
    owners.lost, owners.hangs = how == "lost", how == "hangs"
    owners.error = RequestError("Unanswered", "no") if how == "error" else None
    for _ in range(3):  # and is not waited for by everybody who looks
        assert await asked.of(stage.state.jobs.values()) == {"j": SILENT}
    assert owners.asked == (how != "lost")


async def test_of_others_jobs_and_of_those_that_run_nothing_is_said(stage: Stage) -> None:
    asked, owners = made(stage)
    apply(stage.state, event("job_submitted", 5, author=BEN, job_id="b", kind="command"))
    apply(stage.state, event("job_started", 6, author=BEN, device="rig", job_id="j", attempt=1))
    assert await asked.of(stage.state.jobs.values()) == {}
    assert owners.asked == 0


async def test_a_job_that_is_nowhere_says_what_its_home_last_heard(stage: Stage) -> None:
    asked, _ = made(stage)
    apply(stage.state, event("job_submitted", 5, job_id="k", kind="command"))
    stage.dispatch.home._pursuit("k").later(("Busy", "rig: 3 jobs wait"), 0.0)
    assert (await asked.of([stage.state.jobs["k"]]))["k"] == Standing(
        code="Busy", text="rig: 3 jobs wait"
    )
