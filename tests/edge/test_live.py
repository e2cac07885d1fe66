"""The live state is what the ledger says: whatever is cancelled, whatever comes at once, whenever
the power goes."""

import asyncio
import random
import shutil
import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from mesh.edge import live as live_module
from mesh.edge.store import ledger as ledger_module
from mesh.edge.store import schema
from mesh.edge.store import state as state_module
from mesh.edge.store.ledger import Ledger, Reader
from mesh.edge.store.state import current_state, snapshot_finding, whole_fold
from mesh.ledger.event import Event
from mesh.state.checkpoint import digest, pack
from mesh.sync.archive import Envelope
from tests.edge.lives import (
    Peer,
    assert_sound,
    assert_told_once,
    connect,
    settled,
    until,
)

Fold = Callable[..., object]


@pytest.fixture
async def ana(tmp_path: Path) -> AsyncIterator[Peer]:
    peer = Peer(tmp_path / "ana")
    yield peer
    await peer.close()


@pytest.fixture
async def ben(tmp_path: Path) -> AsyncIterator[Peer]:
    peer = Peer(tmp_path / "ben")
    yield peer
    await peer.close()


def envelopes(ledger: Ledger) -> list[Envelope]:
    """Everything a ledger holds, as sync or a file would bring it."""
    pages = (ledger.page(author, 0, 1 << 30, 1 << 40) for author in ledger.tips())
    return [one for page in pages for one in page.envelopes]


# Cancellation.


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
                return ana.live._emit("note_added", "", {"text": "z"})
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


# Crashes.


class Crash(BaseException):
    """The power went."""


class Fragile:
    """A database connection whose power goes at the n-th statement that commits or snapshots."""

    left, after, dead = 0, False, False

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db

    def __getattr__(self, name: str) -> Any:
        if Fragile.dead and name != "close":
            raise Crash
        return getattr(self.db, name)

    def execute(self, text: str, *values: Any) -> Any:
        if Fragile.dead:
            raise Crash
        fatal = False
        if text.startswith(("COMMIT", "INSERT OR REPLACE INTO checkpoints")):
            Fragile.left -= 1
            fatal = Fragile.left == 0
        if fatal and not Fragile.after:
            Fragile.dead = True
            raise Crash
        done = self.db.execute(text, *values)
        if fatal:
            Fragile.dead = True
            raise Crash
        return done


@pytest.fixture
def fragile(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Fragile]]:
    sound = schema.connect
    monkeypatch.setattr(schema, "connect", lambda *at: Fragile(sound(*at)))
    monkeypatch.setattr(live_module, "SNAPSHOT_EVENTS", 3)
    yield Fragile
    Fragile.left, Fragile.dead = 0, False


async def a_day(peer: Peer, brought: list[Envelope], acknowledged: list[Event]) -> None:
    """Notes, a fleet founded, an import, a job that is told of late, an orderly end."""
    await peer.found()
    for text in ("one", "two", "three", "four"):
        acknowledged += [await peer.note(text)]
    await peer.live.take_in(brought[:3])
    peer.state.stale = True  # as an event that changes what is no longer kept makes it
    acknowledged.append(await peer.note("late"))
    await settled(peer)
    await peer.live.take_in(brought[3:])
    await asyncio.to_thread(peer.writer.shutdown)
    peer.live.close()
    peer.ledger.close()


@pytest.mark.parametrize("when", ["before", "after"])
async def test_the_power_goes_at_any_commit_and_the_next_start_is_what_the_ledger_says(
    tmp_path: Path, fragile: type[Fragile], when: str
) -> None:
    with Ledger.open(tmp_path / "ben") as other:
        for number in range(6):
            other.append("note_added", "", {"text": str(number)}, 1_790_000_000_000)
        brought = envelopes(other)
    for at in range(1, 100):
        home = tmp_path / f"home{at}"
        peer = Peer(home)
        acknowledged: list[Event] = []
        fragile.left, fragile.after = at, when == "after"
        ended = False
        with suppress(Crash):
            await asyncio.wait_for(a_day(peer, brought, acknowledged), 60)
            ended = True
        fragile.left, fragile.dead = 0, False
        if not ended:
            await peer.crash()
        with Ledger.open(home) as ledger:
            assert digest(current_state(ledger)) == digest(whole_fold(ledger))
            assert snapshot_finding(ledger) is None
            assert {e.id for e in acknowledged} <= {e.id for _, e in ledger.events()}
            assert ledger.verify().ok
        if ended:
            assert at > 10
            return
    raise AssertionError("no end")


