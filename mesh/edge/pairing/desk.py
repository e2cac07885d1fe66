"""What a person decides about the fleet's peers, turned into signed events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Protocol, TypeVar, final

from mesh.api.errors import RequestError
from mesh.config import slug
from mesh.edge.discovery.sightings import PAIRING, Sighting, Sightings
from mesh.edge.discovery.whereabouts import Whereabouts
from mesh.edge.identity import Fleet, Identity
from mesh.edge.pairing.book import Invite, PairingBook, Pending
from mesh.edge.pairing.client import Host, Self, ask, join
from mesh.edge.pairing.endpoint import Welcome
from mesh.edge.transport.link import own_anchor
from mesh.ledger.event import Event
from mesh.policy import pairing
from mesh.state.address import parse_address
from mesh.state.facts.fact import encode
from mesh.state.facts.member import (
    HistoryAdopted,
    HistoryEnded,
    PeerAdded,
    PeerRemoved,
    PeerRenamed,
)
from mesh.state.fold import State
from mesh.state.members import ADDED, ADMIN, REMOVED, RENAMED, RUNNER, PeerView, allowed
from mesh.state.peer_id import peer_id
from mesh.sync.manifest import Tip

# Authors whose earlier events a new fleet takes over: a dozen reinstalled machines and then some.
MAX_ADOPTED: Final = 64

Found = TypeVar("Found")


class Keeper(Protocol):
    """The node behind the desk."""

    @property
    def state(self) -> State: ...

    def now(self) -> int: ...

    async def emit(self, event_type: str, device_id: str, payload: dict[str, object]) -> Event: ...

    async def belong(self, fleet: Fleet) -> None:
        """Write down whose fleet this is, and fold the ledger by its rules."""

    def tips(self) -> Mapping[str, Tip]:
        """Where each author's chain ends here."""


