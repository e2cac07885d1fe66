"""Who may link with this peer at this moment, and the TLS settings that say so.

Members are answered. Whoever was a member and is put out is heard: a thief may have put it out, and
it may bring what says so (mesh/sync/quiet.py).
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final, final

from mesh.edge.discovery.sightings import Sightings
from mesh.edge.disk import StoreError
from mesh.edge.identity import Fleet, Identity, fleet_of, join_fleet, peer_id
from mesh.edge.pairing import acquainted
from mesh.edge.pairing.standing import Keeper, is_known
from mesh.edge.transport import certificate
from mesh.edge.transport.link import Anchor, Contexts, Pool
from mesh.edge.transport.links import QUIET_S
from mesh.policy.neighbours import choose, turn
from mesh.state.address import Address, read_addresses
from mesh.state.members import FORMER, VIEWER

# Keys that were put out, dialled at a time by a peer that was put out itself: half of those it
# hears, so that there is room for who dials it.
DIALLED: Final = 2


@final
class Trust:
    """The members of this moment. `linked` and `failing` say how dialling them goes."""

    def __init__(
        self,
        home: Path,
        who: Identity,
        keeper: Keeper,
        book: Sightings,
        default_port: int,
        linked: Callable[[bytes], bool],
        failing: Callable[[], set[bytes]],
    ) -> None:
        self._home, self._who, self._keeper, self._book = home, who, keeper, book
        self._port, self._linked, self._failing = default_port, linked, failing
        self._key: Final = bytes.fromhex(who.author)
        self.contexts: Final = Contexts(who, home)
        self.fleet: Fleet | None = fleet_of(home)
        self.anchors: dict[bytes, Anchor] = {}
        self.former: dict[bytes, Anchor] = {}  # who was a member, and is none now
        self._put_out = False  # whether this peer is one of them
        self._reach: dict[str, tuple[str, ...]] = {}
        self._tls = Pool(self.contexts)  # of members
        self._heard = Pool(self.contexts)  # of former members too

    def refresh(self) -> bool:
        """Take in new members and let go of removed ones; True where anyone changed."""
        with suppress(StoreError):  # damaged while we run: what is known goes on, until a start
            self.fleet = fleet_of(self._home)
        self.fleet = self._learned(self.fleet)
        found = self._current()
        mine = found.pop(self._key, None)
        if mine is not None and self.contexts.present(mine[1]):
            self._tls.forget()
            self._heard.forget()
        anchors = {key: one for key, one in found.items() if certificate.is_sound(*one)}
        former, put_out = self._put_out_by_now(anchors)
        if (anchors, former, put_out) == (self.anchors, self.former, self._put_out):
            return False
        self.anchors, self.former, self._put_out = anchors, former, put_out
        self._tls.become(anchors)
        self._heard.become(former | anchors)
        if not self._lost():
            acquainted.keep(self._home, {key: tls for key, (_, tls) in anchors.items()})
        return True

    def _lost(self) -> bool:
        """Whether the ledger holds too little of its own fleet yet, or any more: nothing of its
        founder's, or not what a neighbour must bring before this peer may sign."""
        if self.fleet is None:
            return False
        return not self._keeper.state.members.seen(self.fleet.root) or self._keeper.waits

    def _current(self) -> dict[bytes, Anchor]:
        """Every member's key; until the ledger says who belongs, who let us in and whoever was a
        member when it last did."""
        peers = {one.author: one for one in self._keeper.state.members.peers()}
        found = {bytes.fromhex(one.author): _bytes(one.tls) for one in peers.values() if one.role}
        fleet = self.fleet
        if fleet is not None and fleet.introducer:
            known = peers.get(fleet.introducer)  # the root is known before anything it signed
            if known is None or (known.role and not known.tls):
                found[_bytes(fleet.introducer)] = _bytes(fleet.tls)
        if self._lost():
            out = {bytes.fromhex(one.author) for one in peers.values() if not one.role}
            met = acquainted.kept(self._home).items()
            old = {key: tls for key, tls in met if key not in out}
            found = old | {key: tls for key, tls in found.items() if tls}
        return {key: (key, tls) for key, tls in found.items()}

    def _put_out_by_now(self, anchors: dict[bytes, Anchor]) -> tuple[dict[bytes, Anchor], bool]:
        """Everybody else who was let in and has no role, and whether we are one of them."""
        views = self._keeper.state.members.peers()
        out = {bytes.fromhex(one.author): _bytes(one.tls) for one in views if not one.role}
        mine = out.pop(self._key, None) is not None
        found = {key: (key, tls) for key, tls in out.items() if key not in anchors}
        return {key: one for key, one in found.items() if certificate.is_sound(*one)}, mine

    def _learned(self, fleet: Fleet | None) -> Fleet | None:
        """Our fleet, with its founding and recovery key once the ledger has them: kept beside our
        own key, they outlive a lost ledger."""
        members = self._keeper.state.members
        if fleet is None or members.root != fleet.root:
            return fleet
        founding = fleet.founding or members.founding
        recovery = fleet.recovery or (members.recovery if founding == members.founding else "")
        known = replace(fleet, founding=founding, recovery=recovery)
        if known != fleet:
            with suppress(StoreError, OSError):  # a full disk: learned again at the next change
                join_fleet(self._home, known)
        return known

    def moved(self) -> list[bytes]:
        """Members that wrote down new addresses since the last look."""
        reach = {author: at for author, (_, at) in self._keeper.state.members.reach.items()}
        found = [author for author, at in reach.items() if self._reach.get(author) != at]
        self._reach = reach
        return [bytes.fromhex(author) for author in found]

    def is_member(self, key: bytes) -> bool:
        """Whether a key is a member's: it may link with us, and is answered."""
        return key in self.anchors

    def is_heard(self, key: bytes) -> bool:
        """Whether a key may link with us at all: a member's, or one that was put out."""
        return key in self.anchors or key in self.former

    def own_role(self) -> str:
        """What this peer may do; an admin as long as it is alone."""
        members, fleet = self._keeper.state.members, self.fleet
        if fleet is not None and fleet.role and not is_known(members, self._who.author):
            return fleet.role  # as we were told; the ledger will say the same, or overrule it
        return members.role(self._who.author)

    def role_of(self, peer_key: bytes) -> str:
        """What a key may do; FORMER for one that was put out, "" for a stranger."""
        if peer_key not in self.anchors:
            return FORMER if peer_key in self.former else ""
        role = self._keeper.state.members.role(peer_key.hex())
        return role or (VIEWER if self._lost() else "")

    def known_as(self, name: str) -> bytes | None:
        """The key of the member with this peer id."""
        return next((key for key in self.anchors if peer_id(key.hex()) == name), None)

    def anyone(self) -> bool:
        """Whether there is anybody to dial."""
        return bool(self.anchors) or bool(self._last_resort())

    def wanted(self) -> list[tuple[bytes, list[Address]]]:
        """The neighbours this peer should have, and where the ledger says they are.

        A peer that was put out asks others that were, some at a time.
        """
        hopeless = self._failing() | self._nowhere()
        chosen = choose(self._key, list(self.anchors), hopeless) + self._last_resort()
        return [(key, self.written(key)) for key in chosen]

    def _last_resort(self) -> list[bytes]:
        if not self._put_out:
            return []
        return turn(self.former, int(self._keeper.now() / 1000 // QUIET_S), DIALLED)

    def _nowhere(self) -> set[bytes]:
        """Members that nobody saw yet: a guest hears of them before it hears where they are."""
        return {key for key in self.anchors if not self._linked(key) and not self._is_seen(key)}

    def _is_seen(self, key: bytes) -> bool:
        return any(self._book.candidates(peer_id(key.hex()), self.written(key)))

    def written(self, key: bytes) -> list[Address]:
        """Where the ledger says a member is."""
        reach = self._keeper.state.members.reach.get(key.hex())
        return read_addresses(reach[1], self._port) if reach else []

    def placed(self) -> list[tuple[bytes, list[Address]]]:
        """Every other member, and where the ledger says it is."""
        return [(key, self.written(key)) for key in self.anchors]

    def client_context(self, key: bytes | None) -> ssl.SSLContext:
        """TLS that takes this key alone; any member's for None."""
        pool = self._heard if self._put_out and key in self.former else self._tls
        return pool.client(key)

    def server_context(self) -> ssl.SSLContext:
        """TLS that lets the members of this moment in, and those who were."""
        return self._heard.server()


def _bytes(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""
