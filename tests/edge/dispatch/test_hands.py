"""An owner's hands: of one attempt one thing at a time, and nobody else's job waits."""

import asyncio
from pathlib import Path

import pytest

from mesh.edge.dispatch.dispatcher import MAX_AT_ONCE
from mesh.edge.locks import KeyedLocks
from mesh.policy.commands import ClaimDevice, StartJob, StopJob, WatchJob
from mesh.policy.decide import decide
from mesh.state.fold import apply, fold
from mesh.state.state import State
from providers.base import Handle, Launch, ProviderError, Taken, Unheard
from providers.here import LocalAttempts
from tests.edge.dispatch.stage import Stage
from tests.state.job_story import BEN, event, owned, told


def running() -> State:
    story = [
        event("job_submitted", 1, job_id="j", kind="command", batch=1, command=["true"]),
        event("job_dispatched", 2, job_id="j", device="d"),
    ]
    return told([*owned("d"), *story])


async def test_a_stop_waits_for_the_start_that_is_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, begun, go = Stage(tmp_path, running()), asyncio.Event(), asyncio.Event()
    did: list[str] = []

    async def start(self: LocalAttempts, launch: Launch) -> Handle:
        begun.set()
        await go.wait()
        did.append("started")
        return Handle(job_dir="", pid=1, start_ticks=1, boot_id="")

    async def cancel(self: LocalAttempts, job_id: str, attempt: int) -> None:
        did.append("cancelled")

    monkeypatch.setattr(LocalAttempts, "start", start)
    monkeypatch.setattr(LocalAttempts, "cancel", cancel)
    starting = asyncio.create_task(stage.effects.run(StartJob("j")))
    await begun.wait()
    stopping = asyncio.create_task(stage.effects.stop("j", 1))
    await asyncio.sleep(0)
    go.set()
    await asyncio.gather(starting, stopping)
    assert did == ["started", "cancelled"]


async def test_a_start_that_failed_after_its_runner_came_up_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def start(self: LocalAttempts, launch: Launch) -> Handle:
        raise ProviderError("no runner came up", "try by hand")

    stage = Stage(tmp_path, running())
    monkeypatch.setattr(LocalAttempts, "start", start)
    monkeypatch.setattr(LocalAttempts, "ran", lambda *_: True)
    await stage.effects.run(StartJob("j"))
    assert stage.said == []


async def test_a_start_that_nobody_heard_of_is_asked_for_again_and_fails_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host went away over it: the job may run there, and the queue has it started again."""
    away = True

    async def start(self: LocalAttempts, launch: Launch) -> Handle:
        if away:
            raise Unheard("box is not reached", "is it on?")
        return Handle(job_dir="", pid=1, start_ticks=1, boot_id="")

    stage = Stage(tmp_path, running())
    monkeypatch.setattr(LocalAttempts, "start", start)
    await stage.effects.run(StartJob("j"))
    assert stage.said == []
    said = stage.dispatch.owner.standing("j", 1)
    assert (said.code, said.text) == ("Unreachable", "Unreachable: d: box is not reached")
    asked = decide(stage.state, stage.author, begun=stage.effects.begun.keys())
    assert asked == [StartJob("j")]
    away = False
    await stage.effects.run(StartJob("j"))
    assert [kind for kind, _, _ in stage.said] == ["job_started"]
    assert stage.dispatch.owner.standing("j", 1).code == ""


async def test_a_start_that_finds_its_card_taken_waits_and_fails_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another peer's job has the card of a host that both reach."""
    tries, free = 0, False

    async def start(self: LocalAttempts, launch: Launch) -> Handle:
        nonlocal tries
        tries += 1
        if not free:
            raise Taken("card 0 is taken", "wait")
        return Handle(job_dir="", pid=1, start_ticks=1, boot_id="")

    stage = Stage(tmp_path, running())
    monkeypatch.setattr(LocalAttempts, "start", start)
    for _ in range(2):
        await stage.effects.run(StartJob("j"))
    assert (tries, stage.said, stage.effects.begun) == (1, [], {})
    assert stage.dispatch.owner.standing("j", 1).text == "Busy: d: card 0 is taken"
    free = True
    stage.effects.held_up["j", 1] = stage.effects.held_up["j", 1]._replace(until_s=0.0)
    await stage.effects.run(StartJob("j"))
    assert [kind for kind, _, _ in stage.said] == ["job_started"]
    assert stage.effects.held_up == {}


@pytest.mark.parametrize("command", [WatchJob("j"), StopJob("j")])
async def test_an_error_of_ours_does_not_fail_what_runs(
    tmp_path: Path, command: WatchJob | StopJob
) -> None:
    stage = Stage(tmp_path, running())
    await stage.effects.fail(command, "internal", "a bug")
    assert stage.said == []


async def test_homes_that_wait_for_peers_keep_no_device_from_starting(tmp_path: Path) -> None:
    """Ben is not reached; a hundred jobs wait for his answer, and one of ours starts."""
    state = fold(owned("d"))
    asked = [ClaimDevice(f"j{number}", 1) for number in range(MAX_AT_ONCE + 40)]
    for one in asked:
        apply(state, event("job_submitted", 1, job_id=one.job_id, kind="command", batch=1))
        sent = {"job_id": one.job_id, "attempt": 1, "owner": BEN}
        apply(state, event("job_dispatched", 2, device="ben", **sent))
    stage = Stage(tmp_path, state)
    stage.dispatch.dispatcher.carry_out([*asked, StartJob("mine")])
    tasks = stage.dispatch.dispatcher._tasks
    assert ("mine", "1") in tasks
    assert len(tasks) == MAX_AT_ONCE + 1
    await stage.dispatch.close()


async def test_locks_of_one_key_are_held_one_at_a_time_and_forgotten_after() -> None:
    locks, inside, most = KeyedLocks(), 0, 0

    async def work() -> None:
        nonlocal inside, most
        async with locks.one_at_a_time("j"):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(work() for _ in range(5)))
    assert most == 1
    assert locks._held == {}
