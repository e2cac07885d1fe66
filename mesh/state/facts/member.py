"""Facts about peers: who was let in, put out, named, and where each says it can be reached.

They are judged, not believed: mesh/state/members.py says whose word counts.
"""

from typing import Annotated

from mesh.state.facts.fact import Fact, said

Key = Annotated[str, said("The peer: its ed25519 public key, 64 hex digits")]
Name = Annotated[str, said("What people call it, at most 40 characters")]
Role = Annotated[str, said('"viewer", "member", "runner" or "admin"')]
Tls = Annotated[str, said("Signature of its certificate by its key, 128 hex digits")]
Epoch = Annotated[int, said("Only in events of earlier versions; left out since")]
Recovery = Annotated[
    str,
    said("Public half of the fleet's recovery key, 64 hex digits", since="0.2.0"),
]
SinceHash = Annotated[
    str,
    said('Hash of the event before that one, hex; "" = from its first event on', since="0.2.0"),
]
Names = Annotated[
    tuple[str, ...],
    said("Hashes of the removals it overrides and of the grants it replaces", since="0.2.0"),
]
Since = Annotated[int, said("First event (seq) of its chain that counts; below 1 counts as 1")]
Until = Annotated[int, said("Last event (seq) of its chain that counts; 0 = none")]
UntilHash = Annotated[str, said('Hash of that event, hex; "" = none was held')]
Why = Annotated[str, said("Why, for people")]


class FleetFounded(Fact, frozen=True, kw_only=True):
    """The author founds a fleet: this event's hash is the fleet's identity."""

    recovery: Recovery
    name: Name
    tls: Tls


class PeerAdded(Fact, frozen=True, kw_only=True):
    """An admin lets a key in, or gives it another role."""

    key: Key
    name: Name
    role: Role
    tls: Tls
    since: Since
    since_hash: SinceHash = ""
    names: Names = ()
    epoch: Epoch = 0


class HistoryAdopted(Fact, frozen=True, kw_only=True):
    """What a key wrote into this ledger before there was a fleet goes on counting."""

    key: Key
    role: Role
    epoch: Epoch
    since: Since


class PeerRemoved(Fact, frozen=True, kw_only=True):
    """An admin puts a peer out: what is not before this place on that branch counts no more."""

    key: Key
    until: Until
    until_hash: UntilHash
    reason: Why
    epoch: Epoch = 0


class HistoryEnded(Fact, frozen=True, kw_only=True):
    """Of an adopted history nothing later counts."""

    key: Key
    epoch: Epoch
    until: Until
    reason: Why


class PeerRenamed(Fact, frozen=True, kw_only=True):
    """A peer names itself, or an admin any peer."""

    key: Key
    name: Name


class PeerReachable(Fact, frozen=True, kw_only=True):
    """Where the author can be reached: its last event counts, and of that 32 addresses."""

    addresses: Annotated[
        tuple[str, ...] | None, said("HOST:PORT, the likeliest first; none = nowhere")
    ]


class Membership(Fact, frozen=True, kw_only=True):
    """What any event about a member may say; read the same way whichever it is."""

    key: Key = ""
    name: Name = ""
    role: Role = ""
    tls: Tls = ""
    epoch: Epoch = 0
    since: Since = 0
    since_hash: SinceHash = ""
    names: Names = ()
    until: Until = 0
    until_hash: UntilHash = ""
    recovery: Recovery = ""
