"""The Automerge sync state of a few open segments with one neighbour."""

from __future__ import annotations

from typing import Final

from mesh.ledger.document import Talk
from mesh.sync.manifest import Tip

# Talks kept with one neighbour; one that is dropped begins again with the author's next event.
MAX_TALKS: Final = 256


class Talks:
    """At most MAX_TALKS talks, one per author, and which of them owe an answer."""

    def __init__(self) -> None:
        self._talks: Final[dict[str, tuple[int, Talk]]] = {}
        self._tried: Final[dict[str, Tip]] = {}
        self._owed: Final[dict[str, None]] = {}

    def has(self, author: str, segment: int) -> bool:
        """Whether both sides have spoken about this segment or are about to."""
        return self._talks.get(author, (-1, None))[0] == segment

    def get(self, author: str, segment: int) -> Talk:
        """The talk about a segment, begun anew when it is not the last one."""
        held = self._talks.pop(author, None)
        if held is None or held[0] != segment:
            held = (segment, Talk())
        self._talks[author] = held
        if len(self._talks) > MAX_TALKS:
            self.drop(next(iter(self._talks)))
        return held[1]

    def drop(self, author: str) -> None:
        """Forget a talk: the segment is full, or the documents do not agree."""
        self._talks.pop(author, None)
        self._owed.pop(author, None)

    def first_try(self, author: str, theirs: Tip) -> bool:
        """True once for each tip of the neighbour: what a talk did not bring, a batch will."""
        if self._tried.get(author) == theirs:
            return False
        self._tried[author] = theirs
        return True

    def owe(self, author: str) -> None:
        """Their message wants an answer."""
        self._owed[author] = None

    def owed(self) -> str | None:
        """The next author to answer about; None when all is answered."""
        author = next(iter(self._owed), None)
        if author is not None:
            del self._owed[author]
        return author
