"""One daemon's events and the state that equals them, judged by the fleet's rules as in `Live`."""

from collections.abc import Iterator, Sequence

from mesh.ledger.event import Event, order_key
from mesh.state.fold import again, apply, apply_fact, finish, fold_author
from mesh.state.members import Members
from mesh.state.state import State


class Folding:
    """Events of each author in the order of its chain; `heads` counts them."""

    def __init__(self, root: str, founding: str, keep_ended: int) -> None:
        self.state = State(members=Members(root, founding), keep_ended=keep_ended)
        self.chain: dict[str, list[Event]] = {}
        self.heads: dict[str, int] = {}
        self.arrived: list[Event] = []

    def fold(self, event: Event) -> None:
        """Take in an event, after its author's earlier ones."""
        self.chain.setdefault(event.author, []).append(event)
        self.heads[event.author] = event.seq
        self.arrived.append(event)
        apply(self.state, event, self._holds)
        for author in sorted(self.state.changed):
            fold_author(self.state, author, list(self.chain.get(author, ())))
        late = -1
        while self.state.stale:
            assert late < len(self.state.late), "folding anew changes nothing, and is asked for"
            late = len(self.state.late)
            self._anew()

    def _anew(self) -> None:
        """What changes the past is folded anew; here no time passes meanwhile."""
        fresh = again(self.state)
        if not fresh.event_count:  # statements were lost
            for event in self.arrived:
                apply(fresh, event, self._holds)
            fresh = again(fresh)
        for event in sorted(self.arrived, key=order_key):
            apply_fact(fresh, event)
        finish(fresh)
        self.state = fresh

    def _holds(self, author: str, seq: int, digest: str) -> bool:
        chain = self.chain.get(author, ())
        return 0 < seq <= len(chain) and chain[seq - 1].hash == digest

    def takes(self, event: Event) -> bool:
        """Whether it follows on what is here, of somebody whose events a ledger takes."""
        follows = self.heads.get(event.author, 0) + 1 == event.seq
        return follows and self.state.members.admits(event.author, event.seq)

    def lacks(self, other: "Folding") -> Iterator[Sequence[Event]]:
        """What another holds and this one does not, author by author."""
        for author, count in list(other.heads.items()):
            have = self.heads.get(author, 0)
            if have < count:
                yield other.chain[author][have:]

    def counted(self) -> dict[str, int]:
        """How far each author is held, as far as ledgers take it now."""
        limit = self.state.members.limit
        return {one: min(count, limit(one)) for one, count in self.heads.items() if limit(one)}
