"""What one neighbour named, what is wanted of it, and the one stretch it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, final

from mesh.sync import wants
from mesh.sync.archive import Archive
from mesh.sync.desk import Desk, Holder
from mesh.sync.holdings import Holdings
from mesh.sync.manifest import Admits, Tip, last_admitted


@final
class Fetching:
    """The asking half of a session. All it keeps is about authors that are admitted."""

    def __init__(
        self,
        archive: Archive,
        admits: Admits,
        holdings: Holdings,
        desk: tuple[Desk, Holder],
        rank: wants.Rank,
    ) -> None:
        self._archive: Final = archive
        self._admits: Final = admits
        self._holdings: Final = holdings
        self._desk, self._holder = desk
        self._wanted: Final = wants.Queue(rank)
        self._settled: Final[dict[str, tuple[Tip, Tip]]] = {}  # (theirs, ours) that need no more
        self._retreats: Final[dict[str, wants.Retreat]] = {}
        self.theirs: Final[dict[str, Tip]] = {}
        self.asked: wants.Asked | None = None

    def named(self, author: str, tip: Tip) -> None:
        """The neighbour holds this much of an author, who is admitted."""
        self.theirs[author] = tip
        self._wanted.add(author)

    def look_at(self, author: str) -> None:
        """Something of an author came some other way: see what is still missing."""
        if author in self.theirs:
            self._wanted.add(author)

    def agreed(self, tips: Mapping[str, Tip]) -> None:
        """The neighbour holds exactly what counts here."""
        self.theirs.update(tips)

    def anew(self) -> None:
        """Look at everything again; forget those who are not admitted any more."""
        self._settled.clear()
        self._retreats.clear()
        self._wanted.clear()
        for author in list(self.theirs):
            if self._admits(author, 1):
                self._wanted.add(author)
            else:
                del self.theirs[author]

    @property
    def waiting(self) -> bool:
        """Whether something is wanted that another session asks for now."""
        return bool(self._wanted)

    def behind(self) -> int:
        """Events that the neighbour has and we have not."""
        authors = {*self._wanted, *([self.asked.author] if self.asked else [])}
        return sum(
            max(0, self.theirs[author].seq - self._holdings.tip(author).seq)
            for author in authors
            if author in self.theirs
        )

    def choose(self, now: int) -> wants.Asked | None:
        """The next stretch to ask for, claimed; None where there is none."""
        for author in self._wanted:
            mine, theirs = self._holdings.tip(author), self.theirs.get(author, wants.NOTHING)
            after = self._after(author, mine, theirs)
            if after is None:
                self._wanted.discard(author)
            elif self._desk.claim(author, self._holder, now):
                self._wanted.discard(author)
                return wants.Asked(author, after, after)
        return None

    def probe(self, author: str, now: int) -> None:
        """Ask for what the neighbour has of an author past our own, whether or not it named it."""
        if self._desk.claim(author, self._holder, now):
            at = self._holdings.tip(author).seq
            self.asked = wants.Asked(author, at, at)

    def go_on(self, asked: wants.Asked, last: int, now: int, *, events: int, size: int) -> None:
        """A stretch goes on past `last`, for as long as the neighbour is worth its time."""
        if self._desk.keep(asked.author, self._holder, now, events=events, size=size):
            asked.at, asked.sent = last, False
        else:  # too slow: another neighbour is asked for the rest
            self.asked = None
            self.look_at(asked.author)

    def finish(self, asked: wants.Asked, now: int) -> None:
        """All that was asked for has come; look further back if its beginning did not fit."""
        author = asked.author
        self.asked = None
        self.give_back(author, now)
        if author not in self.theirs:
            return
        if asked.gap and asked.began:
            self._retreats[author] = wants.step_back(asked.began, self._retreats.get(author))
            self._wanted.add(author)
        else:
            self._retreats.pop(author, None)
            self._settled[author] = (self.theirs[author], self._holdings.tip(author))

    def give_back(self, author: str, now: int) -> None:
        """The claim on an author is free for others."""
        self._desk.drop(author, self._holder, now)

    def _after(self, author: str, mine: Tip, theirs: Tip) -> int | None:
        """The seq to ask from; None when the neighbour has nothing that we may take."""
        if self._settled.get(author) == (theirs, mine):
            return None
        reach = last_admitted(self._admits, author, theirs.seq)
        forked = mine.fork or theirs.fork
        if reach == 0 or (reach < theirs.seq and reach <= mine.seq and not forked):
            return None
        retreat = self._retreats.get(author)
        return wants.ask_after(
            mine, theirs, retreat, lambda seq: self._archive.hashes_at(author, seq)
        )
