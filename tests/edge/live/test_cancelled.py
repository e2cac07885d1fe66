"""Whatever is cancelled, at whatever moment, the state is what the ledger says."""

import asyncio
from collections.abc import Awaitable, Callable, Generator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.edge.lives import (
    Peer,
    assert_sound,
    assert_told_once,
    connect,
    envelopes,
    settled,
    until,
)

Fold = Callable[..., object]


class CancelAt:
    """Awaits work, and cancels the task it runs in at the n-th time that it waits for something."""

    def __init__(self, work: Awaitable[object], at: int) -> None:
        self.work, self.left, self.cut = work.__await__(), at, False

    def __await__(self) -> Generator[Any, Any, object]:
        step, value = self.work.send, None
        while True:
            try:
                waited = step(value)
            except StopIteration as stop:
                return stop.value
            self.left -= 1
            if self.left == 0:
                self.cut = True
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
            try:
                step, value = self.work.send, (yield waited)
            except BaseException as error:
                step, value = self.work.throw, error


async def cancelled_everywhere(work: Callable[[], Awaitable[object]], then: Fold) -> int:
    """Do work, cancelled where it waits first, then second, ... until it ends before that; `then`
    looks at each."""
    for at in range(1, 1000):
        cut = CancelAt(work(), at)
        with suppress(asyncio.CancelledError):
            await asyncio.create_task(_await(cut))
        await then()
        if not cut.cut:
            return at - 1
    raise AssertionError("no end")


async def _await(work: Awaitable[object]) -> object:
    return await work


async def test_a_cancelled_note_is_in_the_state_as_surely_as_in_the_ledger(ana: Peer) -> None:
    async def look() -> None:
        await settled(ana)
        assert_sound(ana)
        assert_told_once(ana)

    assert await cancelled_everywhere(ana.note, look) >= 1
    assert ana.ledger.count() >= 2


async def test_a_cancelled_import_is_in_the_state_as_surely_as_in_the_ledger(
    ana: Peer, ben: Peer
) -> None:
    for number in range(50):
        await ben.note(str(number))
    brought = iter(envelopes(ben.ledger))

    async def look() -> None:
        await settled(ana)
        assert_sound(ana)
        assert_told_once(ana)

    assert await cancelled_everywhere(lambda: ana.live.take_in([next(brought)]), look) >= 1
    assert ana.ledger.count() >= 2


async def test_what_another_task_left_behind_is_folded_whoever_catches_up_is_cancelled(
    ana: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mesh.edge.store.ledger.COMMITTED_PAGE", 1)

    def work() -> Awaitable[None]:
        for _ in range(4):
            ana.ledger.append("note_added", "", {"text": "x"}, ana.now())
        return ana.live.catch_up()

    async def look() -> None:
        await settled(ana)
        assert_sound(ana)
        assert_told_once(ana)

    assert await cancelled_everywhere(work, look) >= 1


@pytest.mark.parametrize("what", ["_emit", "_follow", "_take_in"])
async def test_even_where_the_work_itself_ends_half_way_the_next_look_finds_the_rest(
    ana: Peer, ben: Peer, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As at the end of a process, when every task is cancelled."""
    await ben.note()
    monkeypatch.setattr("mesh.edge.store.ledger.COMMITTED_PAGE", 1)

    def work() -> Awaitable[object]:
        ana.ledger.append("note_added", "", {"text": "x"}, ana.now())
        ana.ledger.append("note_added", "", {"text": "y"}, ana.now())
        match what:
            case "_emit":
                return ana.live._emit([("note_added", "", {"text": "z"})])
            case "_take_in":
                return ana.live._take_in(envelopes(ben.ledger))
            case _:
                return ana.live._follow()

    async def look() -> None:
        await ana.live._run(ana.writer, int)  # the writer's thread has ended what it began
        await ana.live.catch_up()
        await settled(ana)
        assert_sound(ana)
        assert_told_once(ana)

    assert await cancelled_everywhere(work, look) >= 1


class Counting:
    """A task factory: at the n-th time that any task waits, `do` is called."""

    def __init__(self, at: int, do: Callable[[], object]) -> None:
        self.left, self.do = at, do

    def __call__(self, loop: asyncio.AbstractEventLoop, coro: Any, **kwargs: Any) -> Any:
        return asyncio.Task(_await(_Counted(coro, self)), loop=loop, **kwargs)


class _Counted:
    def __init__(self, work: Awaitable[object], counting: Counting) -> None:
        self.work, self.counting = work.__await__(), counting

    def __await__(self) -> Generator[Any, Any, object]:
        step, value = self.work.send, None
        while True:
            try:
                waited = step(value)
            except StopIteration as stop:
                return stop.value
            self.counting.left -= 1
            if self.counting.left == 0:
                self.counting.do()
            try:
                step, value = self.work.send, (yield waited)
            except BaseException as error:
                step, value = self.work.throw, error


async def test_a_sync_cancelled_at_any_moment_leaves_nothing_between_ledger_and_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dialler that shuts down, a send that times out: both cancel the run of a link."""
    monkeypatch.setattr("mesh.sync.messages.BATCH_EVENTS", 10)
    far = Peer(tmp_path / "far")
    for number in range(40):
        await far.note(str(number))
    loop = asyncio.get_running_loop()
    cuts, at = 0, 1
    while True:
        hub = Peer(tmp_path / f"hub{at}")
        counting = Counting(at, lambda: hub.tasks[0].cancel())  # noqa: B023
        loop.set_task_factory(counting)
        try:
            connect(hub, far)
            await until(lambda: counting.left <= 0 or hub.state.event_count == 40)  # noqa: B023
        finally:
            loop.set_task_factory(None)
        if counting.left <= 0:
            await asyncio.gather(hub.tasks[0], return_exceptions=True)
        await settled(hub)
        assert_sound(hub)
        assert_told_once(hub)
        cuts += 0 < hub.ledger.count() < 40
        done = counting.left > 0
        await hub.close()
        if done:
            break
        at += 1
    await far.close()
    assert cuts > 5
    assert at > 20
