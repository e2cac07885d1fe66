"""The live part of a peer that simulated peers run, and the whole fold it is compared with."""

from typing import Any

from mesh.edge.store.ledger import Ledger
from mesh.state import fold
from mesh.state.fold import State
from mesh.state.members import Members

try:
    from mesh.edge.live import Live
    from mesh.state.checkpoint import digest
except ImportError:
    from tests.simulation.stand_in import Live, digest  # type: ignore[assignment]

__all__ = ["Live", "cursor_of", "digest", "refolded"]


def refolded(ledger: Ledger, belongs: dict[str, Any]) -> State:
    """Everything in a ledger folded, by nothing but the events."""
    events = list(ledger.events())
    if hasattr(fold, "fold_all"):
        return fold.fold_all([event for _, event in events], Members(**belongs))
    ordered = list(ledger.ordered())
    members = Members(root=belongs.get("root", ""))
    state = fold.fold_ordered(ordered, fold.KEEP_ENDED, members)
    if state.stale:
        state = fold.fold_ordered(ordered, fold.KEEP_ENDED, state.members.anew())
    if hasattr(state, "cursor"):
        state.cursor = ledger.last_cursor()
    return state


def cursor_of(live: Any) -> int:
    """How far a live state has come."""
    found: int = live.state.cursor if hasattr(live.state, "cursor") else live.cursor
    return found
