"""Half a daemon for tests of links: a listener, a dialler, and whom they believe in."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web

from mesh.edge.discovery.sightings import Sightings
from mesh.edge.http.guard import shape_errors
from mesh.edge.http.peers import MESH, mesh_routes
from mesh.edge.http.roles import ROLE, Route, peer_role
from mesh.edge.identity import load_or_create
from mesh.edge.transport.anteroom import Anteroom
from mesh.edge.transport.dial import Dialler
from mesh.edge.transport.expected import Expected
from mesh.edge.transport.link import Anchor, Contexts, Link, own_anchor
from mesh.edge.transport.links import Links
from mesh.edge.transport.listen import Limiter, Listener, listen, members_hall
from mesh.state.address import Address
from mesh.state.members import ADMIN, FORMER, VIEWER
from mesh.state.peer_id import peer_id

NOW = 1_790_000_000_000


class Peer:
    """Half a daemon: a listener, links and a dialler, and whom it believes in."""

    def __init__(self, folder: Path, name: str) -> None:
        home = folder / name
        home.mkdir()
        self.who = load_or_create(home)
        self.key, self.tls = own_anchor(self.who)
        self.anchor: Anchor = (self.key, self.tls)
        self.contexts = Contexts(self.who, home)
        self.roles: dict[bytes, str] = {}
        self.anchors: dict[bytes, Anchor] = {}
        self.book = Sightings(home)
        self.got: list[tuple[bytes, bytes]] = []
        self.say = b""
        self.links = Links(
            self.key, self.is_member, self.serve, self.now, lambda key: key in self.anchors
        )
        self.dialler = Dialler(self.links, self.book, self, self.now)
        self.port = 0
        self.room = self.hall = Anteroom()
        self.pick: Callable[[], list[bytes]] = lambda: list(self.anchors)

    def now(self) -> int:
        return NOW

    def trust(self, other: "Peer", role: str = ADMIN) -> None:
        self.roles[other.key], self.anchors[other.key] = role, other.anchor

    def is_member(self, key: bytes) -> bool:
        return self.roles.get(key, FORMER) != FORMER

    def forget(self, other: "Peer") -> None:
        del self.roles[other.key], self.anchors[other.key]

    async def serve(self, link: Link) -> None:
        if self.say:
            await link.send(self.say)
        while True:
            self.got.append((link.peer_key, await link.receive()))

    # What the dialler and the routes ask.

    def wanted(self) -> list[tuple[bytes, list[Address]]]:
        return [(key, []) for key in self.pick()]

    def anyone(self) -> bool:
        return bool(self.anchors)

    def client_context(self, key: bytes | None) -> ssl.SSLContext:
        return self.contexts.client(self.anchors.values() if key is None else [self.anchors[key]])

    async def hold(self, link: Link) -> bool:
        return await self.links.hold(link)

    def role_of(self, key: bytes) -> str:
        return self.roles.get(key, "")

    async def run(self) -> None:
        """Listen and dial until cancelled."""

        async def secret(request: web.Request) -> web.Response:
            return web.Response(text="for admins")

        async def whoami(request: web.Request) -> web.Response:
            return web.json_response({"role": request[ROLE]})

        async def hang(request: web.Request) -> web.Response:
            await asyncio.Event().wait()
            return web.Response()

        app = web.Application(middlewares=[shape_errors, peer_role(self.role_of)])
        app[MESH] = self  # type: ignore[assignment]
        routes = [*mesh_routes(), Route("GET", "/admin", ADMIN, secret)]
        routes += [Route("GET", "/whoami", VIEWER, whoami), Route("GET", "/hang", VIEWER, hang)]
        app.add_routes([route.definition() for route in routes])
        runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=0.1)
        await runner.setup()
        assert runner.server is not None
        listener = Listener(
            listen("127.0.0.1", 0),
            runner.server,
            lambda: self.contexts.server(self.anchors.values()),
            Limiter(1e6, 10**6, 1e6, 10**6),
            hall=members_hall(),
            expected=Expected(self.links, self.book, self.wanted).is_place,
            member=self.is_member,
        )
        self.port, self.room, self.hall = listener.port, listener.room, listener.hall
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(listener.run())
                group.create_task(self.dialler.run())
        finally:
            await self.links.close()
            await runner.cleanup()

    def knows(self, other: "Peer", port: int | None = None) -> None:
        self.book.remember(peer_id(other.who.author), ("127.0.0.1", port or other.port), NOW)
        self.dialler.wake(other.key)

    def tried(self, port: int) -> str:
        tried = self.book.tried(("127.0.0.1", port))
        return "" if tried is None else tried.text


async def until(condition: Callable[[], object], what: str) -> None:
    try:
        async with asyncio.timeout(30):
            while True:
                if condition():
                    return
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"waited in vain for {what}") from None


async def between(folder: Path, check: Callable[[Peer, Peer], Awaitable[None]]) -> None:
    """Run `check` over two running peers."""
    ana, ben = Peer(folder, "ana"), Peer(folder, "ben")
    running = [asyncio.create_task(one.run()) for one in (ana, ben)]
    try:
        await until(lambda: ana.port and ben.port, "both listeners")
        await check(ana, ben)
    finally:
        for one in running:
            one.cancel()
        await asyncio.gather(*running, return_exceptions=True)