# Folding anew.


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
        while given[3]():
            threading.Event().wait(0.001)
        raise state_module.Abandoned

    monkeypatch.setattr(live_module, "fold_beside", abandoned)
    peer.state.stale = True
    await peer.note("one more")
    assert await asyncio.to_thread(begun.wait, 60)
    await peer.close()
    await settled(peer)
    with Ledger.open(tmp_path) as ledger:
        assert digest(current_state(ledger)) == digest(whole_fold(ledger))
        assert ledger.count() == 2


# What was just committed.


def test_memory_serves_what_is_contiguous_and_leaves_the_rest_to_the_disk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ledger_module, "MAX_RECENT_COMMITS", 2)
    recent = ledger_module.Recent(3)
    events: list[Any] = list(enumerate("abcd", 4))
    assert recent.after(3) == []
    assert recent.after(2) is None
    recent.add(events[:2])
    recent.add(events[2:3])
    assert recent.after(3) == [(4, "a"), (5, "b"), (6, "c")]
    assert recent.after(4) == [(5, "b"), (6, "c")]
    assert recent.after(7) is None
    recent.add(events[3:4])
    assert recent.after(3) is None
    assert recent.after(5) == [(6, "c"), (7, "d")]
    skipped: Any = "f"
    recent.add([(9, skipped)])
    assert recent.after(7) is None
    assert recent.after(8) == [(9, "f")]


async def test_a_ledger_hands_out_pages_from_memory_and_disk_alike(
    ana: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "COMMITTED_PAGE", 2)
    for number in range(5):
        await ana.note(str(number))
    for recent in (ana.ledger._recent, ledger_module.Recent(99)):
        monkeypatch.setattr(ana.ledger, "_recent", recent)
        after, found = 0, []
        while page := ana.ledger.committed(after):
            assert len(page) <= 2
            after, found = page[-1][0], [*found, *page]
        assert found == list(ana.ledger.events())


async def test_own_events_are_admitted_whatever_the_fleet_says_of_their_author(
    ana: Peer, ben: Peer
) -> None:
    await ana.found()
    await ana.let_in(ben)
    fact: dict[str, object] = {"key": ben.ledger.author, "epoch": 1, "until": 0, "until_hash": ""}
    await ana.live.emit("peer_removed", "", fact)
    await ben.live.take_in(envelopes(ana.ledger))
    assert ben.live.admits(ben.ledger.author, 1 << 40)
    assert not ana.live.admits(ben.ledger.author, 1 << 40)


# The three ways to a state.


