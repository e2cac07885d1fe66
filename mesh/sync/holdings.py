"""What this peer holds, up to where the members' rules let it count."""

from __future__ import annotations

from typing import Final

from mesh.sync.archive import Archive
from mesh.sync.manifest import Admits, Tip, last_admitted
from mesh.sync.wants import NOTHING


class Holdings:
    """The ledger's tips as a neighbour is told of them.

    Events that do not count may be here: a removed author's from before the removal was known,
    strangers' from a time when this peer was alone. Nobody is told of them, so that peers agree.
    """

    def __init__(self, archive: Archive, admits: Admits) -> None:
        self._archive: Final = archive
        self._admits: Final = admits

    def tip(self, author: str) -> Tip:
        """One author's tip; NOTHING where there are no events that count."""
        tip = self._archive.tip(author) or NOTHING
        if tip.seq == 0 or self._admits(author, tip.seq):
            return tip
        last = last_admitted(self._admits, author, tip.seq)
        return (self._archive.tip_until(author, last) if last else None) or NOTHING

    def all(self) -> dict[str, Tip]:
        """The tips of all authors with events that count."""
        tips = {author: self.tip(author) for author in self._archive.tips()}
        return {author: tip for author, tip in tips.items() if tip.seq}
