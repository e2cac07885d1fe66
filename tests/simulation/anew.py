"""The whole fold that a live state is compared with."""

from mesh.edge.identity import Fleet
from mesh.edge.store.ledger import Ledger
from mesh.edge.store.state import members_of
from mesh.state.fold import fold_all
from mesh.state.state import State


def folded_anew(ledger: Ledger, fleet: Fleet | None) -> State:
    """Everything in a ledger folded, by nothing but the events and the fleet they belong to."""
    return fold_all([event for _, event in ledger.events()], members_of(fleet))
