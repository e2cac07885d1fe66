"""An owner's word on its device counts at once, however old the reading of it is."""

import asyncio
from pathlib import Path

import pytest

from mesh.policy.commands import StartJob
from mesh.state.fold import apply
from mesh.state.state import State
from providers.base import Handle, Launch
from providers.here import LocalAttempts
from tests.edge.dispatch.stage import LATER, Stage
from tests.state.job_story import BEN, T0, event, owned, told

JOB = ("j", 1)


def waits() -> State:
    """A command of Ana's that waits for her device."""
    story = [
        event("job_submitted", 1, job_id="j", kind="command", batch=1, command=["true"]),
        event("job_dispatched", 2, job_id="j", attempt=1),
    ]
    return told([*owned("d"), *story])


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The jobs that were launched; nothing runs."""
    found: list[str] = []

    async def start(self: LocalAttempts, launch: Launch) -> Handle:
        found.append(launch.job_id)
        return Handle(job_dir="", pid=1, start_ticks=1, boot_id="")

    monkeypatch.setattr(LocalAttempts, "start", start)
    return found


def said(kind: str, **fact: object) -> tuple[str, dict[str, object]]:
    return kind, fact


HOUR_MS = 3_600_000
SOON = {"p10": 5_000, "p50": 9_000, "p90": 12_000}
RESERVED = {"reservation_id": "r", "by": BEN, "from_ms": T0, "until_ms": T0 + HOUR_MS}
WORDS = [said("device_drained", reason_code="other"), said("device_reserved", **RESERVED)]


@pytest.mark.parametrize(("kind", "known"), [("model", True), ("server", False)])
async def test_nobody_knows_when_a_server_ends_that_runs_until_it_is_cancelled(
    tmp_path: Path, kind: str, *, known: bool
) -> None:
    running = [
        event("job_submitted", 1, job_id="s", kind=kind, batch=1, model="m"),
        event("job_dispatched", 2, job_id="s", attempt=1, plan={"duration_ms": SOON}),
        event("job_started", 3, job_id="s", attempt=1, pid=9),
    ]
    waiting = [
        event("job_submitted", 4, job_id="j", kind="command", batch=1, command=["true"]),
        event("job_dispatched", 5, job_id="j", attempt=1),
    ]
    stage, read = Stage(tmp_path, told([*owned("d"), *running, *waiting])), asyncio.Event()
    line = stage.dispatch.line
    line.decide(frozenset(), read.set)
    await read.wait()
    assert line.decide(frozenset(), read.set).start == ()
    assert (line.standing(*JOB).start_p50_ms is not None) == known


@pytest.mark.parametrize("word", WORDS)
async def test_nothing_starts_by_a_reading_from_before_the_device_was_kept(
    tmp_path: Path, word: tuple[str, dict[str, object]]
) -> None:
    stage, read = Stage(tmp_path, waits()), asyncio.Event()
    line = stage.dispatch.line
    line.decide(frozenset(), read.set)
    await read.wait()
    assert line.decide(frozenset(), read.set).start == (JOB,)
    apply(stage.state, event(word[0], LATER, device="d", **word[1]))
    assert line.decide(frozenset(), read.set).start == ()


@pytest.mark.parametrize("word", WORDS)
async def test_what_was_still_being_fetched_when_the_device_was_kept_waits_in_line_again(
    tmp_path: Path, started: list[str], word: tuple[str, dict[str, object]]
) -> None:
    stage = Stage(tmp_path, waits())
    apply(stage.state, event(word[0], LATER, device="d", **word[1]))
    await stage.effects.run(StartJob(*JOB))
    assert (started, stage.said, stage.effects.begun) == ([], [], {})
    apply(stage.state, event("device_resumed", LATER + 1, device="d"))
    apply(stage.state, event("reservation_ended", LATER + 1, device="d", reservation_id="r"))
    await stage.effects.run(StartJob(*JOB))
    assert started == ["j"]


@pytest.mark.usefixtures("started")
async def test_a_launch_that_began_before_the_drain_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may run already: only its runner knows."""
    stage = Stage(tmp_path, waits())
    monkeypatch.setattr(LocalAttempts, "begun", lambda *_: True)
    apply(stage.state, event("device_drained", LATER, device="d", reason_code="other"))
    await stage.effects.run(StartJob(*JOB))
    assert [kind for kind, _, _ in stage.said] == ["job_started"]


async def test_a_job_that_another_home_adopted_meanwhile_may_not_use_the_first_ones_reservation(
    tmp_path: Path,
) -> None:
    stage = Stage(tmp_path, waits())
    mine = {"reservation_id": "r", "by": stage.author, "from_ms": T0, "until_ms": T0 + HOUR_MS}
    apply(stage.state, event("device_reserved", LATER, device="d", **mine))
    seen = stage.state.jobs["j"]
    line = stage.dispatch.line
    assert line.open_to(seen, seen.attempts[0])
    apply(stage.state, event("job_adopted", LATER + 1, author=BEN, job_id="j", epoch=1))
    assert not line.open_to(seen, seen.attempts[0])


async def test_what_ended_while_its_start_was_prepared_is_not_launched(
    tmp_path: Path, started: list[str]
) -> None:
    """Its home gave the attempt up meanwhile; that the owner still has it changes nothing."""
    stage = Stage(tmp_path, waits())
    apply(stage.state, event("job_replaced", LATER, device="d", job_id="j", attempt=1))
    ended = {"job_id": "j", "attempt": 2, "reason": "removed"}
    apply(stage.state, event("job_failed", LATER + 1, device="none", **ended))
    assert stage.state.jobs["j"].attempts[0].alive
    await stage.effects.run(StartJob(*JOB))
    assert (started, stage.effects.begun) == ([], {})
