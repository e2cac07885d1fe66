"""Keys that were put out for good: what their removals must have come to.

Past the event that its removal names nothing of a key counts: the state is what it were without
whatever of the key nobody names. A peer that knows of the removal takes no event past the number it
names. What came before, or on another branch below that number, may lie on a disk: it does nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mesh.edge.store.state import members_of
from mesh.ledger.event import Event
from mesh.state.checkpoint import digest
from mesh.state.fold import fold_all
from tests.simulation.oracle import Oracle

if TYPE_CHECKING:
    from tests.simulation.peer import Peer


# What a key says that was put out: past the end that a peer knows of, and where it does not yet.
GOES_ON, STILL_IN = "still here", "not yet out"


@dataclass(frozen=True)
class Ended:
    """A removal by whoever nobody may remove, and the event of the key that it names."""

    removal: Event
    cut: str


class Removed:
    """The removals as one ledger has them; `ended` is by key."""

    def __init__(self, peer: "Peer", ended: dict[str, Ended]) -> None:
        self.peer, self.members = peer, peer.live.state.members
        self.events = {event.hash: event for _, event in peer.ledger.events()}
        self.ended = {key: one for key, one in ended.items() if one.removal.hash in self.events}

    def faults(self) -> Iterator[str]:
        """What counts and must not, however the key forks."""
        for author in self.ended:
            if self.may_be_back(author):
                continue
            if any(one.payload.get("text") == GOES_ON for one in self.of(author)):
                yield f"what removed {author[:6]} signed since is taken where that was known"
            if self.members.role(author):
                yield f"{author[:6]} was removed for good and is {self.members.role(author)}"
            good = self.before(self.ended[author].cut)
            for event in self.of(author):
                if event.hash not in good and self.members.role_of(event):
                    yield f"event {event.seq} of removed {author[:6]} counts"

        if self.differs_without(self.void()):
            yield "what removed keys signed since changes the state"

    def void(self) -> set[str]:
        """What keys signed that are out for good, and neither their removals nor anything else that
        was said of them leaves standing."""
        found: set[str] = set()
        for author in self.ended:
            if not self.may_be_back(author):
                good = set[str]().union(*map(self.before, self.named(author)))
                found.update(one.hash for one in self.of(author) if one.hash not in good)
        return found

    def named(self, author: str) -> set[str]:
        """The events of a key that anybody names: a grant may rest on another than its removal."""
        said = [one.payload for one in self.events.values() if one.payload.get("key") == author]
        named = {str(one.get(name)) for one in said for name in ("since_hash", "until_hash")}
        return named | {self.ended[author].cut}

    def differs_without(self, void: set[str]) -> bool:
        """Whether the state is another where some events never came."""
        left = [event for event in self.events.values() if event.hash not in void]
        found = fold_all(left, members_of(self.peer.fleet)) if void else self.peer.live.state
        return digest(found) != digest(self.peer.live.state)

    def is_past_the_end(self, author: str, seq: int) -> bool:
        """Whether the removal is known here, and event `seq` past all numbers that end the key.

        What is taken goes by numbers: of an event on the way it is not known yet what it leads to.
        """
        if author not in self.ended or self.may_be_back(author):
            return False
        oracle = Oracle(self.events.values(), self.members.root, self.members.recovery)
        return seq > oracle.until(author)

    def of(self, author: str) -> list[Event]:
        """All there is of an author."""
        return [one for one in self.events.values() if one.author == author]

    def may_be_back(self, author: str, asked: frozenset[str] = frozenset()) -> bool:
        """Whether somebody who may have been an admin then let the key in, knowing of its end."""
        removal = self.ended[author].removal.hash
        return any(
            self._may_count(event, asked | {author})
            for event in self.events.values()
            if event.event_type == "peer_added"
            and event.payload.get("key") == author
            and removal in _names(event)
        )

    def _may_count(self, event: Event, asked: frozenset[str]) -> bool:
        if event.author in asked:
            return False  # the word of a key about itself, or of one it let in again
        ended = self.ended.get(event.author)
        if ended is None or event.hash in self.before(ended.cut):
            return True
        return self.may_be_back(event.author, asked)

    def before(self, cut: str) -> set[str]:
        """An event and all those before it on its branch."""
        found: set[str] = set()
        at = self.events.get(cut)
        while at is not None:
            found.add(at.hash)
            at = self.events.get(at.prev)
        return found


def _names(event: Event) -> list[object]:
    named = event.payload.get("names")
    return list(named) if isinstance(named, list | tuple) else []
