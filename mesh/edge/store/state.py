"""The folded state of a ledger on disk, with the daemon up or down."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

from mesh.edge.identity import fleet_root
from mesh.edge.store.ledger import Reader
from mesh.edge.store.reader import Shelf
from mesh.edge.store.reports import Finding
from mesh.ledger.event import Event
from mesh.state.checkpoint import unpack
from mesh.state.fold import KEEP_ENDED, State, apply, fold_ordered
from mesh.state.members import Members

# Events folded between two pauses in which other threads run: a millisecond or two.
PAGE_EVENTS: Final = 64
# Python's lock is often taken straight back after a pause of 0, before a thread that waits wakes.
PAUSE_S: Final = 0.0001
_T = TypeVar("_T")


class Abandoned(Exception):
    """Whoever wanted this fold wants it no more."""


def load_state(home: Path, *, every_job: bool = False) -> State:
    """The folded ledger of `home`, read without a daemon; StoreError where there is none.

    `every_job` keeps the oldest ended jobs whole too, which takes as long as the ledger is.
    """
    with closing(Reader.open(home)) as reader:
        return whole_fold(reader, sys.maxsize) if every_job else current_state(reader)


def current_state(shelf: Shelf, root: str | None = None) -> State:
    """The state of an open ledger: its snapshot and what came after, else every event.

    `root` is the key its fleet starts at; None looks it up in the ledger's home.
    """
    root = fleet_root(shelf.home) if root is None else root
    state = snapshot_state(shelf, root)
    if state is not None:
        for cursor, event in shelf.events(state.cursor):
            fold_in(state, cursor, event)
        if not state.stale:
            return state
    return fold_anew(shelf, Members(root=root))


def snapshot_state(shelf: Shelf, root: str) -> State | None:
    """The state kept last; None where it is not exactly the first events of this ledger, folded
    by the rules of this program and of this fleet."""
    found = shelf.get_checkpoint()
    state = None if found is None else unpack(found[1])
    if found is None or state is None or state.members.root != root:
        return None
    return state if _covers(state, found[0], shelf.last_cursor()) else None


def _covers(state: State, cursor: int, last: int) -> bool:
    """Whether a snapshot holds what its row says, and no more than the ledger does."""
    return state.event_count == state.cursor == cursor <= last and not state.stale


def fold_in(state: State, cursor: int, event: Event) -> None:
    """Fold in the next event in the order of commits."""
    apply(state, event)
    state.cursor = cursor


def whole_fold(shelf: Shelf, keep_ended: int = KEEP_ENDED, known: Members | None = None) -> State:
    """Every event folded; a second time where the first pass learned who belongs to the fleet.

    `known` are members learned before: with all of them one pass is enough.
    """
    root = fleet_root(shelf.home)
    return fold_anew(shelf, known.anew(root) if known else Members(root=root), keep_ended)


def fold_anew(
    shelf: Shelf,
    members: Members,
    keep_ended: int = KEEP_ENDED,
    until: int | None = None,
    go_on: Callable[[], bool] | None = None,
) -> State:
    """What the ledger holds now, or held at cursor `until`, folded from its first event on.

    With `go_on` it leaves other threads their time, and ends as Abandoned once that says no.
    """
    last = shelf.last_cursor() if until is None else until

    def once(known: Members) -> State:
        events: Iterable[Event] = shelf.ordered(last)
        return fold_ordered(_paced(events, go_on) if go_on else events, keep_ended, known)

    state = once(members)
    if state.stale:
        state = once(state.members.anew())
    state.cursor = last
    return state


def fold_beside(reader: Shelf, known: Members, behind: int, go_on: Callable[[], bool]) -> State:
    """As `fold_anew` while events keep coming: at the end at most `behind` of them are missing."""
    state = fold_anew(reader, known, go_on=go_on)
    while reader.last_cursor() - state.cursor > behind:
        for cursor, event in _paced(reader.events(state.cursor), go_on):
            fold_in(state, cursor, event)
    return state


def _paced(items: Iterable[_T], go_on: Callable[[], bool]) -> Iterator[_T]:
    """The same items, with a moment for other threads after each page."""
    for number, item in enumerate(items):
        if number % PAGE_EVENTS == 0:
            time.sleep(PAUSE_S)
            if not go_on():
                raise Abandoned
        yield item


def snapshot_finding(reader: Shelf) -> Finding | None:
    """What is wrong with the snapshot that readers start from; None for nothing.

    One that no reader would use, of another version or another fleet, is no finding.
    """
    found = reader.get_checkpoint()
    kept = None if found is None else unpack(found[1])
    root = fleet_root(reader.home)
    if found is None or kept is None or kept.members.root != root:
        return None
    last = reader.last_cursor()
    if not _covers(kept, found[0], last):
        text = f"claims the first {found[0]} events of {last} and holds {kept.event_count}"
        return _finding(f"{text}; fleet up writes it anew")
    if not same(kept, fold_anew(reader, Members(root=root), kept.keep_ended, found[0])):
        return _finding(f"is not what the first {found[0]} events say")
    return None


def _finding(text: str) -> Finding:
    return Finding(author="", seq=0, text=f"the snapshot of the state {text}")


def same(one: State, two: State) -> bool:
    """Whether two states say the same, whatever the order their events came in."""
    return _judged(one) == _judged(two) and one.members.seen == two.members.seen


def _judged(state: State) -> State:
    """With what follows from its membership events worked out: a fold leaves out what nobody asked
    it yet."""
    return replace(state, members=state.members.anew())
