"""Whom a simulated peer knows, and so links with: what mesh/edge/peering/trust.py decides."""

from mesh.edge.identity import Fleet, Identity
from mesh.edge.live import Live
from tests.simulation.homes import Home


class Acquainted:
    """One that belongs to a fleet, as far as its ledger and its home say."""

    who: Identity
    home: Home
    live: Live

    @property
    def fleet(self) -> Fleet | None:
        """What it belongs to."""
        return self.home.fleet

    def trusts(self, author: str) -> bool:
        """Whether this key may link with us: see mesh/edge/peering/trust.py."""
        if self.fleet is None:
            return False
        one = self.live.state.members.peer(author) if author in self._peers() else None
        if one is not None and one.role and one.tls:
            return True
        if author == self.fleet.introducer and (one is None or (one.role and not one.tls)):
            return True
        put_out = one is not None and not one.role
        return not self._knows_members() and not put_out and author in self.home.anchors

    def hears(self, author: str) -> bool:
        """Whether this key may link at all: a member's, or one that was put out."""
        return self.trusts(author) or author in self._former()

    def dials(self, author: str) -> bool:
        """Whether to look for this key: a member's, or any by a peer that was put out itself."""
        former = self._former()
        return self.trusts(author) or (author in former and self.who.author in former)

    def _former(self) -> set[str]:
        peers = self._peers() if self.fleet is not None else {}
        return {author for author, role in peers.items() if not role}

    def _peers(self) -> dict[str, str]:
        """Every peer ever let in, and its role now; less work than a view of each."""
        members = self.live.state.members
        every = () if members.alone else members.judge().grants
        return {one: members.role(one) for one in every if one != members.recovery}

    def _knows_members(self) -> bool:
        """Whether the ledger has enough of who belongs: a lost one has not, nor has one that waits
        for its own events."""
        members = self.live.state.members
        return bool(members.seen(members.root)) and not self.live.waiting_for

    def meets(self, welcome: frozenset[str]) -> None:
        """A host names members whom to ask beside it."""
        self.home.anchors = welcome

    def remember(self) -> None:
        """Keep the keys of members beside the ledger: whom to ask once that is lost."""
        if self._knows_members():
            self.home.anchors = frozenset(one for one, role in self._peers().items() if role)
