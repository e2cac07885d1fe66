"""Who belongs to the fleet: its membership events, what follows from them, names and addresses.

Before any founding a peer is alone, and what its owner put into its ledger by hand is believed. In
a fleet everything is judged (mesh/state/trust/verdicts.py), and nothing makes it alone again.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Final

from mesh.ledger.event import Event, order_key
from mesh.state.facts.fact import decode
from mesh.state.facts.member import Membership, PeerReachable
from mesh.state.jobs import Key
from mesh.state.peer_id import peer_id
from mesh.state.trust.record import Claim, Record
from mesh.state.trust.statements import (
    ADDED,
    ADMIN,
    FOUNDED,
    MEMBER,
    REACHABLE,
    REMOVED,
    RENAMED,
    ROLES,
    RUNNER,
    TYPES,
    VIEWER,
    Statement,
    is_key,
    statement,
)
from mesh.state.trust.verdicts import FOREVER, NOBODY, Seniority, Trust, Worth

__all__ = [
    "ADDED", "ADMIN", "FORMER", "FOUNDED", "LEADING", "MEMBER", "REACHABLE", "REMOVED", "RENAMED",
    "ROLES", "RUNNER", "TYPES", "VIEWER", "Find", "Members", "PeerView", "allowed", "needed_role",
]  # fmt: skip

# The lowest role whose events of a kind count, by the word before the first underscore; anything
# else is a fact about hardware, prices or rentals and needs a runner.
NEEDED: Final = {"job": MEMBER, "note": MEMBER, "budget": ADMIN}

# Addresses one peer may announce: a workstation with docker, VPNs and IPv6 has about ten.
MAX_ADDRESSES: Final = 32
MAX_ADDRESS_CHARACTERS: Final = 100
# Statements kept of an author that never was an admin; of one that was, all are.
MAX_WAITING: Final = 256
# Names kept that one author gave one peer: the first ones, for machines are seldom renamed.
MAX_NAMINGS: Final = 64
NO_KEY: Final[Key] = (0, 0, "", 0, "")
# In the order they are fetched: the founder, the recovery key, who may administer, everybody else.
FOUNDING, RECOVERING, LEADING, FOLLOWING = range(4)
# What a key is to others once it was put out: no role, and no route asks for it.
FORMER: Final = "former"

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


class Members(Record):
    """The record with the verdicts that follow from it.

    One thread may use it; `limit`, `admits` and `rank` any, for they look at what the last
    judgement published.
    """

    __slots__ = ("_leading", "_limits", "trust")
    trust: Trust | None  # None until it is asked for
    _limits: dict[str, int]  # how far each author's events are taken; replaced, never changed
    _leading: frozenset[str]  # who may administer

    def __post_init__(self) -> None:
        self.trust = None
        self._limits = dict.fromkeys(filter(None, (self.root, self.recovery)), FOREVER)
        self._leading = frozenset()

    def judge(self) -> Trust:
        """The verdicts on all that was said so far; notes in `changed` whom that touches."""
        before = self.trust
        if before is not None and before.settled:
            return before
        made = self.trust = Trust(self.root, self.recovery, self.chains, self.said, self._known)
        made.judge()
        self.heard |= made.ever_admins()
        self._limits = {one: made.limit(one) for one in made.grants}
        self._leading = frozenset(one for one in made.grants if made.role(one) == ADMIN)
        if before is not None:
            self._note({one: before.worth(one) for one in {*before.grants, *made.grants}})
        return made

    def _note(self, before: dict[str, Worth]) -> None:
        """Remember whose earlier events are worth something else than before."""
        self.changed.update(one for one, worth in before.items() if self._touches(one, worth))

    def _publish(self, trust: Trust, touched: Iterable[str]) -> None:
        """Let other threads see what a few keys may do now."""
        self._limits = {**self._limits, **{one: trust.limit(one) for one in touched}}
        leading = {one for one in touched if trust.role(one) == ADMIN}
        self._leading = self._leading.difference(touched) | leading

    def copy(self) -> Members:
        """The same record and verdicts, for a fold beside this one."""
        kept = {one.name: copy.copy(getattr(self, one.name)) for one in fields(Record)}
        made = Members(**kept)
        made.chains = copy.deepcopy(self.chains)
        made.said = {author: list(spoken) for author, spoken in self.said.items()}
        made.namings = {author: list(named) for author, named in self.namings.items()}
        made.awaited = {digest: list(claims) for digest, claims in self.awaited.items()}
        made.changed = set()
        return made

    def _known(self, author: str, seq: int, digest: str) -> bool:
        return (author, seq, digest) in self.here

    def _touches(self, author: str, before: Worth) -> bool:
        """Whether events of an author that came already are worth something else than before."""
        assert self.trust is not None
        tip, fork = self.chains.tip(author), self.chains.fork(author)
        return any(number < tip or fork for number in self.trust.differs(author, before))

    # What may be asked

    @property
    def alone(self) -> bool:
        """No fleet is known here: there is nobody to judge."""
        return not self.root

    @property
    def lost(self) -> bool:
        """Whether a statement that was not kept may count after all: read the ledger again."""
        return not self.dropped.isdisjoint(self.heard)

    def role_at(self, author: str, seq: int, digest: str) -> str:
        """What an author might do at its event; "" for nothing."""
        return ADMIN if self.alone else self.judge().role_at(author, seq, digest)

    def role_of(self, event: Event) -> str:
        """What its author might do at an event; "" for nothing."""
        return self.role_at(event.author, event.seq, event.hash)

    def role(self, author: str) -> str:
        """What an author may do now."""
        return ADMIN if self.alone else self.judge().role(author)

    def counts(self, event: Event) -> bool:
        """Whether a (non-membership) event changes the state."""
        return allowed(self.role_of(event), needed_role(event.event_type))

    def limit(self, author: str) -> int:
        """The highest number of an author's events that a ledger takes; 0 for a stranger.

        A removed author's events are taken as far as a removal names one, a viewer's to a bound.
        """
        return self._limits.get(author, 0) if self.root else FOREVER

    def admits(self, author: str, seq: int) -> bool:
        """Whether a ledger takes event `seq` of an author."""
        return seq <= self.limit(author)

    def rank(self, author: str) -> int:
        """In which order to fetch authors: those first who say who belongs."""
        if author in (self.root, self.recovery):
            return FOUNDING if author == self.root else RECOVERING
        return LEADING if author in self._leading else FOLLOWING

    def seniority(self, author: str) -> Seniority:
        """Orders authors who claim one thing: the smaller has it."""
        return NOBODY if self.alone else self.judge().rank(author)

    def seen(self, author: str) -> int:
        """The highest number of an author's events here; 0 for none."""
        return self.chains.tip(author)

    def may_end(self, by: str, author: str) -> bool:
        """Whether `by` may remove or demote `author`: an admin ends only what is its junior."""
        return self.alone or self.judge().may_end(by, author)

    def admins(self) -> list[str]:
        """The keys that may administer now, the most senior first; the recovery key is none."""
        trust = self.judge()
        found = [one for one in trust.grants if trust.role(one) == ADMIN and one != self.recovery]
        return sorted(found, key=lambda one: (trust.rank(one), one))

    def names_for(self, author: str) -> tuple[str, ...]:
        """What a new grant for a key must name: its removals, and the grants it replaces."""
        trust = self.judge()
        removals = [one.hash for _, one in trust.removals.get(author, ())]
        live = [one.statement.hash for one in trust.grants.get(author, ()) if not one.cuts]
        return tuple(dict.fromkeys([*removals, *filter(None, live)]))

    @property
    def shattered(self) -> dict[str, int]:
        """Authors with very many branches, and from which number on."""
        return self.chains.shattered

    @property
    def named(self) -> frozenset[str]:
        """The hashes of the events that grants and removals name which count."""
        return frozenset() if self.alone else self.judge().named()

    @property
    def settled(self) -> bool:
        """Whether the verdicts are those on all that is known."""
        return self.trust is not None and self.trust.settled

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
            found.append(self.founded)
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
        if one.author not in self.heard and len(spoken) >= MAX_WAITING:
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


def needed_role(event_type: str) -> str:
    """The lowest role whose events of this type count."""
    return NEEDED.get(event_type.partition("_")[0], RUNNER)


def allowed(role: str, needed: str) -> bool:
    """Whether `role` may do what `needed` may; "" may nothing."""
    return role in ROLES and ROLES.index(role) >= ROLES.index(needed)
