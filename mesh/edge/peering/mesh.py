"""The fleet around one peer: its listeners, its links, and who is let through them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final, final

from aiohttp import web

from mesh.api.errors import RequestError
from mesh.config import Config
from mesh.edge.discovery import interfaces
from mesh.edge.discovery.mdns import Mdns
from mesh.edge.discovery.sightings import MDNS, TAILNET, Sightings
from mesh.edge.discovery.sources import Source, keep_up
from mesh.edge.discovery.tailnet import Tailnet
from mesh.edge.discovery.whereabouts import Whereabouts
from mesh.edge.disk import StoreError
from mesh.edge.identity import Fleet, Identity, fleet_of
from mesh.edge.pairing.book import PairingBook
from mesh.edge.pairing.desk import Desk
from mesh.edge.pairing.endpoint import ALL_ADDRESSES, LIFETIME_S, PER_ADDRESS, PairingHost
from mesh.edge.pairing.roster import Roster
from mesh.edge.pairing.standing import Keeper
from mesh.edge.peering.report import peer_rows, pending_rows, report, sync_rows
from mesh.edge.peering.trust import Trust
from mesh.edge.transport.call import Caller
from mesh.edge.transport.dial import Dialler
from mesh.edge.transport.expected import Expected
from mesh.edge.transport.link import Link
from mesh.edge.transport.links import Links
from mesh.edge.transport.listen import Limiter, Listener, listen, members_hall
from mesh.policy.neighbours import OUTBOUND
from mesh.state.address import parse_address
from mesh.state.facts.fact import encode
from mesh.state.facts.member import PeerReachable
from mesh.state.members import REACHABLE

# A member reconnects a few times a minute at worst, and asks for a hundred answers of a model at
# once at most, each by a connection that is then kept; strangers end in the handshake.
MESH_RATES: Final = (10.0, 160, 100.0, 300)
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
        given = [parse_address(text, config.mesh_port) for text in config.peers]
        self.book: Final = PairingBook(home)
        self.sightings: Final = Sightings(home, given)
        self._progress = progress
        self.trust: Final = Trust(
            home,
            who,
            keeper,
            self.sightings,
            config.mesh_port,
            lambda key: self.links.get(key) is not None,
            lambda: self.dialler.failing(),
        )
        key = bytes.fromhex(who.author)
        self.links: Final = Links(key, self.trust.is_member, serve, keeper.now, self.trust.is_heard)
        self.dialler: Final = Dialler(self.links, self.sightings, self.trust, keeper.now)
        self.expected: Final = Expected(self.links, self.sightings, self.trust.placed)
        self._caller = Caller(self.sightings, self.trust)
        self._where = Whereabouts(addresses=(), port=0, pairing_port=0)
        self._sources = self._all_sources()
        self.desk: Final = Desk(
            keeper,
            who,
            config.name,
            (self.book, self.sightings),
            self.where,
            self.fleet,
            home,
        )
        self.roster: Final = Roster(keeper, who, home, self.fleet)
        self._news = asyncio.Event()  # members changed: they should hear where we are
        self._ports: list[Listener] = []
        self._runners: list[web.AppRunner] = []
        self.members_changed()

    def _all_sources(self) -> dict[str, Source]:
        """The discovery sources that the settings leave on."""
        config, now = self._config, self._keeper.now
        made: dict[str, Source] = {}
        if MDNS in config.discovery:
            made[MDNS] = Mdns(
                self._who.peer_id,
                config.name,
                config.interfaces,
                self.where,
                self.sightings,
                self._seen,
                now,
            )
        if TAILNET in config.discovery:
            made[TAILNET] = Tailnet(
                config.tailscale_socket,
                (config.tailscale_api_key, config.tailnet),
                config.mesh_port,
                self.sightings,
                self._seen,
                now,
            )
        return made

    def _seen(self, who: str) -> None:
        """A source saw a peer at a new place: try it at once."""
        key = self.trust.known_as(who)
        if key is not None:
            self.dialler.wake(key)
        elif not who:
            self.dialler.nudge()

    def where(self) -> Whereabouts:
        """Where this peer can be reached now."""
        return self._where

    def fleet(self) -> Fleet | None:
        """The fleet this peer belongs to; None while it is alone."""
        return fleet_of(self._home)

    def own_role(self) -> str:
        """What this peer may do."""
        return self.trust.own_role()

    def founded(self) -> bool:
        """Whether this peer is in a fleet."""
        return self.fleet() is not None

    def role_of(self, peer_key: bytes) -> str:
        """What a key may do; FORMER for one that was put out, "" for a stranger."""
        return self.trust.role_of(peer_key)

    def members_changed(self) -> None:
        """Take in new members and let go of removed ones, from the next connection on."""
        changed = self.trust.refresh()
        self._news.set()
        for key in self.trust.moved():
            self.dialler.wake(key)
        if changed:
            self.dialler.wake()
            self.links.changed.set()

    async def call(
        self, key: bytes, method: str, path: str, body: Mapping[str, object] | None = None
    ) -> Any:
        """Ask one member; RequestError with its words, Unanswered where it says nothing."""
        if not self.trust.is_member(key):
            raise RequestError("NotAMember", "no member of this fleet has that key", "", 404)
        return await self._caller.call(key, self.trust.written(key), method, path, body)

    def stream(self, key: bytes, path: str, most_bytes: int) -> AsyncIterator[bytes]:
        """The messages of one member's event stream, each at most so long."""
        return self._caller.stream(key, self.trust.written(key), path, most_bytes)

    def pour(self, key: bytes, path: str, body: bytes) -> AsyncGenerator[bytes, None]:
        """What one member answers to a POST, as it comes."""
        return self._caller.pour(key, self.trust.written(key), path, body)

    # Life.

    async def start(self, app: web.Application) -> None:
        """Bind both ports; StoreError-like OSErrors mean the address is not ours."""
        host = self._config.listen
        pairing = PairingHost(
            bytes.fromhex(self._who.author),
            lambda: self._config.name,
            self.book,
            self.desk.grant,
            self.desk.known,
            self._keeper.now,
        )
        open_server = self.trust.contexts.open_server()
        mesh = await self._serve(app)
        guests = await self._serve(pairing.app())
        self._ports = [
            Listener(
                listen(host, self._config.mesh_port),
                mesh,
                self.trust.server_context,
                Limiter(*MESH_RATES),
                hall=members_hall(),
                expected=self.expected.is_place,
                member=self.trust.is_member,
            ),
            Listener(
                listen(host, self._config.pairing_port),
                guests,
                lambda: open_server,
                Limiter(*PER_ADDRESS, *ALL_ADDRESSES),
                LIFETIME_S,
            ),
        ]
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
            for name, source in self._sources.items():
                group.create_task(keep_up(name, source))
            group.create_task(self._follow_links())
            group.create_task(self._follow_addresses())

    async def close(self) -> None:
        """Say goodbye; the last thing a mesh does."""
        await self.links.close()
        await self._caller.close()
        for runner in self._runners:
            await runner.cleanup()
        self.sightings.flush()

    async def _follow_links(self) -> None:
        """Redial when a link ends, and drop whose link is not the right kind any more."""
        while True:
            await self.links.changed.wait()
            self.links.changed.clear()
            await self.links.drop_strangers()
            await self.links.drop_surplus({key for key, _ in self.trust.wanted()}, OUTBOUND)
            self.dialler.nudge()

    async def _follow_addresses(self) -> None:
        while True:
            # Out of open files, for one: until they can be read it is where it was.
            with contextlib.suppress(OSError):
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
            addresses=tuple(interfaces.reachable(self._config.listen)),
            port=self._ports[0].port,
            pairing_port=self._ports[1].port,
        )
        changed, self._where = found != self._where, found
        return changed

    async def _announce(self) -> None:
        """Tell the fleet where we are, once per change; not before others can read it."""
        members = self._keeper.state.members
        if members.alone or not members.role(self._who.author) or not self.trust.anyone():
            return
        mine = interfaces.show_all(self._where.addresses, self._where.port)
        known = members.reach.get(self._who.author)
        if known is None or list(known[1]) != mine:
            fact = PeerReachable(addresses=tuple(mine))
            # A copied key or a full disk: others still find us by mDNS, and doctor says which.
            with contextlib.suppress(StoreError):
                await self._keeper.emit(REACHABLE, self._who.peer_id, encode(fact))

    async def hold(self, link: Link) -> bool:
        """Run an incoming link until it ends."""
        return await self.links.hold(link)

    def now(self) -> int:
        """Milliseconds UTC."""
        return self._keeper.now()

    # What people ask, over HTTP and from the command line.

    def peers(self) -> list[dict[str, object]]:
        """Every peer of the fleet, this one first."""
        return peer_rows(
            self._keeper, self._who.author, self.links, self.sightings, self._progress()
        )

    def report(self) -> dict[str, object]:
        """What `fleet doctor` shows of the daemon's surroundings."""
        return report(
            self._keeper, self.links, self.sightings, self.book, self._where, self.trust.anchors
        ) | {
            "peer_id": self._who.peer_id,
            "sources": [
                {"source": name, "state": one.state, "fix": one.fix}
                for name, one in self._sources.items()
            ],
        }

    def sync_status(self) -> dict[str, object]:
        """How far the ledgers are apart."""
        return sync_rows(self._keeper, self._who.author, self.links, self._progress())

    async def invite(self, role: str, ttl_ms: int, uses: int) -> dict[str, object]:
        """A code that lets `uses` machines in."""
        return await self.desk.invite(role, ttl_ms, uses)

    async def join(self, text: str, name: str | None = None, host: str = "") -> dict[str, object]:
        """Come into a fleet; at an address, only by the yes of the peer that `host` names."""
        said = await self.desk.join(text, self._config.pairing_port, name, host)
        self.members_changed()
        self.dialler.wake()
        return said

    async def add_recovery(self) -> dict[str, object]:
        """Give a fleet of an earlier version its recovery key; its words, once."""
        return {"recovery_words": await self.desk.founding.add_recovery()}

    def pending(self) -> list[dict[str, object]]:
        """Who asks to be let in."""
        return pending_rows(self.desk.pending(), self._keeper.now())

    async def accept(self, peer: str, role: str) -> dict[str, object]:
        """Let in somebody who asks."""
        return await self.desk.accept(peer, role)

    def ignore(self, peer: str) -> dict[str, object]:
        """Take somebody who asks off the list for good."""
        return self.desk.ignore(peer)

    async def set_role(self, peer: str, role: str) -> dict[str, object]:
        """Give a peer another role."""
        return await self.roster.role(peer, role)

    async def remove(self, peer: str, reason: str, keep: str = "") -> dict[str, object]:
        """Put a peer out of the fleet; its link ends at once."""
        said = await self.roster.remove(peer, reason, keep)
        await self.links.drop_strangers()
        return said

    async def rename(self, peer: str, name: str) -> dict[str, object]:
        """Call a peer something else."""
        return await self.roster.rename(peer, name)

    def add_address(self, text: str) -> dict[str, object]:
        """Try an address from now on."""
        try:
            address = parse_address(text, self._config.mesh_port)
        except ValueError as error:
            raise RequestError("BadAddress", str(error), "fleet peers add HOST") from error
        new = self.sightings.add_given(address)
        self.dialler.wake(address)
        return {"address": text, "new": new}
