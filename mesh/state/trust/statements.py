"""What admins say about keys, read from signed events: the one form that verdicts are made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mesh.ledger.event import NO_PREV, Event, order_key
from mesh.state.facts.fact import decode
from mesh.state.facts.member import Membership
from mesh.state.jobs import Key
from mesh.state.trust.roles import ROLES

FOUNDED, ADDED, REMOVED, RENAMED, REACHABLE = (
    "fleet_founded",
    "peer_added",
    "peer_removed",
    "peer_renamed",
    "peer_reachable",
)
TYPES: Final = frozenset((FOUNDED, ADDED, REMOVED, RENAMED, REACHABLE))

MAX_NAME_CHARACTERS: Final = 40
# Removals and grants one grant may name: somebody let in and put out again so often is a script.
MAX_NAMED: Final = 1024
HASH_HEX: Final = 64
TLS_HEX: Final = 128  # an ed25519 signature


@dataclass(frozen=True, slots=True)
class Statement:
    """A grant, a removal or a naming. `seq` and `hash` are of the event that says it.

    A grant is for the subject's events past number `after`, whose hash is `after_hash` ("": by its
    number alone); a removal leaves those up to `after`. `names` are the hashes of the removals a
    grant overrides and of the grants it replaces. Until version 0.2 `epoch` (from 1) did that.
    """

    hash: str
    author: str
    seq: int
    kind: str
    subject: str
    key: Key  # orders old statements and names; never decides what a new one may do
    role: str = ""
    after: int = 0
    after_hash: str = ""
    names: tuple[str, ...] = ()
    epoch: int = 0
    name: str = ""
    tls: str = ""


def is_key(text: str) -> bool:
    """Whether a text may be a public key in hex."""
    return len(text) == HASH_HEX


def statement(event: Event) -> Statement | None:
    """What a well-formed membership event states; None for anything else."""
    fact = decode(Membership, event.payload)
    kind = event.event_type
    subject = event.author if kind == FOUNDED else fact.key
    if not is_key(subject) or (kind == ADDED and fact.role not in ROLES):
        return None
    after, digest = _place(kind, fact)
    return Statement(
        hash=event.hash,
        author=event.author,
        seq=event.seq,
        kind=kind,
        subject=subject,
        key=order_key(event),
        role=fact.role if kind == ADDED else "",
        after=after,
        after_hash=digest,
        names=fact.names[:MAX_NAMED],
        epoch=max(0, fact.epoch),
        name=fact.name[:MAX_NAME_CHARACTERS],
        tls=fact.tls[:TLS_HEX],
    )


def _place(kind: str, fact: Membership) -> tuple[int, str]:
    """(number, hash) of the subject's event that a statement rests on; (0, "") before its first."""
    if kind == REMOVED:
        number, digest = fact.until, fact.until_hash
    else:
        number, digest = fact.since - 1, fact.since_hash
    if number < 1 or digest == NO_PREV:
        return 0, ""
    return number, digest[:HASH_HEX]


def leaves(one: Statement) -> bool:
    """Whether its author says goodbye."""
    return one.kind == REMOVED and one.author == one.subject


def turn(one: Statement) -> tuple[bool, int, str]:
    """The order in which one author's statements are judged: where it leaves, the rest ends."""
    return not leaves(one), one.seq, one.hash


def replaces(new: Statement, old: Statement) -> bool:
    """Whether a grant ends another of the same key where its own begins."""
    if new.epoch and old.epoch:  # until 0.2 the newest grant was the one that held
        return (old.epoch, old.key) < (new.epoch, new.key)
    return old.hash in new.names


def overrides(grant: Statement, removal: Statement) -> bool:
    """Whether a grant was made knowing of a removal, and survives it."""
    if grant.epoch and removal.epoch:
        return removal.epoch < grant.epoch
    return removal.hash in grant.names
