"""What a person's program writes about members, from what its peer knows at that moment."""

from mesh.edge.store.ledger import Ledger
from mesh.ledger.chain import Head
from mesh.state.facts.fact import encode
from mesh.state.facts.member import FleetFounded, PeerAdded, PeerRemoved
from mesh.state.members import Members

Payload = dict[str, object]
FIRST = (1, "")  # from the first event of a chain on


def founding(recovery: str, name: str) -> Payload:
    """The first event of a fleet."""
    return encode(FleetFounded(recovery=recovery, name=name, tls=tls(name)))


def grant(
    members: Members, ledger: Ledger, key: str, role: str, *, since: tuple[int, str] | None = None
) -> Payload:
    """A role for `key` from now on, or from the place `since` names (seq, hash before it)."""
    number, digest = since or _next(ledger.head(key))
    fact = PeerAdded(
        key=key,
        name=f"n-{key[:6]}",
        role=role,
        tls=tls(key),
        since=number,
        since_hash=digest,
        names=members.names_for(key),
    )
    return encode(fact)


def removal(ledger: Ledger, key: str) -> Payload:
    """`key` is out, from the last event of it that this peer holds on."""
    head = ledger.head(key)
    return removal_at(key, head.seq, head.hash if head.seq else "")


def removal_at(key: str, until: int, until_hash: str) -> Payload:
    """`key` is out, beyond one event."""
    return encode(PeerRemoved(key=key, until=until, until_hash=until_hash, reason="test"))


def tls(key: str) -> str:
    """Something of the form of a certificate's signature."""
    return (key * 3)[:128].encode().hex()[:128]


def _next(head: Head) -> tuple[int, str]:
    return head.seq + 1, head.hash if head.seq else ""