@pytest.mark.parametrize("seed", range(12))
async def test_members_and_jobs_in_any_order_give_one_state_live_whole_and_from_a_snapshot(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(seed)
    monkeypatch.setattr(live_module, "SNAPSHOT_EVENTS", rng.choice((1, 7, 30)))
    monkeypatch.setattr(live_module, "REFOLD_PAUSES", 0)
    root, hub, *guests = (Peer(tmp_path / name) for name in ("root", "hub", "g1", "g2", "g3"))
    await root.found()
    for guest in rng.sample(guests, 3):
        for number in range(rng.randrange(6)):
            await guest.live.emit("job_submitted", "d", {"job_id": f"j{number}", "model": "m"})
        await root.let_in(guest)
        for number in range(rng.randrange(8)):
            kind = rng.choice(("job_dispatched", "job_started", "job_completed"))
            await guest.live.emit(kind, "d", {"job_id": f"j{number}", "actual_cost_nusd": 5})
    brought = [[one] for peer in (root, *guests) for one in envelopes(peer.ledger)]
    rng.shuffle(brought)
    for one in brought:
        await hub.live.take_in(one)
        if rng.random() < 0.1:
            await hub.note()
    await hub.live.belong(root.live._fleet)  # type: ignore[arg-type]
    await settled(hub)
    assert_sound(hub)
    assert_told_once(hub)
    home = hub.home
    for peer in (root, hub, *guests):
        await peer.close()
    again = Peer(home, alone=True)
    assert_sound(again)
    await again.note("goes on")
    assert_sound(again)
    await again.close()


# Snapshots.


async def test_a_snapshot_that_claims_events_it_lacks_is_found_and_not_used(ana: Peer) -> None:
    for number in range(3):
        await ana.note(str(number))
    await ana.live._run(ana.writer, int)  # its own first snapshot is written
    ana.ledger.put_checkpoint(2, pack(ana.state))
    assert_unused(ana, "claims the first 2 events of 3 and holds 3")
    short = pack(ana.state)
    await ana.note("one more")
    ana.ledger.put_checkpoint(4, short)
    assert_unused(ana, "claims the first 4 events of 4 and holds 3")


def assert_unused(peer: Peer, text: str) -> None:
    finding = snapshot_finding(peer.ledger)
    assert finding is not None
    assert text in finding.text
    assert digest(current_state(peer.ledger)) == digest(whole_fold(peer.ledger))


async def test_a_snapshot_ahead_of_a_shorter_ledger_is_not_used(ana: Peer, ben: Peer) -> None:
    for number in range(3):
        await ana.note(str(number))
    await ana.live._run(ana.writer, int)  # its own first snapshot is written
    ana.live.snapshot()
    kept = ana.ledger.get_checkpoint()
    assert kept is not None
    await ben.note()
    await ben.live._run(ben.writer, int)  # its own first snapshot is written
    ben.ledger.put_checkpoint(*kept)
    assert_unused(ben, "claims the first 3 events of 1 and holds 3")


async def test_a_snapshot_with_another_content_than_its_events_is_found(ana: Peer) -> None:
    for number in range(3):
        await ana.note(str(number))
    await ana.live._run(ana.writer, int)  # its own first snapshot is written
    wrong = whole_fold(ana.ledger)
    wrong.counts[ana.ledger.author].notes = 2
    ana.ledger.put_checkpoint(3, pack(wrong))
    await ana.note("after it")
    finding = snapshot_finding(ana.ledger)
    assert finding is not None
    assert "is not what the first 3 events say" in finding.text


async def test_a_reader_of_a_growing_ledger_folds_one_moment_of_it(ana: Peer) -> None:
    """Pages come in total order, so that events written meanwhile may belong to those read."""
    for number in range(600):
        ana.ledger.append("note_added", "", {"text": str(number)}, ana.now())
    reader = Reader.open(ana.home)
    pages = reader.ordered(reader.last_cursor())
    first = next(pages)
    for number in range(600):
        ana.ledger.append("note_added", "", {"text": f"new {number}"}, ana.now())
    assert len([first, *pages]) == 600
    reader.close()


async def test_a_full_disk_costs_the_snapshot_and_not_the_state(
    ana: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mesh.edge.disk import StoreError

    def full(*_: object) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(live_module, "SNAPSHOT_EVENTS", 1)
    monkeypatch.setattr(ana.ledger, "put_checkpoint", full)
    for number in range(3):
        await ana.note(str(number))
    assert ana.ledger.get_checkpoint() is None
    monkeypatch.undo()
    assert_sound(ana)


async def test_a_home_copied_while_its_peer_runs_opens_with_the_state_of_its_ledger(
    tmp_path: Path, ana: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What kill -9 leaves while batches of several neighbours come in."""
    monkeypatch.setattr(live_module, "SNAPSHOT_EVENTS", 5)
    monkeypatch.setattr("mesh.sync.messages.BATCH_EVENTS", 10)
    fars = [Peer(tmp_path / f"far{n}") for n in range(3)]
    for far in fars:
        for number in range(60):
            await far.note(str(number))
    copies, put = [], ana.ledger.put_checkpoint

    def copied(cursor: int, blob: bytes) -> None:
        put(cursor, blob)
        copies.append(tmp_path / f"copy{len(copies)}")
        shutil.copytree(ana.home, copies[-1])

    monkeypatch.setattr(ana.ledger, "put_checkpoint", copied)
    for far in fars:
        connect(ana, far)
    await until(lambda: ana.state.event_count == 180)
    await settled(ana)
    assert_sound(ana)
    assert_told_once(ana)
    for far in fars:
        await far.close()
    assert len(copies) > 3
    for copy in copies:
        reader = Reader.open(copy)
        assert digest(current_state(reader)) == digest(whole_fold(reader))
        assert snapshot_finding(reader) is None
        reader.close()
