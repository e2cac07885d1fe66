"""The ledger and the state that equals it, always. No sockets, no HTTP: the node composes it.

The state follows the ledger's cursor and nothing else: whatever was committed past `state.cursor`
is folded in the order of commits, so it does not matter which task committed it, or whether that
task was cancelled before it could say so. What changes the past is folded anew in a thread of its
own, while events go on coming; the new state catches up and takes the place of the old one.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Executor
from contextlib import closing
from functools import partial
from typing import Final, TypeVar, final

from mesh.edge.disk import StoreError
from mesh.edge.identity import Fleet, join_fleet
from mesh.edge.signing.hearing import has_others
from mesh.edge.signing.highwater import HighWater, Mark
from mesh.edge.signing.voice import Voice
from mesh.edge.store.care.progress import Abandoned
from mesh.edge.store.ledger import Ledger
from mesh.edge.store.state import (
    current_state,
    fold_beside,
    fold_in,
    members_of,
    settle,
)
from mesh.ledger.event import Event
from mesh.ledger.gate import Admission
from mesh.state.checkpoint import pack
from mesh.state.fold import again
from mesh.state.members import LEADING
from mesh.state.members import TYPES as MEMBERSHIP
from mesh.state.state import State
from mesh.sync.archive import Envelope
from mesh.sync.manifest import Tip

# A reader folds at most this many events beyond the snapshot: 30 ms.
SNAPSHOT_EVENTS: Final = 2048
REFOLD_PAUSES: Final = 4  # times as long as folding anew took, nothing is folded anew
RETRY_S: Final = 10.0  # pause after a ledger that could not be read
# How far a freshly folded state may be behind when it is handed to the loop, which folds the rest
# without a pause: 25 ms.
HANDOVER_EVENTS: Final = 512

Told = Callable[[Sequence[Event]], None]
Fact = tuple[str, str, dict[str, object]]  # event type, device id, payload
Group = list[tuple[Sequence[Fact], "asyncio.Future[list[Event]]"]]
_T = TypeVar("_T")


@final
class Live:
    """One peer's ledger, folded. All calls but `admits` are made on the loop.

    `told` hears of every event once, in the order of commits, when the state has it. `writer` is
    the one thread that writes the ledger, `folder` runs what folds it anew. `mark` and `keep` are
    where the newest own event and the fleet are written down: files in the ledger's home. `skews`
    are the neighbours' clocks minus ours, in ms. `state` is the ledger folded, where somebody has.
    """

    def __init__(
        self,
        ledger: Ledger,
        fleet: Fleet | None,
        writer: Executor,
        now_ms: Callable[[], int],
        told: Told,
        *,
        alone: bool = False,
        skews: Callable[[], Sequence[int]] = tuple,
        folder: Executor | None = None,
        mark: Mark | None = None,
        keep: Callable[[Fleet], None] | None = None,
        state: State | None = None,
    ) -> None:
        self._ledger: Final = ledger
        self._fleet = fleet
        self._writer: Final = writer
        self._folder: Final = folder
        self._now_ms: Final = now_ms
        self._told: Final = told
        self._keep: Final = keep or partial(join_fleet, ledger.home)
        self.state: State = current_state(ledger, fleet) if state is None else state
        ledger.want(self.state.members.named)
        self.alone: Final = alone
        self._voice: Final = Voice(
            ledger,
            mark or HighWater(ledger.home),
            skews,
            asks=fleet is not None
            and has_others(self.state.members, ledger.author, fleet.introducer),
            alone=alone,
        )
        self._tasks: Final[set[asyncio.Task[object]]] = set()
        self._waiting: Group = []  # for the next commit
        self._committing = False
        self._folding: Final = asyncio.Lock()
        self._mending = False  # a task sees to it that the state is not stale
        self._refold_after_s = 0.0  # on the loop's clock
        self._since_snapshot = SNAPSHOT_EVENTS  # nobody knows how old the last one is
        self._saving = False
        self._closed = False

    # What comes in.

    async def emit(self, event_type: str, device_id: str, payload: dict[str, object]) -> Event:
        """Sign, store durably, fold in and tell; in this order. NotHeard where it is too early."""
        return (await self.emit_all([(event_type, device_id, payload)]))[0]

    async def emit_all(self, facts: Sequence[Fact]) -> list[Event]:
        """As `emit`, for several facts: all of them or none."""
        await self._voice.demand()
        return await self._whole(self._emit(facts))

    async def take_in(self, envelopes: Sequence[Envelope]) -> list[Admission]:
        """Put others' events through the gate, fold in and tell; the verdict on each."""
        return list(await self._whole(self._take_in(envelopes)))

    async def catch_up(self) -> None:
        """Fold in whatever is committed and not folded yet."""
        if self._fold_page():
            await self._whole(self._follow())

    def admits(self, author: str, seq: int) -> bool:
        """Whether the ledger should take event `seq` of an author; may be asked in any thread."""
        return author == self._ledger.author or self.state.members.admits(author, seq)

    def rank(self, author: str) -> int:
        """In which order to fetch authors; may be asked in any thread."""
        return self.state.members.rank(author)

    def tells_who_belongs(self, author: str) -> bool:
        """Whether an author may say who belongs; may be asked in any thread."""
        return self.state.members.rank(author) <= LEADING

    def is_recovery(self, author: str) -> bool:
        """Whether this is the recovery key, which says nothing else; in any thread."""
        return author == self.state.members.recovery

    async def _emit(self, facts: Sequence[Fact]) -> list[Event]:
        """Commit together with whoever else waits: one write to the disk for all of them."""
        waits: asyncio.Future[list[Event]] = asyncio.get_running_loop().create_future()
        self._waiting.append((facts, waits))
        if not self._committing:
            self._committing = True
            self._start(self._commit())
        events = await waits
        await self._follow()
        return events

    async def _commit(self) -> None:
        """Write what waits until nothing does, in the order in which it came."""
        try:
            while self._waiting:
                group, self._waiting = self._waiting, []
                await self._commit_group(group)
        finally:
            self._committing = False

    async def _commit_group(self, group: Group) -> None:
        facts = [fact for some, _ in group for fact in some]
        try:
            events = await self._run(self._writer, self._append, facts, self._now_ms())
        except BaseException as error:
            for _, waits in group:
                if not waits.done():
                    waits.set_exception(error)
            if not isinstance(error, Exception):
                raise
            return
        for some, waits in group:
            mine, events = events[: len(some)], events[len(some) :]
            if not waits.done():
                waits.set_result(mine)

    def _append(self, facts: Sequence[Fact], now: int) -> list[Event]:
        events = self._ledger.append_many(facts, now)
        self._voice.signed(events[-1], len(events))
        return events

    async def _take_in(self, envelopes: Sequence[Envelope]) -> Sequence[Admission]:
        intake = await self._run(self._writer, self._ledger.take_in, envelopes)
        await self._follow()
        return intake.outcomes

    async def _run(self, where: Executor | None, do: Callable[..., _T], *args: object) -> _T:
        return await asyncio.get_running_loop().run_in_executor(where, do, *args)

    async def _whole(self, work: Coroutine[object, object, _T]) -> _T:
        """Await work that goes on to its end even where whoever awaits it is cancelled."""
        return await asyncio.shield(self._start(work))

    def _start(self, work: Coroutine[object, object, _T]) -> asyncio.Task[_T]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # The state follows the ledger.

    async def _follow(self) -> None:
        while self._fold_page():  # noqa: ASYNC110  nobody is waited for: others have a turn
            await asyncio.sleep(0)

    def _fold_page(self) -> bool:
        """Fold the next committed events in; False where there are none."""
        if self._closed:
            return False
        try:
            found = self._ledger.committed(self.state.cursor)
        except StoreError as error:
            _say(error)  # what is committed stays so, and comes with the next look
            return False
        verdicts = self.state.members.trust  # another object once all are judged anew
        for cursor, event in found:
            fold_in(self.state, cursor, event, self._ledger.has)
        if found:
            said = any(event.event_type in MEMBERSHIP for _, event in found)
            settle(self.state, self._ledger)
            if said or self.state.members.trust is not verdicts:
                self._ledger.want(self.state.members.named)
            self._notice([event for _, event in found])
        return bool(found)

    def _notice(self, events: list[Event]) -> None:
        """What follows from events that the state has now."""
        if any(event.author == self._ledger.author for event in events):
            self._voice.stored()
        self._since_snapshot += len(events)
        self._told(events)
        if self.state.stale:
            self._mend_soon()
        elif self._since_snapshot >= SNAPSHOT_EVENTS and not self._saving:
            self._save_soon()

    # What changes the past is folded anew.

    async def belong(self, fleet: Fleet, own: Tip | None = None) -> None:
        """Be part of a fleet from now on: the ledger is folded by its rules.

        `own` is where our own chain ends at whoever let us in: we sign once we have it. None for a
        fleet of our own.
        """
        if own is not None:
            self._voice.joins(own)
        await self._whole(self._join(fleet))

    async def _join(self, fleet: Fleet) -> None:
        await self._run(self._folder, self._keep, fleet)
        moved = fleet.root != self._root
        self._fleet = fleet
        if moved:
            await self._refold(State(members=members_of(fleet)))
            self._save_soon()

    def _mend_soon(self) -> None:
        if not self._mending:
            self._mending = True
            self._start(self._mend())

    async def _mend(self) -> None:
        """Fold anew until nothing that came meanwhile changed the past again.

        A first sync learns of members one by one, and each may change what counts: folding anew
        takes at most a fifth of the time.
        """
        try:
            while self.state.stale and not self._closed:
                await asyncio.sleep(self._refold_after_s - _now_s())
                await self._try_refold()
        finally:
            self._mending = False

    async def _try_refold(self) -> None:
        try:
            await self._refold()
        except StoreError as error:  # a damaged ledger is said, not fatal
            _say(error)
            self._refold_after_s = _now_s() + RETRY_S
        except Abandoned:
            return

    async def _refold(self, begun: State | None = None) -> None:
        async with self._folding:
            began_s = _now_s()
            begun = begun or again(self.state)
            fresh = await self._run(self._folder, self._folded_beside, begun)
            self._refold_after_s = _now_s() + REFOLD_PAUSES * (_now_s() - began_s)
            self._swap(fresh)

    def _folded_beside(self, begun: State) -> State:
        """In the folder's thread, on a connection of its own."""
        with closing(self._ledger.reader()) as reader:
            return fold_beside(reader, begun, HANDOVER_EVENTS, self._still_wanted)

    def _still_wanted(self, done: int, count: int) -> None:
        if self._closed:
            raise Abandoned

    def _swap(self, fresh: State) -> None:
        """Put a fresh state in the old one's place, at the same cursor: nothing is told twice."""
        while self.state.cursor < fresh.cursor and self._fold_page():
            pass
        while fresh.cursor < self.state.cursor:
            for cursor, event in self._ledger.committed(fresh.cursor):
                if cursor <= self.state.cursor:
                    fold_in(fresh, cursor, event, self._ledger.has)
        settle(fresh, self._ledger)
        self.state = fresh
        self._ledger.want(fresh.members.named)

    @property
    def _root(self) -> str:
        return "" if self._fleet is None else self._fleet.root

    # Snapshots.

    def snapshot(self) -> None:
        """Keep the folded state, so that readers start from it."""
        if self._is_sound():
            self._since_snapshot = 0
            self._put(self.state.cursor, pack(self.state))

    def _save_soon(self) -> None:
        """Pack now, write in the writer's thread."""
        if self._is_sound():
            self._saving, self._since_snapshot = True, 0
            with contextlib.suppress(RuntimeError):  # the writer has ended: `close` does it
                self._writer.submit(self._put, self.state.cursor, pack(self.state))

    def _is_sound(self) -> bool:
        """Whether the state is one to keep: nothing is to be folded again, nothing left out."""
        again = self.state.changed or self.state.stale
        return not again and self.state.event_count == self.state.cursor

    def _put(self, cursor: int, blob: bytes) -> None:
        with contextlib.suppress(StoreError):  # readers only start further back
            self._ledger.put_checkpoint(cursor, blob)
        self._saving = False

    # Signing only after hearing.

    @property
    def may_sign(self) -> bool:
        """Whether an own event may be signed now."""
        return not self._voice.waiting_for

    @property
    def waiting_for(self) -> str:
        """What has to come before anything is signed, for a person; "" for nothing."""
        return self._voice.waiting_for

    @property
    def restored(self) -> bool:
        """Whether this ledger is known to have begun as an older copy of itself."""
        return self._voice.restored

    async def wait_to_sign(self) -> None:
        """Until an own event may be signed."""
        await self._voice.wait()

    def heard(self, own_tip: Tip) -> None:
        """A neighbour says where our own chain ends, seq 0 for nowhere."""
        self._voice.heard(own_tip)

    def close(self) -> None:
        """Fold in what is left and keep it; the writer's thread has ended, the ledger is open."""
        self._closed = True
        with contextlib.suppress(StoreError):
            for cursor, event in self._ledger.events(self.state.cursor):
                fold_in(self.state, cursor, event, self._ledger.has)
                self._since_snapshot += 1
            settle(self.state, self._ledger)
        if self._since_snapshot:
            self.snapshot()
        self._voice.close()


def _now_s() -> float:
    return asyncio.get_running_loop().time()


def _say(error: StoreError) -> None:
    print(f"fleet: {error.text}; {error.hint}", file=sys.stderr, flush=True)
