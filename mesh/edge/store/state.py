"""The folded state of a ledger on disk, with the daemon up or down."""

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final, TypeVar

from mesh.edge.disk import StoreError
from mesh.edge.identity import Fleet, fleet_of
from mesh.edge.store.care.progress import Say, Steps
from mesh.edge.store.ledger import Reader
from mesh.edge.store.reader import Shelf
from mesh.edge.store.reports import Finding
from mesh.edge.store.schema import DATABASE
from mesh.ledger.event import Event
from mesh.state.checkpoint import digest, unpack
from mesh.state.fold import again, apply, apply_fact, finish, fold_author
from mesh.state.members import Find, Members
from mesh.state.state import KEEP_ENDED, State

# Events folded between two pauses in which other threads run: a millisecond or two.
PAGE_EVENTS: Final = 64
# Python's lock is often taken straight back after a pause of 0, before a thread that waits wakes.
PAUSE_S: Final = 0.0001
# An author's events that are folded again on the spot, in some 20 ms; of one with more, all events
# are, in a thread of their own.
AUTHOR_EVENTS: Final = 2000
# What a daemon says of it while it starts.
FOLDS: Final = "reads the ledger anew"
FOLLOWS: Final = "reads what is new in the ledger"
_T = TypeVar("_T")


def load_state(home: Path, *, every_job: bool = False) -> State:
    """The folded ledger of `home`, read without a daemon; StoreError where there is none.

    `every_job` keeps the oldest ended jobs whole too, which takes as long as the ledger is.
    """
    with closing(Reader.open(home)) as reader:
        return whole_fold(reader, sys.maxsize) if every_job else current_state(reader)


def load_state_if_any(home: Path) -> State:
    """The same; of a machine that has no ledger yet, the state of an empty one."""
    return load_state(home) if (home / DATABASE).is_file() else State()


def current_state(shelf: Shelf, fleet: Fleet | None = None, steps: Steps | None = None) -> State:
    """The state of an open ledger: its snapshot and what came after, else every event.

    `fleet` is the one it belongs to; None looks it up in the ledger's home. `steps` is told how far
    it is, and may end it.
    """
    members = members_of(fleet or fleet_of(shelf.home))
    state = snapshot_state(shelf, members.root)
    if state is not None:
        behind, say = shelf.last_cursor() - state.cursor, steps and steps(FOLLOWS)
        for cursor, event in _paced(shelf.events(state.cursor), say, behind):
            fold_in(state, cursor, event, shelf.has)
        settle(state, shelf)
        if not state.stale:
            return state
    return fold_anew(shelf, members, say=steps and steps(FOLDS))


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


def fold_in(state: State, cursor: int, event: Event, find: Find) -> None:
    """Fold in the next event in the order of commits."""
    apply(state, event, find)
    state.cursor = cursor


def settle(state: State, shelf: Shelf) -> None:
    """Fold the events of authors again whose verdicts changed; stale where those are many."""
    for author in sorted(state.changed):
        if state.members.seen(author) > AUTHOR_EVENTS:
            state.stale = True
            state.members.changed.discard(author)
        else:
            fold_author(state, author, shelf.of_author(author, state.cursor))


def whole_fold(shelf: Shelf, keep_ended: int = KEEP_ENDED) -> State:
    """Every event of an open ledger folded, from its first on."""
    return fold_anew(shelf, members_of(fleet_of(shelf.home)), keep_ended)


def members_of(fleet: Fleet | None) -> Members:
    """Who belongs, before a word of the ledger is read."""
    if fleet is None:
        return Members()
    return Members(fleet.root, fleet.founding, fleet.recovery)


def fold_anew(
    shelf: Shelf,
    members: Members,
    keep_ended: int = KEEP_ENDED,
    until: int | None = None,
    say: Say | None = None,
) -> State:
    """What the ledger holds now, or held at cursor `until`, folded from its first event on.

    With `say` it leaves other threads their time, and tells how far it is: at each pass from 0 on.
    """
    last = shelf.last_cursor() if until is None else until
    state = State(members=members, keep_ended=keep_ended)
    _hear(state, shelf, last, say)
    late = -1
    while state.changed or (state.stale and late < len(state.late)):
        late = len(state.late)
        state = refold(shelf, again(state), say)
    return state


def refold(shelf: Shelf, fresh: State, say: Say | None = None) -> State:
    """The state that `again` began, with all facts up to its cursor folded in."""
    if not fresh.event_count:  # statements were lost
        _hear(fresh, shelf, shelf.last_cursor(), say)
        fresh = again(fresh)
    for event in _paced(shelf.ordered(fresh.cursor), say, fresh.cursor):
        apply_fact(fresh, event)
    finish(fresh)
    return fresh


def _hear(state: State, shelf: Shelf, last: int, say: Say | None) -> None:
    """Fold in all events up to `last` as they came."""
    for cursor, event in _paced(shelf.events(limit=last), say, last):
        fold_in(state, cursor, event, shelf.has)


def fold_beside(reader: Shelf, begun: State, behind: int, say: Say) -> State:
    """As `refold` while events keep coming: at the end at most `behind` of them are missing."""
    state = refold(reader, begun, say)
    while (left := reader.last_cursor() - state.cursor) > behind:
        for cursor, event in _paced(reader.events(state.cursor), say, left):
            fold_in(state, cursor, event, reader.has)
    return state


def _paced(items: Iterable[_T], say: Say | None, count: int) -> Iterator[_T]:
    """The same items; with `say`, which hears of each page, a moment for other threads after it."""
    for number, item in enumerate(items):
        if say is not None and number % PAGE_EVENTS == 0:
            time.sleep(PAUSE_S)
            say(number, count)
        yield item


def snapshot_finding(reader: Shelf) -> Finding | None:
    """What is wrong with the snapshot that readers start from; None for nothing.

    One that no reader would use, of another version or another fleet, is no finding.
    """
    found = reader.get_checkpoint()
    kept = None if found is None else unpack(found[1])
    if found is None or kept is None:
        return None
    try:
        known = members_of(fleet_of(reader.home))
    except StoreError:
        return None  # without its fleet nobody starts from it, and every command says so
    if kept.members.root != known.root:
        return None
    last = reader.last_cursor()
    if not _covers(kept, found[0], last):
        text = f"claims the first {found[0]} events of {last} and holds {kept.event_count}"
        return _finding(f"{text}; fleet up writes it anew")
    if digest(kept) != digest(fold_anew(reader, known, kept.keep_ended, found[0])):
        return _finding(f"is not what the first {found[0]} events say")
    return None


def _finding(text: str) -> Finding:
    return Finding(author="", seq=0, text=f"the snapshot of the state {text}")
