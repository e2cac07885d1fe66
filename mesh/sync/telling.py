"""What one neighbour is told of this peer's tips: each once, the last few events with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, final

from mesh.ledger import changes, document
from mesh.sync import messages, wants
from mesh.sync.archive import Archive
from mesh.sync.holdings import Holdings
from mesh.sync.manifest import Tip
from mesh.sync.messages import Heads, Row, Tail
from mesh.sync.talks import Talks


@final
class Telling:
    """The telling half of a session. `theirs` is what the neighbour said of itself."""

    def __init__(self, archive: Archive, holdings: Holdings, theirs: Mapping[str, Tip]) -> None:
        self._archive: Final = archive
        self._holdings: Final = holdings
        self._theirs: Final = theirs
        self.talks: Final = Talks()
        self._told: Final[dict[str, Tip]] = {}
        self._changed: Final[dict[str, bool]] = {}  # authors to tell of, and whether eagerly

    def agreed(self, tips: Mapping[str, Tip]) -> None:
        """The neighbour holds exactly these: nothing of them needs telling."""
        self._told.update(tips)

    def anew(self, tips: Iterable[str]) -> None:
        """The neighbour holds something else: tell it of everything."""
        self._told.clear()
        self.moved(tips, eager=False)

    def moved(self, authors: Iterable[str], *, eager: bool) -> None:
        """Events of these authors may be new to the neighbour; eager, they are sent."""
        for author in authors:
            self._changed[author] = eager or self._changed.get(author, False)

    def name_again(self, author: str) -> None:
        """Say an author's tip once more: the neighbour asked in a way that has no answer here."""
        self._told.pop(author, None)
        self.moved([author], eager=False)

    def next(self) -> Heads | Tail | None:
        """Tell of authors whose tips moved: the last few events as a tail, the rest as rows."""
        rows: list[Row] = []
        while self._changed and len(rows) < messages.MAX_ROWS:
            author = next(iter(self._changed))
            mine, told = self._holdings.tip(author), self._told.get(author, wants.NOTHING)
            if mine in (told, wants.NOTHING) or mine == self._theirs.get(author):
                del self._changed[author]
                continue
            if self._changed[author] and self._goes_as_tail(author, told, mine):
                if rows:
                    break
                tail = self.say(author, mine)
                if tail is not None:
                    return tail
            del self._changed[author]
            self._told[author] = mine
            rows.append(Row(bytes.fromhex(author), mine.seq, bytes.fromhex(mine.hash), mine.fork))
        return Heads(tuple(rows)) if rows else self._answer()

    def say(self, author: str, mine: Tip) -> Tail | None:
        """The next message of the talk about an author's open segment, if there is one to have."""
        opened = self._archive.segment(author)
        if opened is None or mine.fork or self._archive.tip(author) != mine:
            self.talks.drop(author)
            return None
        number, segment = opened
        data = segment.say(self.talks.get(author, number))
        if data is None:
            return None
        if len(data) > changes.MAX_SYNC_BYTES:
            self.talks.drop(author)
            return None
        self._told[author] = mine
        self._changed.pop(author, None)
        return Tail(bytes.fromhex(author), number, data)

    def _goes_as_tail(self, author: str, told: Tip, mine: Tip) -> bool:
        talks = self.talks.has(author, document.segment_of(mine.seq))
        return talks and wants.fits_tail(told, mine)

    def _answer(self) -> Tail | None:
        """Say what our documents have, to neighbours who said what theirs have."""
        while (author := self.talks.owed()) is not None:
            mine = self._holdings.tip(author)
            if self.talks.has(author, document.segment_of(mine.seq)):
                tail = self.say(author, mine)
                if tail is not None:
                    return tail
        return None
