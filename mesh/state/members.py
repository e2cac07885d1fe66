"""Who belongs to the fleet and what each may do: signed grants and removals, judged the same way
on every peer.

Authority starts at one key, the fleet's root. An admin grants a role to a key from an event of
that key's own chain onwards (`since`); a removal ends every grant of its epoch at a cut-off
(`until`), so a verdict depends on a place in the author's chain, never on a clock it can set back.
A removal counts if its author was ever made an admin, whoever removed that author meanwhile: two
admins who remove each other are both out, and a stolen key can't win by being quick.
Before the first grant a peer is alone, and what its owner put into its ledger by hand is believed.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from mesh.ledger.event import Event, order_key
from mesh.state.facts.fact import decode
from mesh.state.facts.member import Membership, PeerReachable
from mesh.state.timeline import Key

VIEWER, MEMBER, RUNNER, ADMIN = "viewer", "member", "runner", "admin"
ROLES: Final = (VIEWER, MEMBER, RUNNER, ADMIN)  # each may do what those before it may

ADDED, REMOVED, RENAMED, REACHABLE = (
    "peer_added",
    "peer_removed",
    "peer_renamed",
    "peer_reachable",
)
TYPES: Final = frozenset((ADDED, REMOVED, RENAMED, REACHABLE))
# The lowest role whose events of a kind count, by the word before the first underscore; anything
# else is a fact about hardware, prices or rentals and needs a runner.
NEEDED: Final = {"job": MEMBER, "note": MEMBER, "budget": ADMIN}

FOREVER: Final = 1 << 62
# Events of a removed peer past its cut-off that are still carried, so that every peer sees the same
# evidence (two admins may remove each other at once); they change nothing but by removing somebody.
GRACE_EVENTS: Final = 1000
# Addresses one peer may announce: a workstation with docker, VPNs and IPv6 has about ten.
MAX_ADDRESSES: Final = 32
# Membership events of one author that count: a person makes some dozens in years, and judging
# them costs as much as there are.
MAX_RECORDS: Final = 2048
MAX_NAME_CHARACTERS: Final = 40
TLS_HEX: Final = 128  # an ed25519 signature


@dataclass(frozen=True, slots=True, order=True)
class Record:
    """One membership event; `place` is `since` of a grant and `until` of a removal."""

    key: Key
    kind: str = field(compare=False)
    author: str = field(compare=False)
    seq: int = field(compare=False)
    subject: str = field(compare=False)
    role: str = field(compare=False)
    name: str = field(compare=False)
    epoch: int = field(compare=False)
    place: int = field(compare=False)
    tls: str = field(compare=False)


@dataclass(frozen=True, slots=True)
class Grant:
    """`role` for the events from seq `since` to `until`."""

    since: int
    until: int
    role: str
    epoch: int
    by: str
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerView:
    """One peer that was ever let in; `role` is "" for one that was removed."""

    author: str
    name: str
    role: str
    epoch: int
    tls: str
    added_ms: int
    added_by: str
    addresses: tuple[str, ...]


@dataclass(slots=True)
class Members:
    """The membership events and what follows from them. `root` is a public key in hex."""

    root: str = ""
    log: list[Record] = field(default_factory=list)
    grants: dict[str, list[Grant]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    tls: dict[str, str] = field(default_factory=dict)
    reach: dict[str, tuple[Key, tuple[str, ...]]] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)  # the last seq folded of each author
    said: dict[str, int] = field(default_factory=dict)  # records kept of each author
    admins: set[str] = field(default_factory=set)  # whoever was ever made one, and the root

    @property
    def alone(self) -> bool:
        """No grant was ever made: there is nobody to judge."""
        return not self.grants

    def role_at(self, author: str, seq: int) -> str:
        """What `author` may do at its event `seq`; "" for nothing."""
        if self.alone:
            return ADMIN
        return _role(self.grants.get(author, ()), seq)

    def role(self, author: str) -> str:
        """What `author` may do now."""
        return self.role_at(author, FOREVER - 1)

    def admits(self, author: str, seq: int) -> bool:
        """Whether a ledger should still take event `seq`: False well past a removed peer's cut-off.

        An author nobody knows yet is taken: its grant may arrive later, and until then its events
        change nothing.
        """
        given = self.grants.get(author)
        return not given or seq <= max(one.until for one in given) + GRACE_EVENTS

    def take(self, event: Event) -> bool:
        """Judge one membership event; True where verdicts on events already folded change."""
        self.seen[event.author] = max(event.seq, self.seen.get(event.author, 0))
        if event.event_type == REACHABLE:
            self._reachable(event)
            return False
        record = _record(event)
        if record is None or not self._keep(record):
            return False
        before = Members(root=self.root, grants=self.grants)
        self.judge()
        return any(_differ(before, self, author, seq) for author, seq in self.seen.items())

    def _keep(self, record: Record) -> bool:
        """Put a record in its place; True where it may change a verdict.

        What somebody says who was never an admin waits for the grant that may yet make it one.
        """
        place = bisect_left(self.log, record)
        if place < len(self.log) and self.log[place] == record:
            return False
        if self.said.get(record.author, 0) >= MAX_RECORDS:
            return False
        self.said[record.author] = self.said.get(record.author, 0) + 1
        self.log.insert(place, record)
        own_name = record.kind == RENAMED and record.author == record.subject
        return own_name or record.author in self.admins or record.author == self.root

    def judge(self) -> None:
        """Everything that follows from the log, anew."""
        self.admins = _ever_admins(self.root, self.log)
        self.grants, self.names, self.tls = _evaluate(self.root, self.log, self.admins)

    def counts(self, event: Event) -> bool:
        """Whether a (non-membership) event changes the state; remembers that it was asked."""
        self.seen[event.author] = max(event.seq, self.seen.get(event.author, 0))
        role = self.role_at(event.author, event.seq)
        return allowed(role, needed_role(event.event_type))

    def anew(self, root: str = "") -> "Members":
        """The same membership for a fold from the start."""
        fresh = Members(
            root=root or self.root, log=list(self.log), reach=dict(self.reach), said=dict(self.said)
        )
        fresh.judge()
        return fresh

    def peers(self) -> Iterator[PeerView]:
        """Every peer ever let in, the removed ones too, by name."""
        for author in sorted(self.grants, key=lambda a: (self.names.get(a, ""), a)):
            yield self.peer(author)

    def peer(self, author: str) -> PeerView:
        """One peer that has a grant."""
        given = self.grants[author]
        newest = max(given, key=lambda one: one.epoch)
        return PeerView(
            author=author,
            name=self.names.get(author, ""),
            role=self.role(author),
            epoch=newest.epoch,
            tls=self.tls.get(author, ""),
            added_ms=next((one.at_ms for one in given if one.at_ms), 0),
            added_by=given[0].by,
            addresses=self.reach.get(author, ((0, 0, "", 0), ()))[1],
        )

    def next_epoch(self, author: str) -> int:
        """The epoch a new grant needs: a removal ends every grant up to its own."""
        ended = [one.epoch for one in self.log if one.kind == REMOVED and one.subject == author]
        given = [one.epoch for one in self.grants.get(author, ())]
        return max([1, *given, *(epoch + 1 for epoch in ended)])

    def _reachable(self, event: Event) -> None:
        found = decode(PeerReachable, event.payload).addresses
        key = order_key(event)
        known = self.reach.get(event.author)
        if found is not None and (known is None or known[0] < key):
            texts = tuple(one[:100] for one in found[:MAX_ADDRESSES])
            self.reach[event.author] = (key, texts)


def needed_role(event_type: str) -> str:
    """The lowest role whose event of this type counts."""
    return NEEDED.get(event_type.partition("_")[0], RUNNER)


def allowed(role: str, needed: str) -> bool:
    """Whether `role` may do what `needed` may; "" may nothing."""
    return role in ROLES and ROLES.index(role) >= ROLES.index(needed)


def _record(event: Event) -> Record | None:
    """The record of a well-formed membership event; None for anything else."""
    fact = decode(Membership, event.payload)
    if len(fact.key) != 64 or (event.event_type == ADDED and fact.role not in ROLES):
        return None
    return Record(
        key=order_key(event),
        kind=event.event_type,
        author=event.author,
        seq=event.seq,
        subject=fact.key,
        role=fact.role,
        name=fact.name[:MAX_NAME_CHARACTERS],
        epoch=max(0, fact.epoch),
        place=_place(event.event_type, fact),
        tls=fact.tls[:TLS_HEX],
    )


def _place(kind: str, fact: Membership) -> int:
    return max(0, fact.until) if kind == REMOVED else max(1, fact.since)


def _role(given: Iterable[Grant], seq: int) -> str:
    """The role of the newest grant that covers `seq`: highest epoch, then latest."""
    found, epoch = "", -1
    for one in given:
        if one.since <= seq <= one.until and one.epoch >= epoch:
            found, epoch = one.role, one.epoch
    return found


def _evaluate(
    root: str, log: list[Record], admins: set[str]
) -> tuple[dict[str, list[Grant]], dict[str, str], dict[str, str]]:
    """(grants, names, certificates' signatures) by key: grants in total order, each checked against
    what its author might do at that place of its chain."""
    cuts = _cuts(log, admins)
    grants: dict[str, list[Grant]] = {root: [Grant(1, _until(cuts, root, 0), ADMIN, 0, root, 0)]}
    names: dict[str, str] = {}
    tls: dict[str, str] = {}
    for one in log:
        may = _role(grants.get(one.author, ()), one.seq)
        if one.kind == ADDED and may == ADMIN:
            until = _until(cuts, one.subject, one.epoch)
            made = Grant(one.place, until, one.role, one.epoch, one.author, one.key[0])
            grants.setdefault(one.subject, []).append(made)
            tls[one.subject] = one.tls or tls.get(one.subject, "")
        if one.name and (may == ADMIN or (may and one.author == one.subject)):
            names[one.subject] = one.name
    if not tls:  # nobody was ever let in
        return {}, {}, {}
    return grants, names, tls


def _ever_admins(root: str, log: list[Record]) -> set[str]:
    """The root, and whoever an admin ever made one, removed or not."""
    ever = {root}
    size = 0
    while size != len(ever):
        size = len(ever)
        ever |= {r.subject for r in log if r.kind == ADDED and r.role == ADMIN and r.author in ever}
    return ever


def _cuts(log: list[Record], ever: set[str]) -> dict[str, list[tuple[int, int]]]:
    """(epoch, cut-off) of every removal that counts, by the key it removes."""
    removals = [r for r in log if r.kind == REMOVED and r.author in ever]
    first = {r.subject: min(o.place for o in removals if o.subject == r.subject) for r in removals}
    cuts: dict[str, list[tuple[int, int]]] = {}
    for one in removals:
        if one.seq <= first.get(one.author, FOREVER) + GRACE_EVENTS:
            cuts.setdefault(one.subject, []).append((one.epoch, one.place))
    return cuts


def _until(cuts: dict[str, list[tuple[int, int]]], subject: str, epoch: int) -> int:
    """Where a grant ends: at the first cut-off of a removal whose epoch is not below its own."""
    return min((at for cut, at in cuts.get(subject, ()) if cut >= epoch), default=FOREVER)


def _differ(before: Members, after: Members, author: str, seen: int) -> bool:
    """Whether any of the author's events 1 to `seen` got another role."""
    places = {1, seen}
    for one in (*before.grants.get(author, ()), *after.grants.get(author, ())):
        places |= {one.since, one.until + 1}
    return any(
        before.role_at(author, place) != after.role_at(author, place)
        for place in places
        if place <= seen
    )
