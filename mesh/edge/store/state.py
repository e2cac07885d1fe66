"""The folded state of a ledger on disk, with the daemon up or down."""

import sys
from contextlib import closing
from pathlib import Path

from mesh.edge.identity import fleet_root
from mesh.edge.store.ledger import Reader
from mesh.edge.store.reader import Shelf
from mesh.state.checkpoint import unpack
from mesh.state.fold import KEEP_ENDED, State, apply, fold_ordered
from mesh.state.members import Members


def load_state(home: Path, *, every_job: bool = False) -> State:
    """The folded ledger of `home`, read without a daemon; StoreError where there is none.

    `every_job` keeps the oldest ended jobs whole too, which takes as long as the ledger is.
    """
    with closing(Reader.open(home)) as reader:
        return whole_fold(reader, sys.maxsize) if every_job else current_state(reader)


def current_state(shelf: Shelf) -> State:
    """The state of an open ledger: its snapshot and what came after, else every event."""
    found = shelf.get_checkpoint()
    state = None if found is None else unpack(found[1])
    if found is not None and state is not None and state.members.root == fleet_root(shelf.home):
        for _, event in shelf.events(found[0]):
            apply(state, event)
        if not state.stale:
            return state
    return whole_fold(shelf)


def whole_fold(shelf: Shelf, keep_ended: int = KEEP_ENDED, known: Members | None = None) -> State:
    """Every event folded; a second time where the first pass learned who belongs to the fleet.

    `known` are members learned before: with all of them one pass is enough.
    """
    root = fleet_root(shelf.home)
    members = known.anew(root) if known else Members(root=root)
    state = fold_ordered(shelf.ordered(), keep_ended, members)
    if not state.stale:
        return state
    return fold_ordered(shelf.ordered(), keep_ended, state.members.anew())
