"""Facts about peers: the fleet's founding, who was let in, put out, named, and where each is.

They are judged, not believed: mesh/state/trust/verdicts.py says whose word counts.
"""

from typing import Annotated

from mesh.state.facts.fact import Fact, said

Key = Annotated[str, said("The peer: its ed25519 public key, 64 hex digits")]
Name = Annotated[str, said("What people call it, at most 40 characters")]
Role = Annotated[str, said('"viewer", "member", "runner" or "admin"')]
Tls = Annotated[str, said("Signature of its certificate by its key, 128 hex digits")]
Epoch = Annotated[int, said("Until 0.2: counts its grants; a removal ends all up to its own epoch")]
Since = Annotated[int, said("First event (seq) of its chain that counts; below 1 counts as 1")]
Until = Annotated[int, said("Last event (seq) of its chain that counts; 0 = none")]
Why = Annotated[str, said("Why, for people")]
Recovery = Annotated[
    str, said("Public key (64 hex digits) of the words that are kept offline", since="0.2.0")
]
SinceHash = Annotated[
    str, said('Hash of the event before `since`, hex; "" = there is none', since="0.2.0")
]
UntilHash = Annotated[str, said('Hash of that event, hex; "" = none was held')]
Names = Annotated[
    tuple[str, ...],
    said("Hashes of the removals it overrides and of the grants it replaces", since="0.2.0"),
]


class FleetFounded(Fact, frozen=True, kw_only=True):
    """The founder's first word about the fleet; the hash of this event is the fleet's identity."""

    recovery: Recovery
    name: Name
    tls: Tls


class PeerAdded(Fact, frozen=True, kw_only=True):
    """An admin gives a key a role, from a place in that key's own chain onwards."""

    key: Key
    name: Name
    role: Role
    tls: Tls
    epoch: Epoch = 0
    since: Since
    since_hash: SinceHash = ""
    names: Names = ()


class HistoryAdopted(Fact, frozen=True, kw_only=True):
    """What a key wrote into this ledger before there was a fleet goes on counting."""

    key: Key
    role: Role
    epoch: Epoch = 0
    since: Since


class PeerRemoved(Fact, frozen=True, kw_only=True):
    """An admin puts a peer out: only one event of its chain, and those before it, still count."""

    key: Key
    epoch: Epoch = 0
    until: Until
    until_hash: UntilHash
    reason: Why


class HistoryEnded(Fact, frozen=True, kw_only=True):
    """Of an adopted history nothing later counts."""

    key: Key
    epoch: Epoch = 0
    until: Until
    until_hash: Annotated[str, said("Hash of that event, hex", since="0.2.0")] = ""
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
    until: Until = 0
    until_hash: UntilHash = ""
    names: Names = ()
    recovery: Recovery = ""
