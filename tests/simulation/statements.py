"""What a person's program writes about members, from what its peer knows at that moment."""

import inspect
from typing import Any

from mesh.edge.store.ledger import Ledger
from mesh.ledger import chain
from mesh.state.facts.fact import encode
from mesh.state.facts.member import PeerAdded, PeerRemoved
from mesh.state.members import Members

Payload = dict[str, object]
FIRST = 1  # the first event of a chain


def founding(recovery: str, name: str) -> Payload:
    """The first event of a fleet."""
    return {"recovery": recovery, "name": name, "tls": tls(name)}


def grant(
    members: Members, ledger: Ledger, key: str, role: str, *, since: tuple[int, str] | None = None
) -> Payload:
    """A role for `key` from now on, or from the place `since` names (seq, hash before it)."""
    if since is None:
        head = head_of(ledger, key)
        since = (head.seq + 1, head.hash if head.seq else "")
    said: dict[str, Any] = {"key": key, "name": f"n-{key[:6]}", "role": role, "tls": tls(key)}
    said |= {"since": since[0], "since_hash": since[1]}
    if hasattr(members, "names_for"):
        said["names"] = tuple(members.names_for(key))
    else:
        said["epoch"] = members.next_epoch(key)
    return encode(PeerAdded(**_known(PeerAdded, said)))


def removal(members: Members, ledger: Ledger, key: str) -> Payload:
    """`key` is out, from the last event of it that this peer holds on."""
    head = head_of(ledger, key)
    return removal_at(members, key, head.seq, head.hash if head.seq else "")


def removal_at(members: Members, key: str, until: int, until_hash: str) -> Payload:
    """`key` is out, beyond one event."""
    said: dict[str, Any] = {"key": key, "until": until, "until_hash": until_hash, "reason": "test"}
    if not hasattr(members, "names_for"):
        said["epoch"] = max((one.epoch for one in members.grants.get(key, ())), default=1)
    return encode(PeerRemoved(**_known(PeerRemoved, said)))


def head_of(ledger: Ledger, author: str) -> chain.Head:
    """The end of an author's main line here."""
    found = getattr(ledger, "head", None)
    head: chain.Head = found(author) if found else ledger._writer.head(author)
    return head


def tls(key: str) -> str:
    """Something of the form of a certificate's signature."""
    return (key * 3)[:128].encode().hex()[:128]


def _known(kind: type, said: dict[str, Any]) -> dict[str, Any]:
    names = inspect.signature(kind).parameters
    return {name: value for name, value in said.items() if name in names}
