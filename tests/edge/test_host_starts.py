"""Starts on a host of SSH as the ledger sees them: nothing is booked that nobody knows."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from mesh.api.bodies import Body
from mesh.edge.jobs.effects import Effects
from mesh.edge.jobs.private import keep_request
from mesh.policy.commands import StartJob, StopJob, WatchJob
from mesh.state.fold import apply
from mesh.state.state import State
from providers.attempts import Given
from providers.base import (
    DependencyMissing,
    Handle,
    Launch,
    NoSpace,
    Outcome,
    ProviderError,
    Unheard,
)
from tests.edge.dispatch.stage import Stage
from tests.edge.test_effects import card
from tests.state.job_story import ANA, event, told

CANCELLED = Outcome(
    exit_code=0, started_ms=0, ended_ms=0, duration_ms=0, peak_memory_bytes=0, tokens_generated=0,
    prompt_tokens=0, decode_mtps=0, prefill_mtps=0, engine_memory={}, reason="cancelled", text="",
)  # fmt: skip
DONE = Outcome(
    exit_code=0, started_ms=0, ended_ms=0, duration_ms=10_000, peak_memory_bytes=0,
    tokens_generated=4, prompt_tokens=0, decode_mtps=0, prefill_mtps=0, engine_memory={},
    reason="ok", text="",
)  # fmt: skip


class Host:
    """A host that does with a start what a test says; `away`: it is not reached."""

    def __init__(self, starting: Callable[[], Awaitable[None]]) -> None:
        self.starting = starting
        self.away = True
        self.tried = self.told = False
        self.outcome: Outcome | None = CANCELLED

    async def start(self, launch: Launch) -> Handle:
        await self.starting()
        self.told = True
        return Handle(job_dir="", pid=1, start_ticks=1, boot_id="b")

    def begun(self, job_id: str, attempt: int) -> bool:
        return self.tried

    def ran(self, job_id: str, attempt: int) -> bool:
        return self.told

    async def cancel(self, job_id: str, attempt: int) -> None:
        self.told = self.told or self.tried

    async def poll(self, job_id: str, attempt: int) -> Outcome | None:
        return None if self.away else self.outcome

    async def give(self, job_id: str, attempt: int, files: Sequence[Given]) -> str:
        return ""


def state_of(tmp_path: Path) -> State:
    sealed = keep_request(tmp_path, "c", Body(command=("true",)))
    facts = card("rig", 24) | {"transport": "ssh", "watts": 300}
    asked = {"body_hash": sealed.body_hash, "body_bytes": sealed.body_bytes}
    return told(
        [
            event("device_registered", 0, device="rig", **facts),
            event("job_submitted", 1, job_id="c", kind="command", **asked),
            event("job_dispatched", 2, device="rig", job_id="c"),
            event("job_accepted", 3, author=ANA, device="rig", job_id="c", attempt=1),
        ]
    )


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    (tmp_path / "jobs").mkdir()
    return Stage(tmp_path, state_of(tmp_path))


def effects(stage: Stage, host: Host) -> Effects:
    state = lambda: stage.state  # noqa: E731
    return Effects(stage.folder, ANA, state, stage.emit, lambda _: host, stage)  # type: ignore[arg-type, return-value]


async def test_a_start_nobody_knows_of_is_no_failure_and_its_cancel_waits_for_the_host(
    stage: Stage,
) -> None:
    async def lost() -> None:
        host.tried = True
        raise Unheard("the link broke")

    host = Host(lost)
    hands = effects(stage, host)
    await hands.run(StartJob("c"))
    assert stage.said == []
    apply(stage.state, event("job_cancel_requested", 50, job_id="c", author=ANA))
    await hands.run(StopJob("c"))
    assert stage.said == []  # it may run: nobody says that it ended
    host.away = False
    await hands.run(StopJob("c"))
    ((kind, _, fact),) = stage.said
    assert (kind, fact["actual_duration_ms"]) == ("job_cancelled", 0)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (NoSpace("rig has no room for m"), "infra"),
        (DependencyMissing("needs Python 3.10 or later on rig"), "setup"),
        (ProviderError("no"), "setup"),
    ],
)
async def test_what_surely_was_not_begun_fails_with_its_kind(
    stage: Stage, error: ProviderError, reason: str
) -> None:
    async def refused() -> None:
        raise error

    await effects(stage, Host(refused)).run(StartJob("c"))
    ((kind, _, fact),) = stage.said
    assert (kind, fact["reason"]) == ("job_failed", reason)
    assert "rig" not in str(fact["text"])


async def test_a_cancel_breaks_off_what_a_job_is_brought(stage: Stage) -> None:
    began, broken = asyncio.Event(), asyncio.Event()

    async def sends_for_hours() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            broken.set()

    host = Host(sends_for_hours)
    hands = effects(stage, host)
    starting = asyncio.create_task(hands.run(StartJob("c")))
    await began.wait()
    apply(stage.state, event("job_cancel_requested", 50, job_id="c", author=ANA))
    await asyncio.wait_for(hands.run(StopJob("c")), 10)
    await starting
    assert broken.is_set()
    assert [kind for kind, _, _ in stage.said] == ["job_cancelled"]


async def test_joules_on_a_host_are_its_devices_tdp_and_said_to_be_estimated(stage: Stage) -> None:
    async def at_once() -> None:
        host.tried = True

    host = Host(at_once)
    host.away, host.outcome = False, DONE
    hands = effects(stage, host)
    await hands.run(StartJob("c"))

    await hands.run(WatchJob("c"))
    kind, _, fact = stage.said[-1]
    assert (kind, fact["energy_basis"]) == ("job_completed", "estimated")
    assert fact["energy_mj"] == 300 * 1000 * 10


@pytest.mark.parametrize(("device", "ends"), [("rig", 1), ("another", 0)])
async def test_what_runs_on_a_machine_that_was_taken_away_ends_with_its_time(
    stage: Stage, device: str, ends: int
) -> None:
    async def nothing() -> None:
        pass

    apply(stage.state, event("job_started", 4, author=ANA, device="rig", job_id="c", attempt=1))
    begun_ms = stage.state.jobs["c"].attempts[0].started_ms
    await effects(stage, Host(nothing)).lose({device}, begun_ms + 90_000)
    assert len(stage.said) == ends
    for kind, _, fact in stage.said:
        assert (kind, fact["reason"]) == ("job_failed", "interrupted")
        assert (fact["actual_duration_ms"], fact["text"]) == (
            90_000,
            "its rented machine was taken away",
        )
