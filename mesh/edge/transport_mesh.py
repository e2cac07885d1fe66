"""The fleet around one peer: its listeners, its links, and who is let through them."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final, final

from aiohttp import web

from mesh.config import Config
from mesh.edge import addresses, certificate
from mesh.edge.identity import Fleet, Identity, fleet_of, peer_id
from mesh.edge.mdns import Mdns
from mesh.edge.pairing import ALL_ADDRESSES, LIFETIME_S, PER_ADDRESS, PairingHost
from mesh.edge.pairing_book import PairingBook
from mesh.edge.pairing_desk import Desk, Keeper, Whereabouts
from mesh.edge.sightings import MDNS, TAILNET, Address, Sightings, parse_address, read_addresses
from mesh.edge.sightings_report import peer_rows, pending_rows, report, sync_rows
from mesh.edge.store_errors import StoreError
from mesh.edge.tailnet import Tailnet
from mesh.edge.transport import Anchor, Contexts, Link
from mesh.edge.transport_call import Caller
from mesh.edge.transport_dial import Dialler
from mesh.edge.transport_links import Links
from mesh.edge.transport_listen import Limiter, Listener, listen
from mesh.errors import RequestError
from mesh.policy.neighbours import OUTBOUND, choose
from mesh.state.members import REACHABLE

# A member reconnects a few times a minute at worst; strangers end in the handshake.
MESH_RATES: Final = (10.0, 60, 100.0, 300)
# Strangers connected at a time, about 100 KiB each; one that stays is cut off after 30 s.
MAX_GUESTS: Final = 64
# How often this machine's own addresses are looked at: a laptop changes networks.
ADDRESS_S: Final = 15.0

Serve = Callable[[Link], Awaitable[None]]
Progress = Callable[[], Mapping[str, object]]


@final
class Mesh:
    """Everything between this node and other peers. `serve` runs the replication of one link."""

    def __init__(
        self,
        home: Path,
        config: Config,
        who: Identity,
        keeper: Keeper,
        serve: Serve,
        progress: Progress,
    ) -> None:
        self._home, self._config, self._who, self._keeper = home, config, who, keeper
        self._key: Final = bytes.fromhex(who.author)
        self._contexts = Contexts(who, home)
        given = [parse_address(text, config.mesh_port) for text in config.peers]
        self.book: Final = PairingBook(home)
        self.sightings: Final = Sightings(home, given)
        self._progress = progress
        self._fleet: Fleet | None = fleet_of(home)
        self._anchors: dict[bytes, Anchor] = {}
        self._reach: dict[str, tuple[str, ...]] = {}
        self._server: ssl.SSLContext | None = None
        self._clients: dict[bytes | None, ssl.SSLContext] = {}
        self.links: Final = Links(self._key, self.is_member, serve, keeper.now)
        self.dialler: Final = Dialler(self.links, self.sightings, self, keeper.now)
        self._caller = Caller(self.sightings, self)
        self._where = Whereabouts(addresses=(), port=0, pairing_port=0)
        self._sources = self._all_sources()
        self.desk: Final = Desk(
            keeper, who, config.name, (self.book, self.sightings), self.where, self.fleet
        )
        self._news = asyncio.Event()  # members changed: they should hear where we are
        self._ports: list[Listener] = []
        self._runners: list[web.AppRunner] = []
        self.members_changed()

    def _all_sources(self) -> dict[str, Mdns | Tailnet]:
        """The discovery sources that the settings leave on."""
        config, now = self._config, self._keeper.now
        made: dict[str, Mdns | Tailnet] = {}
        if MDNS in config.discovery:
            made[MDNS] = Mdns(
                self._who.peer_id, config.name, config.interfaces, self.where,
                self.sightings, self._seen, now,
            )  # fmt: skip
        if TAILNET in config.discovery:
            made[TAILNET] = Tailnet(
                config.tailscale_socket, (config.tailscale_api_key, config.tailnet),
                config.mesh_port, self.sightings, self._seen, now,
            )  # fmt: skip
        return made

    def _seen(self, who: str) -> None:
        """A source saw a peer at a new place: try it at once."""
        keys = [key for key in self._anchors if peer_id(key.hex()) == who]
        if keys:
            self.dialler.wake(keys[0])
        elif not who:
            self.dialler.nudge()

    # What the desk and the dialler ask.

    def where(self) -> Whereabouts:
        """Where this peer can be reached now."""
        return self._where

    def fleet(self) -> Fleet | None:
        """The fleet this peer belongs to."""
        return self._fleet

    def anyone(self) -> bool:
        """Whether there is any other member."""
        return bool(self._anchors)

    def wanted(self) -> list[tuple[bytes, list[Address]]]:
        """The neighbours this peer should have, and where the ledger says they are."""
        hopeless = self.dialler.failing() | self._nowhere()
        chosen = choose(self._key, list(self._anchors), hopeless)
        return [(key, self._written(key)) for key in chosen]

    def _nowhere(self) -> set[bytes]:
        """Members that nobody saw yet: a guest hears of them before it hears where they are."""
        lost = [key for key in self._anchors if self.links.get(key) is None]
        return {
            key for key in lost
            if not any(self.sightings.candidates(peer_id(key.hex()), self._written(key)))
        }  # fmt: skip

    def _written(self, key: bytes) -> list[Address]:
        reach = self._keeper.state.members.reach.get(key.hex())
        return read_addresses(reach[1], self._config.mesh_port) if reach else []

    def client_context(self, key: bytes | None) -> ssl.SSLContext:
        """TLS that takes this key alone; any member's for None."""
        made = self._clients.get(key)
        if made is None:
            anchors = self._anchors.values() if key is None else [self._anchors[key]]
            made = self._clients[key] = self._contexts.client(anchors)
        return made

    def server_context(self) -> ssl.SSLContext:
        """TLS that lets the members of this moment in."""
        if self._server is None:
            self._server = self._contexts.server(self._anchors.values())
        return self._server

    # Who is who.

    def is_member(self, key: bytes) -> bool:
        """Whether a key may link with us."""
        return key in self._anchors

    def own_role(self) -> str:
        """What this peer may do; an admin as long as it is alone."""
        members, fleet = self._keeper.state.members, self._fleet
        if fleet is not None and fleet.role and self._who.author not in members.grants:
            return fleet.role  # as we were told; the ledger will say the same, or overrule it
        return members.role(self._who.author)

    def role_of(self, peer_key: bytes) -> str:
        """What a key may do; "" for a stranger."""
        if peer_key not in self._anchors:
            return ""
        return self._keeper.state.members.role(peer_key.hex())

    def members_changed(self) -> None:
        """Take in new members and let go of removed ones, from the next connection on."""
        self._fleet = fleet_of(self._home)
        self._news.set()
        self._follow_moves()
        anchors = {key: (key, tls) for key, tls in self._current()}
        if anchors == self._anchors:
            return
        self._anchors = anchors
        self._server = None
        self._clients.clear()
        self.dialler.wake()
        self.links.changed.set()

    def _follow_moves(self) -> None:
        """Who wrote down a new address is tried there at once."""
        reach = {author: at for author, (_, at) in self._keeper.state.members.reach.items()}
        for author, at in reach.items():
            if self._reach.get(author) != at and len(author) == 64:
                self.dialler.wake(bytes.fromhex(author))
        self._reach = reach

    def _current(self) -> list[Anchor]:
        """Every other member's key, and who let us in until the ledger says who belongs."""
        members = self._keeper.state.members
        found = [
            (bytes.fromhex(one.author), _bytes(one.tls)) for one in members.peers() if one.role
        ]
        fleet = self._fleet
        if fleet is not None and fleet.introducer and fleet.introducer not in members.grants:
            found.append((bytes.fromhex(fleet.introducer), _bytes(fleet.tls)))
        return [one for one in found if one[0] != self._key and certificate.is_sound(*one)]

    async def call(
        self, key: bytes, method: str, path: str, body: Mapping[str, object] | None = None
    ) -> Any:
        """Ask one member; RequestError with its words, Unanswered where it says nothing."""
        if key not in self._anchors:
            raise RequestError("NotAMember", "no member of this fleet has that key", "", 404)
        return await self._caller.call(key, self._written(key), method, path, body)

    # Life.

    async def start(self, app: web.Application) -> None:
        """Bind both ports; StoreError-like OSErrors mean the address is not ours."""
        host = self._config.listen
        pairing = PairingHost(
            self._key, lambda: self._config.name, self.book, self.desk.grant, self.desk.known,
            self._keeper.now,
        )  # fmt: skip
        open_server = self._contexts.open_server()
        mesh = await self._serve(app)
        guests = await self._serve(pairing.app())
        self._ports = [
            Listener(
                listen(host, self._config.mesh_port), mesh, self.server_context,
                Limiter(*MESH_RATES),
            ),
            Listener(
                listen(host, self._config.pairing_port), guests, lambda: open_server,
                Limiter(*PER_ADDRESS, *ALL_ADDRESSES), LIFETIME_S,
                lambda: len(guests.connections) < MAX_GUESTS,
            ),
        ]  # fmt: skip
        self._look_around()

    async def _serve(self, app: web.Application) -> web.Server:
        runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=1.0, access_log=None)
        await runner.setup()
        self._runners.append(runner)
        assert runner.server is not None
        return runner.server

    async def run(self) -> None:
        """Listen, dial and look around until cancelled."""
        async with asyncio.TaskGroup() as group:
            for port in self._ports:
                group.create_task(port.run())
            group.create_task(self.dialler.run())
            for source in self._sources.values():
                group.create_task(source.run())
            group.create_task(self._follow_links())
            group.create_task(self._follow_addresses())

    async def close(self) -> None:
        """Say goodbye; the last thing a mesh does."""
        await self.links.close()
        for runner in self._runners:
            await runner.cleanup()
        self.sightings.flush()

    async def _follow_links(self) -> None:
        """Redial when a link ends, and drop who is no member any more."""
        while True:
            await self.links.changed.wait()
            self.links.changed.clear()
            await self.links.drop_strangers()
            await self.links.drop_surplus({key for key, _ in self.wanted()}, OUTBOUND)
            self.dialler.nudge()

    async def _follow_addresses(self) -> None:
        while True:
            if self._look_around():
                self.dialler.wake()
            await self._announce()
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ADDRESS_S):
                    await self._news.wait()

    def _look_around(self) -> bool:
        """See where this machine can be reached; True where that changed."""
        found = Whereabouts(
            addresses=tuple(addresses.reachable(self._config.listen)),
            port=self._ports[0].port,
            pairing_port=self._ports[1].port,
        )
        changed, self._where = found != self._where, found
        return changed

    async def _announce(self) -> None:
        """Tell the fleet where we are, once per change; not before others can read it."""
        members = self._keeper.state.members
        if members.alone or not members.role(self._who.author) or not self.anyone():
            return
        mine = addresses.show_all(self._where.addresses, self._where.port)
        known = members.reach.get(self._who.author)
        if known is None or list(known[1]) != mine:
            fact: dict[str, object] = {"addresses": list(mine)}
            # A copied key or a full disk: others still find us by mDNS, and doctor says which.
            with contextlib.suppress(StoreError):
                await self._keeper.emit(REACHABLE, self._who.peer_id, fact)

    async def hold(self, link: Link) -> bool:
        """Run an incoming link until it ends."""
        return await self.links.hold(link)

    def now(self) -> int:
        """Milliseconds UTC."""
        return self._keeper.now()

    # What people ask, over HTTP and from the command line.

    def peers(self) -> list[dict[str, object]]:
        """Every peer of the fleet, this one first."""
        return peer_rows(self._keeper, self._who.author, self.links, self.sightings,
                         self._progress())  # fmt: skip

    def report(self) -> dict[str, object]:
        """What `fleet doctor` shows of the daemon's surroundings."""
        return report(self._keeper, self.links, self.sightings, self.book, self._where,
                      self._anchors) | {
            "peer_id": self._who.peer_id,
            "sources": [{"source": name, "state": one.state, "fix": one.fix}
                        for name, one in self._sources.items()],
        }  # fmt: skip

    def sync_status(self) -> dict[str, object]:
        """How far the ledgers are apart."""
        return sync_rows(self._keeper, self._who.author, self.links, self._progress())

    async def invite(self, role: str, ttl_ms: int, uses: int) -> dict[str, object]:
        """A code that lets `uses` machines in."""
        return await self.desk.invite(role, ttl_ms, uses)

    async def join(self, text: str, name: str | None = None) -> dict[str, object]:
        """Come into a fleet."""
        said = await self.desk.join(text, self._config.pairing_port, name)
        self.members_changed()
        self.dialler.wake()
        return said

    def pending(self) -> list[dict[str, object]]:
        """Who asks to be let in."""
        return pending_rows(self.desk.pending(), self._keeper.now())

    async def accept(self, peer: str, role: str) -> dict[str, object]:
        """Let in somebody who asks."""
        return await self.desk.accept(peer, role)

    def ignore(self, peer: str) -> dict[str, object]:
        """Take somebody who asks off the list for good."""
        return self.desk.ignore(peer)

    async def remove(self, peer: str, reason: str) -> dict[str, object]:
        """Put a peer out of the fleet; its link ends at once."""
        said = await self.desk.remove(peer, reason)
        await self.links.drop_strangers()
        return said

    async def rename(self, peer: str, name: str) -> dict[str, object]:
        """Call a peer something else."""
        return await self.desk.rename(peer, name)

    def add_address(self, text: str) -> dict[str, object]:
        """Try an address from now on."""
        try:
            address = parse_address(text, self._config.mesh_port)
        except ValueError as error:
            raise RequestError("BadAddress", str(error), "fleet peers add HOST") from error
        new = self.sightings.add_given(address)
        self.dialler.wake(address)
        return {"address": text, "new": new}


def _bytes(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""
