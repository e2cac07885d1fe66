"""Keys that were put out for good: what their removals must have come to."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mesh.ledger.event import Event

if TYPE_CHECKING:
    from tests.simulation.peer import Peer


GOES_ON = "still here"  # what a key says that was put out for good


@dataclass(frozen=True)
class Ended:
    """A removal by whoever nobody may remove, and the event of the key that it names."""

    removal: Event
    cut: str


class Removed:
    """The removals as one ledger has them; `ended` is by key."""

    def __init__(self, peer: "Peer", ended: dict[str, Ended]) -> None:
        self.members = peer.live.state.members
        self.events = {event.hash: event for _, event in peer.ledger.events()}
        self.ended = {key: one for key, one in ended.items() if one.removal.hash in self.events}

    def faults(self) -> Iterator[str]:
        """What counts and must not, however the key forks."""
        for author in self.ended:
            if self.may_be_back(author):
                continue
            if any(one.payload.get("text") == GOES_ON for one in self.of(author)):
                yield f"what removed {author[:6]} signed since is kept"
            if self.members.role(author):
                yield f"{author[:6]} was removed for good and is {self.members.role(author)}"
            good = self.before(self.ended[author].cut)
            for event in self.of(author):
                if event.hash not in good and self.members.role_of(event):
                    yield f"event {event.seq} of removed {author[:6]} counts"

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
