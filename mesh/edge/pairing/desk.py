"""Who comes in: invitations, people who ask, and this peer's own way into a fleet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar, final

from mesh.api.errors import RequestError
from mesh.config import slug
from mesh.edge.discovery.sightings import PAIRING, Sighting, Sightings
from mesh.edge.discovery.whereabouts import Whereabouts
from mesh.edge.identity import Fleet, Identity
from mesh.edge.pairing import acquainted
from mesh.edge.pairing.book import Invite, PairingBook, Pending
from mesh.edge.pairing.client import Host, Self, ask, join
from mesh.edge.pairing.endpoint import MAX_MET, Welcome
from mesh.edge.pairing.founding import Founding
from mesh.edge.pairing.standing import Keeper, is_known, refuse_forked, refuse_powerless
from mesh.edge.transport.link import own_anchor
from mesh.policy import pairing
from mesh.state.address import parse_address
from mesh.state.facts.fact import encode
from mesh.state.facts.member import PeerAdded
from mesh.state.members import ADDED, Members
from mesh.state.peer_id import peer_id
from mesh.sync.manifest import Tip

Found = TypeVar("Found")


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
        home: Path,
    ) -> None:
        self._keeper = keeper
        self._who = who
        self._name = name
        self._book, self._sightings = books
        self._where = where
        self._fleet = fleet
        self._home = home
        self._tls: Final = own_anchor(who)[1].hex()
        self.founding: Final = Founding(keeper, who, home, name, self.shown, fleet)

    def shown(self) -> str:
        """The signature of the certificate this peer shows: the one its grant names."""
        members = self._keeper.state.members
        granted = members.peer(self._who.author).tls if is_known(members, self._who.author) else ""
        return granted or self._tls

    async def invite(self, role: str, ttl_ms: int, uses: int) -> dict[str, object]:
        """A code that lets `uses` machines in until it expires; the first one founds the fleet.

        `recovery_words` are shown to the person who asked, once: they are kept nowhere.
        """
        self._refuse_powerless()
        now = self._keeper.now()
        made = self._book.invite(role, ttl_ms, uses, now)
        if made is None:
            raise RequestError("TooManyInvites", "too many invites are open", "let some expire")
        return {
            "recovery_words": await self.founding.found(),
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
        self, text: str, default_port: int, name: str | None = None, host: str = ""
    ) -> dict[str, object]:
        """Come in by a code; at an address, ask to and return "pending" until somebody accepts.

        `host` is the peer id that answered there before: another one's yes does not count.
        """
        called = slug(name or self._name)
        me = Self(who=self._who, name=called, port=self._where().port)
        try:
            code = pairing.parse_code(text)
        except pairing.CodeError as error:
            self._refuse_second_fleet(b"")
            return await self._ask(me, text, str(error), (default_port, host))
        self._refuse_second_fleet(code.fingerprint)
        return await self._entered(await join(me, code))

    async def _ask(
        self, me: Self, text: str, why: str, there: tuple[int, str]
    ) -> dict[str, object]:
        if not any(c in text for c in ".:"):
            raise RequestError("BadCode", f"not an invite code: {why}", "fleet invite makes one")
        try:
            address = parse_address(text, there[0])
        except ValueError as error:
            raise RequestError("BadCode", str(error), "fleet join CODE") from error
        key, host = await ask(me, address, there[1])
        if host is None:
            return {"state": "pending", "peer_id": peer_id(key)}
        return await self._entered(host)

    async def _entered(self, host: Host) -> dict[str, object]:
        welcome = host.welcome
        fleet = Fleet(
            root=welcome.root,
            founding=welcome.founding,
            recovery=welcome.recovery,
            introducer=host.key,
            tls=welcome.tls,
            role=welcome.role,
        )
        met = {bytes.fromhex(key): bytes.fromhex(tls) for key, tls in welcome.members.items()}
        acquainted.keep(self._home, met)
        await self._keeper.belong(fleet, Tip(welcome.you_seq, welcome.you_hash))
        note_host(self._sightings, host, self._keeper.now())
        return {
            "state": "joined",
            "role": welcome.role,
            "peer_id": peer_id(host.key),
            "name": welcome.name,
            "admins": welcome.admins,
        }

    async def grant(
        self, key: str, name: str, role: str, tls: str, address: str, port: int
    ) -> Welcome:
        """Let a key in: the event is on disk before the guest hears of it.

        It counts from after the newest event of the key that is known here, and names what it
        replaces and overrides: an earlier grant, a removal.
        """
        self._refuse_powerless()
        if self._fleet() is None:  # a code of an earlier version: nobody was shown any words
            raise RequestError("NoFleet", "this peer has no fleet yet", "ask for a new code", 409)
        members, tip = self._keeper.state.members, self._keeper.tips().get(key)
        name = self._free_name(name, key)
        refuse_forked(tip, name)
        seen = tip if tip is not None and is_known(members, key) else None
        fact = PeerAdded(
            key=key,
            name=name,
            role=role,
            tls=tls,
            since=seen.seq + 1 if seen else 1,
            since_hash=seen.hash if seen else "",
            names=members.names_for(key),
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
        return self.welcome(role, key)

    def known(self, key: str) -> Welcome | None:
        """The welcome of a key that is a member already."""
        members = self._keeper.state.members
        role = "" if members.alone else members.role(key)
        return self.welcome(role, key) if role else None

    def welcome(self, role: str, key: str) -> Welcome:
        """What a guest with this key needs to know."""
        where, members, fleet = self._where(), self._keeper.state.members, self._fleet()
        own = self._keeper.tips().get(key, Tip(0, ""))
        return Welcome(
            role=role,
            root=members.root,
            name=self._name,
            tls=self.shown(),
            port=where.port,
            addresses=list(where.addresses),
            founding=members.founding or (fleet.founding if fleet else ""),
            recovery=members.recovery or (fleet.recovery if fleet else ""),
            admins=len(members.admins()),
            members=self._met(),
            you_seq=own.seq,
            you_hash=own.hash,
        )

    def _met(self) -> dict[str, str]:
        """Members a guest may ask beside us, the most senior first."""
        peers = [one for one in self._keeper.state.members.peers() if one.role and one.tls]
        first = sorted(peers, key=lambda one: (one.steps, one.author))[:MAX_MET]
        return {one.author: one.tls for one in first}

    def _free_name(self, name: str, key: str) -> str:
        return free_name(self._keeper.state.members, name, key)

    def _refuse_powerless(self) -> None:
        refuse_powerless(self._keeper, self._who.author, self._fleet())

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
        self._refuse_powerless()
        one = self._find_pending(text)
        refuse_forked(self._keeper.tips().get(one.key), one.name)
        words = await self.founding.found()
        await self.grant(one.key, one.name, role, one.tls, one.address, one.port)
        self._book.settle(one.key)
        said = {"peer_id": peer_id(one.key), "name": one.name, "role": role}
        return {**said, "recovery_words": words}

    def ignore(self, text: str) -> dict[str, object]:
        """Take somebody who asks off the list for good."""
        one = self._find_pending(text)
        self._book.ignore(one.key)
        return {"peer_id": peer_id(one.key), "name": one.name}

    def _find_pending(self, text: str) -> Pending:
        found = [one for one in self.pending() if fits(text, one.name, peer_id(one.key))]
        return only(found, text, "asks to be let in", "fleet peers pending")


def note_host(sightings: Sightings, host: Host, now: int) -> None:
    """Where to dial who let us in: where it answered, and where it says it listens."""
    if not host.welcome.port:
        return
    for address in dict.fromkeys([*reversed(host.welcome.addresses[:16]), host.address]):
        sightings.remember(peer_id(host.key), (address[:100], host.welcome.port), now)


def free_name(members: Members, name: str, key: str) -> str:
    """The name, with a number where another peer has it: names are how people point."""
    taken = {one.name for one in members.peers() if one.author != key and one.role}
    numbered = (f"{name[:36]}-{n}" for n in range(2, 1000))
    return name if name not in taken else next(n for n in numbered if n not in taken)


def fits(text: str, name: str, full_id: str) -> bool:
    """Whether somebody typed this peer's name, or the start of its id."""
    plain = text.replace("-", "").replace(" ", "").upper()
    return text == name or (len(plain) >= 4 and full_id.replace("-", "").startswith(plain))


def only(found: list[Found], text: str, what: str, hint: str) -> Found:
    """The one that was found; RequestError where it is none or several."""
    if not found:
        raise RequestError("NotFound", f"nobody called {text[:80]!r} {what}", hint, 404)
    if len(found) > 1:
        text = f"{text[:80]!r} fits {len(found)} peers"
        raise RequestError("Ambiguous", text, "give more of the id", 409)
    return found[0]
