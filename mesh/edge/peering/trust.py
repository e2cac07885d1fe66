"""Who may link with this peer at this moment, and the TLS settings that say so."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final, final

from mesh.edge.discovery.sightings import Sightings
from mesh.edge.identity import Fleet, Identity, fleet_of, peer_id
from mesh.edge.pairing.desk import Keeper
from mesh.edge.transport import certificate
from mesh.edge.transport.link import Anchor, Contexts
from mesh.policy.neighbours import choose
from mesh.state.address import Address, read_addresses


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
        self._reach: dict[str, tuple[str, ...]] = {}
        self._server: ssl.SSLContext | None = None
        self._clients: dict[bytes | None, ssl.SSLContext] = {}

    def refresh(self) -> bool:
        """Take in new members and let go of removed ones; True where anyone changed."""
        self.fleet = fleet_of(self._home)
        anchors = {key: (key, tls) for key, tls in self._current()}
        if anchors == self.anchors:
            return False
        self.anchors = anchors
        self._server = None
        self._clients.clear()
        return True

    def _current(self) -> list[Anchor]:
        """Every other member's key, and who let us in until the ledger says who belongs."""
        members = self._keeper.state.members
        found = [
            (bytes.fromhex(one.author), _bytes(one.tls)) for one in members.peers() if one.role
        ]
        fleet = self.fleet
        if fleet is not None and fleet.introducer and fleet.introducer not in members.grants:
            found.append((_bytes(fleet.introducer), _bytes(fleet.tls)))
        return [one for one in found if one[0] != self._key and certificate.is_sound(*one)]

    def moved(self) -> list[bytes]:
        """Members that wrote down new addresses since the last look."""
        reach = {author: at for author, (_, at) in self._keeper.state.members.reach.items()}
        found = [author for author, at in reach.items() if self._reach.get(author) != at]
        self._reach = reach
        return [bytes.fromhex(author) for author in found]

    def is_member(self, key: bytes) -> bool:
        """Whether a key may link with us."""
        return key in self.anchors

    def own_role(self) -> str:
        """What this peer may do; an admin as long as it is alone."""
        members, fleet = self._keeper.state.members, self.fleet
        if fleet is not None and fleet.role and self._who.author not in members.grants:
            return fleet.role  # as we were told; the ledger will say the same, or overrule it
        return members.role(self._who.author)

    def role_of(self, peer_key: bytes) -> str:
        """What a key may do; "" for a stranger."""
        if peer_key not in self.anchors:
            return ""
        return self._keeper.state.members.role(peer_key.hex())

    def known_as(self, name: str) -> bytes | None:
        """The key of the member with this peer id."""
        return next((key for key in self.anchors if peer_id(key.hex()) == name), None)

    def anyone(self) -> bool:
        """Whether there is any other member."""
        return bool(self.anchors)

    def wanted(self) -> list[tuple[bytes, list[Address]]]:
        """The neighbours this peer should have, and where the ledger says they are."""
        hopeless = self._failing() | self._nowhere()
        chosen = choose(self._key, list(self.anchors), hopeless)
        return [(key, self.written(key)) for key in chosen]

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
        made = self._clients.get(key)
        if made is None:
            anchors = self.anchors.values() if key is None else [self.anchors[key]]
            made = self._clients[key] = self.contexts.client(anchors)
        return made

    def server_context(self) -> ssl.SSLContext:
        """TLS that lets the members of this moment in."""
        if self._server is None:
            self._server = self.contexts.server(self.anchors.values())
        return self._server


def _bytes(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""