@final
class Desk:
    """Lets peers in and out. Only an admin's desk is believed by the others."""

    def __init__(
        self,
        keeper: Keeper,
        who: Identity,
        name: str,
        books: tuple[PairingBook, Sightings],
        where: Callable[[], Whereabouts],
        fleet: Callable[[], Fleet | None],
    ) -> None:
        self._keeper = keeper
        self._who = who
        self._name = name
        self._book, self._sightings = books
        self._where = where
        self._fleet = fleet
        self._tls: Final = own_anchor(who)[1].hex()

    async def invite(self, role: str, ttl_ms: int, uses: int) -> dict[str, object]:
        """A code that lets `uses` machines in until it expires."""
        self._refuse_guest()
        now = self._keeper.now()
        made = self._book.invite(role, ttl_ms, uses, now)
        if made is None:
            raise RequestError("TooManyInvites", "too many invites are open", "let some expire")
        return {
            "code": self._code(made),
            "expires_ms": made.expires_ms,
            "role": role,
            "uses": uses,
            "peer_id": self._who.peer_id,
        }

    def _code(self, invite: Invite) -> str:
        where = self._where()
        return pairing.render_code(
            pairing.Code(
                secret=bytes.fromhex(invite.secret),
                fingerprint=pairing.fingerprint(bytes.fromhex(self._who.author)),
                port=where.pairing_port,
                addresses=where.addresses[: pairing.MAX_CODE_ADDRESSES],
            )
        )

    async def join(
        self, text: str, default_port: int, name: str | None = None
    ) -> dict[str, object]:
        """Come in by a code; at an address, ask to and return "pending" until somebody accepts."""
        called = slug(name or self._name)
        me = Self(who=self._who, name=called, port=self._where().port)
        try:
            code = pairing.parse_code(text)
        except pairing.CodeError as error:
            self._refuse_second_fleet(b"")
            return await self._ask(me, text, str(error), default_port)
        self._refuse_second_fleet(code.fingerprint)
        return await self._entered(await join(me, code))

    async def _ask(self, me: Self, text: str, why: str, default_port: int) -> dict[str, object]:
        if not any(c in text for c in ".:"):
            raise RequestError("BadCode", f"not an invite code: {why}", "fleet invite makes one")
        try:
            address = parse_address(text, default_port)
        except ValueError as error:
            raise RequestError("BadCode", str(error), "fleet join CODE") from error
        key, host = await ask(me, address)
        if host is None:
            return {"state": "pending", "peer_id": peer_id(key)}
        return await self._entered(host)

    async def _entered(self, host: Host) -> dict[str, object]:
        welcome = host.welcome
        fleet = Fleet(root=welcome.root, introducer=host.key, tls=welcome.tls, role=welcome.role)
        await self._keeper.belong(fleet)
        note_host(self._sightings, host, self._keeper.now())
        return {
            "state": "joined",
            "role": welcome.role,
            "peer_id": peer_id(host.key),
            "name": welcome.name,
        }

    async def grant(
        self, key: str, name: str, role: str, tls: str, address: str, port: int
    ) -> Welcome:
        """Let a key in: the event is on disk before the guest hears of it."""
        await self._found()
        members = self._keeper.state.members
        since = members.seen.get(key, 0) + 1 if key in members.grants else 1
        fact = PeerAdded(
            key=key,
            name=self._free_name(name, key),
            role=role,
            tls=tls,
            epoch=members.next_epoch(key),
            since=since,
        )
        await self._keeper.emit(ADDED, self._who.peer_id, encode(fact))
        if port:
            self._sightings.see(
                Sighting(
                    source=PAIRING,
                    peer_id=peer_id(key),
                    name=name,
                    address=(address, port),
                    pairing_port=0,
                    seen_ms=self._keeper.now(),
                )
            )
        return self.welcome(role)

    def known(self, key: str) -> Welcome | None:
        """The welcome of a key that is a member already."""
        members = self._keeper.state.members
        role = "" if members.alone else members.role(key)
        return self.welcome(role) if role else None

    def welcome(self, role: str) -> Welcome:
        """What a guest needs to know."""
        where = self._where()
        return Welcome(
            role=role,
            root=self._keeper.state.members.root,
            name=self._name,
            tls=self._tls,
            port=where.port,
            addresses=list(where.addresses),
        )

    async def _found(self) -> None:
        """The first guest makes this peer the root of a fleet."""
        if self._fleet() is None:
            await self._keeper.belong(Fleet(root=self._who.author))
        members = self._keeper.state.members
        if members.alone and members.root == self._who.author:
            fact = PeerAdded(
                key=self._who.author,
                name=self._name,
                role=ADMIN,
                tls=self._tls,
                epoch=1,
                since=1,
            )
            await self._adopt_history()
            await self._keeper.emit(ADDED, self._who.peer_id, encode(fact))

    async def _adopt_history(self) -> None:
        """What others wrote into this ledger before there was a fleet goes on counting.

        An own key given up, an import by hand: each is granted what it said so far and no more.
        """
        others = sorted(set(self._keeper.state.members.seen) - {self._who.author})
        for author in others[:MAX_ADOPTED]:
            seen = self._keeper.state.members.seen[author]
            added = HistoryAdopted(key=author, role=RUNNER, epoch=1, since=1)
            ended = HistoryEnded(key=author, epoch=1, until=seen, reason="kept as history")
            await self._keeper.emit(ADDED, self._who.peer_id, encode(added))
            await self._keeper.emit(REMOVED, self._who.peer_id, encode(ended))

    def _free_name(self, name: str, key: str) -> str:
        """The name, with a number where another peer has it: names are how people point."""
        members = self._keeper.state.members
        taken = {one.name for one in members.peers() if one.author != key and one.role}
        numbered = (f"{name[:36]}-{n}" for n in range(2, 1000))
        return name if name not in taken else next(n for n in numbered if n not in taken)

    def _refuse_guest(self) -> None:
        members = self._keeper.state.members
        if self._fleet() is not None and members.alone and members.root != self._who.author:
            raise RequestError(
                "NotSynced", "this peer just joined and has not synced yet", "fleet sync", 409
            )

    def _refuse_second_fleet(self, inviter: bytes) -> None:
        """A removed peer doesn't know that it was: its own fleet may always invite it again."""
        members = self._keeper.state.members
        others = [one for one in members.peers() if one.role and one.author != self._who.author]
        if any(pairing.fingerprint(bytes.fromhex(one.author)) == inviter for one in others):
            return
        if others and members.role(self._who.author):
            raise RequestError(
                "InAFleet",
                f"this peer is in a fleet with {others[0].name} already",
                "remove it there first, then: fleet identity reset --new-fleet",
                409,
            )

    def pending(self) -> list[Pending]:
        """Who asks to be let in."""
        return self._book.waiting(self._keeper.now())

    async def accept(self, text: str, role: str) -> dict[str, object]:
        """Let in somebody who asks."""
        self._refuse_guest()
        one = self._find_pending(text)
        await self.grant(one.key, one.name, role, one.tls, one.address, one.port)
        self._book.settle(one.key)
        return {"peer_id": peer_id(one.key), "name": one.name, "role": role}

    def ignore(self, text: str) -> dict[str, object]:
        """Take somebody who asks off the list for good."""
        one = self._find_pending(text)
        self._book.ignore(one.key)
        return {"peer_id": peer_id(one.key), "name": one.name}

    def _find_pending(self, text: str) -> Pending:
        found = [one for one in self.pending() if _fits(text, one.name, peer_id(one.key))]
        return _only(found, text, "asks to be let in", "fleet peers pending")

    def find(self, text: str) -> PeerView:
        """The member of that name or that start of an id."""
        peers = [one for one in self._keeper.state.members.peers() if one.role]
        found = [one for one in peers if _fits(text, one.name, peer_id(one.author))]
        return _only(found, text, "is in this fleet", "fleet peers")

    async def remove(self, text: str, reason: str) -> dict[str, object]:
        """Put a peer out: what it signed after what we hold no longer counts, on any peer."""
        one = self.find(text)
        if one.author == self._who.author:
            raise RequestError(
                "Self", "a peer cannot remove itself", "ask another admin of the fleet", 409
            )
        tip = self._keeper.tips().get(one.author)
        fact = PeerRemoved(
            key=one.author,
            epoch=one.epoch,
            until=tip.seq if tip else 0,
            until_hash=tip.hash if tip else "",
            reason=reason,
        )
        await self._keeper.emit(REMOVED, self._who.peer_id, encode(fact))
        return {"peer_id": peer_id(one.author), "name": one.name, "until": fact.until}

    async def rename(self, text: str, name: str) -> dict[str, object]:
        """Call a peer something else; only an admin may name another."""
        one = self.find(text)
        mine = self._keeper.state.members.role(self._who.author)
        if one.author != self._who.author and not allowed(mine, ADMIN):
            raise RequestError("WrongRole", "only an admin names other peers", "", 403)
        new = self._free_name(slug(name), one.author)
        fact = PeerRenamed(key=one.author, name=new)
        await self._keeper.emit(RENAMED, self._who.peer_id, encode(fact))
        return {"peer_id": peer_id(one.author), "name": new}


def note_host(sightings: Sightings, host: Host, now: int) -> None:
    """Where to dial who let us in: where it answered, and where it says it listens."""
    if not host.welcome.port:
        return
    for address in dict.fromkeys([*reversed(host.welcome.addresses[:16]), host.address]):
        sightings.remember(peer_id(host.key), (address[:100], host.welcome.port), now)


def _fits(text: str, name: str, full_id: str) -> bool:
    plain = text.replace("-", "").replace(" ", "").upper()
    return text == name or (len(plain) >= 4 and full_id.replace("-", "").startswith(plain))


def _only(found: list[Found], text: str, what: str, hint: str) -> Found:
    if not found:
        raise RequestError("NotFound", f"nobody called {text[:80]!r} {what}", hint, 404)
    if len(found) > 1:
        text = f"{text[:80]!r} fits {len(found)} peers"
        raise RequestError("Ambiguous", text, "give more of the id", 409)
    return found[0]
