"""A file's events without a daemon: of those who may write, also of whom the file lets in."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mesh.edge.store.ledger import ImportReport, Ledger
from mesh.edge.store.state import current_state, fold_in, settle
from mesh.edge.store.transfer import import_
from mesh.ledger.gate import Admission
from mesh.sync.archive import Envelope


def import_at_rest(ledger: Ledger, path: Path) -> ImportReport:
    """Take in a file without a daemon: of those who may write, also of whom the file lets in."""
    state = current_state(ledger)
    ledger.want(state.members.named)

    def admits(author: str, seq: int) -> bool:
        return author == ledger.author or state.members.admits(author, seq)

    def admit(envelopes: Iterable[Envelope]) -> list[Admission]:
        outcomes = ledger.admit_many(envelopes)
        for cursor, event in ledger.events(state.cursor):
            fold_in(state, cursor, event, ledger.has)
        settle(state, ledger)
        ledger.want(state.members.named)
        return outcomes

    return import_(admit, path, admits=admits)
