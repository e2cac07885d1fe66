"""What changes the past is folded anew beside the loop, and nothing is told twice or lost."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mesh.edge import live as live_module
from mesh.edge.store import state as state_module
from mesh.edge.store.ledger import Ledger
from mesh.edge.store.state import current_state, whole_fold
from mesh.ledger.event import Event
from mesh.state.checkpoint import digest
from tests.edge.lives import (
    Peer,
    assert_sound,
    assert_told_once,
    envelopes,
    settled,
)

Fold = Callable[..., object]


class Gate:
    """Stands before the fold of a whole ledger and opens when told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.opened = threading.Semaphore(0), threading.Semaphore(0)
        self.folds, whole = 0, state_module.refold

        def fold(*given: Any, **more: Any) -> Any:
            state = whole(*given, **more)
            self.folds += 1
            self.reached.release()
            assert self.opened.acquire(timeout=60)
            return state

        monkeypatch.setattr(state_module, "refold", fold)
        monkeypatch.setattr(live_module, "REFOLD_PAUSES", 0)

    async def arrived(self) -> None:
        assert await asyncio.to_thread(self.reached.acquire, timeout=60)


async def test_a_note_does_not_wait_for_a_fold_of_the_whole_ledger(
    ana: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    await ana.note("before")
    ana.state.stale = True
    await ana.note("sets it off")
    await gate.arrived()
    for number in range(3):
        await ana.note(f"meanwhile {number}")
    assert ana.state.note_count == 5
    assert ana.state.stale
    gate.opened.release()
    await settled(ana)
    assert gate.folds == 1
    assert not ana.state.stale
    gate.opened.release(10)
    assert_sound(ana)
    assert_told_once(ana)


async def test_what_changes_the_past_during_a_fold_leads_to_one_more(
    ana: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    ana.state.stale = True
    await ana.note("sets it off")
    await gate.arrived()
    monkeypatch.setattr(live_module, "fold_in", _stale_on("again", live_module.fold_in))
    await ana.note("again")
    await ana.note("and again")
    gate.opened.release()
    await gate.arrived()
    monkeypatch.undo()
    gate.opened.release(10)
    await settled(ana)
    assert gate.folds == 2
    assert_sound(ana)
    assert_told_once(ana)


def _stale_on(text: str, fold_in: Fold) -> Fold:
    def fold(state: Any, cursor: int, event: Event, find: Any) -> None:
        fold_in(state, cursor, event, find)
        state.stale = state.stale or event.payload.get("text") == text

    return fold


async def test_a_fold_that_misses_thousands_of_events_catches_up_beside_the_loop(
    ana: Peer, ben: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_module, "HANDOVER_EVENTS", 5)
    for number in range(40):
        await ben.note(str(number))
    gate = Gate(monkeypatch)
    ana.state.stale = True
    await ana.note("sets it off")
    await gate.arrived()
    for one in envelopes(ben.ledger):
        await ana.live.take_in([one])
    gate.opened.release(10)
    await settled(ana)
    assert gate.folds == 1
    assert_sound(ana)
    assert_told_once(ana)


async def test_what_a_cancelled_task_committed_around_a_fold_is_told_once_like_the_rest(
    ana: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    ana.ledger.append("note_added", "", {"text": "before, unfollowed"}, ana.now())
    ana.state.stale = True
    ana.live._mend_soon()
    await gate.arrived()
    await ana.note("meanwhile")
    ana.ledger.append("note_added", "", {"text": "after, unfollowed"}, ana.now())
    gate.opened.release(10)
    await settled(ana)
    assert ana.state.cursor == 2
    await ana.live.catch_up()
    assert_sound(ana)
    assert_told_once(ana)


async def test_what_only_the_fold_has_seen_is_told_when_the_fold_takes_over(ana: Peer) -> None:
    ana.ledger.append("note_added", "", {"text": "unfollowed"}, ana.now())
    ana.state.stale = True
    ana.live._mend_soon()
    await settled(ana)
    assert ana.state.note_count == 1
    assert_told_once(ana)


async def test_folding_anew_takes_at_most_a_fifth_of_the_time(
    ana: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, pauses = [0.0], []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        clock[0] += max(0.0, seconds)

    def fold(*given: Any) -> Any:
        clock[0] += 2.0
        state = state_module.fold_beside(*given)
        state.stale = len(pauses) < 4
        return state

    monkeypatch.setattr(live_module, "fold_beside", fold)
    monkeypatch.setattr(live_module, "_now_s", lambda: clock[0])
    monkeypatch.setattr(live_module.asyncio, "sleep", sleep)
    ana.state.stale = True
    ana.live._mend_soon()
    async with asyncio.timeout(60):
        while ana.live._tasks:
            await asyncio.gather(*ana.live._tasks)
    monkeypatch.undo()
    assert pauses[0] <= 0
    assert pauses[1:] == [8.0, 8.0, 8.0]


async def test_a_ledger_that_cannot_be_read_is_said_and_tried_again(
    ana: Peer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from mesh.edge.disk import StoreError

    tries = []

    def fold(*given: Any) -> Any:
        tries.append(1)
        if len(tries) == 1:
            raise StoreError("event 1 is damaged", "run: fleet verify")
        return state_module.fold_beside(*given)

    monkeypatch.setattr(live_module, "RETRY_S", 0.0)
    monkeypatch.setattr(live_module, "fold_beside", fold)
    ana.state.stale = True
    await ana.note()
    await settled(ana)
    assert len(tries) == 2
    assert "event 1 is damaged; run: fleet verify" in capsys.readouterr().err
    assert_sound(ana)


async def test_a_peer_that_closes_during_a_fold_leaves_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = Peer(tmp_path)
    await peer.note()
    begun = threading.Event()

    def abandoned(*given: Any) -> Any:
        begun.set()
        while True:
            given[3](0, 1)  # says how far it is, and is told that nobody wants it
            threading.Event().wait(0.001)

    monkeypatch.setattr(live_module, "fold_beside", abandoned)
    peer.state.stale = True
    await peer.note("one more")
    assert await asyncio.to_thread(begun.wait, 60)
    await peer.close()
    await settled(peer)
    with Ledger.open(tmp_path) as ledger:
        assert digest(current_state(ledger)) == digest(whole_fold(ledger))
        assert ledger.count() == 2
