"""Who belongs to the fleet: its membership events, what follows from them, names and addresses.

Before any founding a peer is alone, and what its owner put into its ledger by hand is believed. In
a fleet everything is judged (mesh/state/trust/verdicts.py), and nothing makes it alone again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from mesh.ledger.event import Event, order_key
from mesh.state.facts.fact import decode
from mesh.state.facts.member import Membership, PeerReachable
from mesh.state.jobs import Key
from mesh.state.peer_id import peer_id
from mesh.state.trust.judged import LEADING, Judged
from mesh.state.trust.record import Claim
from mesh.state.trust.roles import (
    ADMIN,
    FORMER,
    MEMBER,
    ROLES,
    RUNNER,
    VIEWER,
    allowed,
    needed_role,
)
from mesh.state.trust.statements import (
    ADDED,
    FOUNDED,
    REACHABLE,
    REMOVED,
    RENAMED,
    TYPES,
    Statement,
    is_key,
    leaves,
    statement,
)

__all__ = [
    "ADDED", "ADMIN", "FORMER", "FOUNDED", "LEADING", "MEMBER", "REACHABLE", "REMOVED", "RENAMED",
    "ROLES", "RUNNER", "TYPES", "VIEWER", "Find", "Members", "PeerView", "allowed", "needed_role",
]  # fmt: skip

# Addresses one peer may announce: a workstation with docker, VPNs and IPv6 has about ten.
MAX_ADDRESSES: Final = 32
MAX_ADDRESS_CHARACTERS: Final = 100
# Statements kept of an author that never was an admin; of one that was, all are. What says that
# its author leaves is always kept: it counts whoever says it.
MAX_WAITING: Final = 256
# Names kept that one author gave one peer: the first ones, for machines are seldom renamed.
MAX_NAMINGS: Final = 64
NO_KEY: Final[Key] = (0, 0, "", 0, "")

# Whether the ledger holds an author's event of that number and hash.
Find = Callable[[str, int, str], bool]


def holds_nothing(author: str, seq: int, digest: str) -> bool:
    """What a fold of no ledger can say of events it has not met."""
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerView:
    """One peer that was ever let in; `role` is "" for one that was removed.

    `steps` counts grants from the recovery key: fewer is senior; `seniority` says it in words.
    `removed_by` and `added_by` are keys, "" for nobody.
    """

    author: str
    name: str
    role: str
    steps: int
    seniority: str
    tls: str
    added_ms: int
    added_by: str
    removed_by: str
    addresses: tuple[str, ...]


class Members(Judged):
    """Who belongs, what they are called and where they are; the only writer of the record."""

    __slots__ = ()

    def name(self, author: str) -> str:
        """What people call a peer: what it or an admin said last; "" for one without a name."""
        if self.alone:
            return ""
        trust = self.judge()
        said = [one.statement for one in trust.grants.get(author, ())]
        said += [one for _, one in trust.removals.get(author, ())]
        found = [one for one in said if one.name]
        found += [one for one in self.namings.get(author, ()) if self._names(one)]
        if self.founded is not None and self.founded.author == author:
            found += [self.founded] if self._names(self.founded) else []
        return max(found, key=lambda one: (one.kind != ADDED, one.key)).name if found else ""

    @property
    def names(self) -> dict[str, str]:
        """What every peer that has a name is called, by its key."""
        named = {one: self.name(one) for one in (() if self.alone else self.judge().grants)}
        return {author: name for author, name in named.items() if name}

    def _names(self, one: Statement) -> bool:
        role = self.role_at(one.author, one.seq, one.hash)
        return role == ADMIN or (role != "" and one.author == one.subject)

    def peers(self) -> Iterator[PeerView]:
        """Every peer ever let in, the removed ones too, by name."""
        if self.alone:
            return
        views = [self.peer(one) for one in self.judge().grants if one != self.recovery]
        yield from sorted(views, key=lambda one: (one.name, one.author))

    def peer(self, author: str) -> PeerView:
        """One peer that has a grant."""
        trust = self.judge()
        given = sorted((one.statement for one in trust.grants[author]), key=lambda one: one.key)
        first = next((one for one in given if one.seq), self.founded or given[0])
        removals = [one for _, one in trust.removals.get(author, ())]
        role = trust.role(author)
        own = [self.founded] if self.founded and self.founded.author == author else []
        tls = [one.tls for one in (*own, *given) if one.tls]
        return PeerView(
            author=author,
            name=self.name(author),
            role=role,
            steps=trust.steps(author),
            seniority=self._let_in(author, first.author) if role else "",
            tls=tls[-1] if tls else "",
            added_ms=first.key[0],
            added_by=first.author,
            removed_by=removals[-1].author if removals and not role else "",
            addresses=self.reach.get(author, (NO_KEY, ()))[1],
        )

    def _let_in(self, author: str, by: str) -> str:
        """By whom a member was let in, in words."""
        if author == self.root:
            return "founder"
        if by == self.recovery:
            return "let in by the recovery words"
        return f"let in by {self.name(by) or peer_id(by)[:7]}"

    # What changes it

    def see(self, event: Event) -> None:
        """Note where an event stands, before it is judged."""
        fork = self.chains.fork(event.author)
        unsettles = self.chains.add(event)
        if self.chains.fork(event.author) != fork and self.trust is not None:
            unsettles = unsettles or self.trust.goes_by_number(event.author)
        place = (event.author, event.seq, event.hash)
        named = place in self.here  # the ledger held it already when a statement named it
        claims = self.awaited.pop(event.hash, None)
        if claims is not None:
            self.here.update(one for one in claims if one == place)
        if unsettles or named or claims is not None:
            self.changed.add(event.author)
            self._unsettle()

    def take(self, event: Event, find: Find) -> None:
        """Judge one membership event."""
        if event.event_type == REACHABLE:
            self._reachable(event)
            return
        one = statement(event)
        if one is None:
            return
        if one.kind == FOUNDED:
            self._found(event, one)
        elif one.kind == RENAMED:
            named = self.namings.setdefault(one.subject, [])
            if sum(old.author == one.author for old in named) < MAX_NAMINGS:
                named.append(one)
        elif self._keep(one):
            self._judge_one(one, find)

    def _found(self, event: Event, one: Statement) -> None:
        """The fleet's first event; another of the same kind says nothing."""
        if event.author != self.root or event.hash != (self.founding or event.hash):
            return
        if not self.founding and self.role_of(event) != ADMIN:
            return  # of a fleet that was told which it is, no verdict says otherwise
        recovery = decode(Membership, event.payload).recovery
        self.founding, self.founded = event.hash, one
        self.recovery = recovery if is_key(recovery) else self.recovery
        self._unsettle()

    def _unsettle(self) -> None:
        """Judge everything anew when it is next asked for."""
        if self.trust is not None:
            self.trust.settled = False

    def _keep(self, one: Statement) -> bool:
        """Put a statement to those of its author, unless that never was an admin and says much."""
        spoken = self.said.setdefault(one.author, [])
        waits = one.author not in self.heard and not leaves(one)
        if waits and len(spoken) >= MAX_WAITING:
            self.dropped.add(one.author)
            return False
        spoken.append(one)
        return True

    def _judge_one(self, one: Statement, find: Find) -> None:
        if one.kind == REMOVED and one.author == one.subject:
            self.here.add((one.author, one.seq, one.hash))  # it leaves with this very event
        elif one.after_hash:
            self._await((one.subject, one.after, one.after_hash), find)
        if self.trust is None or not self.trust.settled:
            return
        self.trust.add(one)
        touched, self.trust.touched = self.trust.touched, {}
        self._note(touched)
        self._publish(self.trust, touched)
        self.heard.update(filter(self.trust.ever_admin, touched))

    def _await(self, claim: Claim, find: Find) -> None:
        """Know of a named event whether it is here, or be told when it comes."""
        if claim in self.here or claim in self.awaited.get(claim[2], ()):
            return
        if find(*claim):
            self.here.add(claim)
        else:
            self.awaited.setdefault(claim[2], []).append(claim)

    def _reachable(self, event: Event) -> None:
        found = decode(PeerReachable, event.payload).addresses
        key = order_key(event)
        known = self.reach.get(event.author)
        if found is None or (known is not None and known[0] > key):
            return
        texts = tuple(one[:MAX_ADDRESS_CHARACTERS] for one in found[:MAX_ADDRESSES])
        self.reach[event.author] = (key, texts)
