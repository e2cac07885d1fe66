"""Links over real TLS on loopback: members only, one per pair, dead ones noticed, keys pinned."""

import asyncio
import contextlib
import hashlib
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.api.errors import RequestError
from mesh.edge.discovery.sightings import Sightings
from mesh.edge.http.guard import shape_errors
from mesh.edge.http.peers import MESH, mesh_routes
from mesh.edge.http.roles import ROLE, Route, peer_role
from mesh.edge.identity import load_or_create
from mesh.edge.transport import certificate
from mesh.edge.transport.call import Caller, Unanswered
from mesh.edge.transport.dial import Dialler
from mesh.edge.transport.link import (
    MAX_MESSAGE_BYTES,
    Anchor,
    Contexts,
    Link,
    Pool,
    own_anchor,
    pairing_client,
)
from mesh.edge.transport.links import Links
from mesh.edge.transport.listen import Limiter, Listener, listen
from mesh.ledger import signing
from mesh.state.address import Address
from mesh.state.members import ADMIN, VIEWER
from mesh.state.peer_id import peer_id
from tests.netns.proxy import FaultProxy

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
        self.links = Links(self.key, lambda key: key in self.anchors, self.serve, self.now)
        self.dialler = Dialler(self.links, self.book, self, self.now)
        self.port = 0
        self.pick: Callable[[], list[bytes]] = lambda: list(self.anchors)

    def now(self) -> int:
        return NOW

    def trust(self, other: "Peer", role: str = ADMIN) -> None:
        self.roles[other.key], self.anchors[other.key] = role, other.anchor

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
        )
        self.port = listener.port
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


async def test_members_link_and_messages_pass_both_ways(tmp_path: Path) -> None:
    async def check(ana: Peer, ben: Peer) -> None:
        ana.say, ben.say = b"from ana", b"x" * MAX_MESSAGE_BYTES
        ana.trust(ben)
        ben.trust(ana)
        ana.knows(ben)
        await until(lambda: ana.got and ben.got, "both messages")
        assert ben.got == [(ana.key, b"from ana")]
        assert ana.got == [(ben.key, b"x" * MAX_MESSAGE_BYTES)]
        (link,) = ana.links.all()
        assert (link.outbound, link.peer_key, abs(link.skew_ms)) == (True, ben.key, 0)
        with pytest.raises(ValueError, match="at most"):
            await link.send(b"x" * (MAX_MESSAGE_BYTES + 1))

    await between(tmp_path, check)


async def test_an_unknown_key_gets_no_link_whichever_side_it_is_on(tmp_path: Path) -> None:
    async def check(ana: Peer, ben: Peer) -> None:
        ana.trust(ben)
        ana.knows(ben)
        await until(lambda: ana.tried(ben.port), "the failed dial")
        assert "does not know our key" in ana.tried(ben.port)
        ana.forget(ben)
        ben.trust(ana)
        ben.knows(ana)
        await until(lambda: ben.tried(ana.port), "the other failed dial")
        assert ana.links.all() == ben.links.all() == []

    await between(tmp_path, check)


@pytest.mark.parametrize("dials", ["the old form", "the new form"])
async def test_members_of_the_old_form_of_certificate_and_of_the_new_one_link(
    tmp_path: Path, dials: str
) -> None:
    async def check(ana: Peer, ben: Peer) -> None:
        old = certificate.signature_of(ben.who.seed, certificate.V1)
        assert ben.contexts.present(old)
        ben.anchor = (ben.key, old)  # as ben's grant, made by an earlier version, says
        first, second = (ben, ana) if dials == "the old form" else (ana, ben)
        second.pick = list
        ana.trust(ben)
        ben.trust(ana)
        first.knows(second)
        await until(lambda: ana.links.get(ben.key), "the link")
        assert first.links.all()[0].outbound

    await between(tmp_path, check)


def signed_by(member: Peer, stranger: Peer) -> Path:
    """A key file and chain: the stranger's certificate, made by the member's key as if it were an
    authority, and the member's own."""
    body = certificate.body_of(stranger.key)
    issuer, subject = member.key.hex().encode(), stranger.key.hex().encode()
    body = body.replace(subject, issuer, 1)  # the issuer's name stands first
    ids = [hashlib.sha256(one.key).digest()[:20] for one in (stranger, member)]
    own, authority = body.rsplit(ids[0], 1)
    body = own + ids[1] + authority  # the authority's key is named last
    made = certificate._whole(stranger.key, bytes(64), certificate.V3)
    made = made.replace(certificate.body_of(stranger.key), body)
    made = made[:-64] + signing.sign_bytes(member.who.seed, body)
    chain = [made, certificate.certificate(*member.anchor)]
    path = stranger.book._path.parent / "chain.pem"
    text = certificate.private_pem(stranger.who.seed)
    path.write_text(text + "".join(certificate.certificate_pem(one) for one in chain))
    return path


async def test_a_member_is_no_authority_for_others_keys(tmp_path: Path) -> None:
    async def answer(port: int, chain: Path) -> bytes:
        """What a server says to the holder of a chain; b"" where the handshake fails."""
        context = pairing_client()
        context.load_cert_chain(chain)
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
            writer.write(b"GET /whoami HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            said = await reader.read()
            writer.close()
            return said
        return b""

    async def check(ana: Peer, ben: Peer) -> None:
        eve = Peer(tmp_path, "eve")
        ben.trust(ana)
        own = tmp_path / "ana.pem"
        text = certificate.private_pem(ana.who.seed)
        own.write_text(text + certificate.certificate_pem(certificate.certificate(*ana.anchor)))
        assert (await answer(ben.port, own)).startswith(b"HTTP/1.1 200")
        assert await answer(ben.port, signed_by(ana, eve)) == b""
        ana.anchor = (ana.key, certificate.signature_of(ana.who.seed, certificate.V1))
        ben.trust(ana)  # the old form does not say that it is no authority: HTTP does
        assert (await answer(ben.port, signed_by(ana, eve))).startswith(b"HTTP/1.1 403")
        ana.anchor = (ana.key, ana.tls)
        ben.trust(ana)

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(signed_by(ana, eve))
        served = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, ssl=context)
        port = served.sockets[0].getsockname()[1]
        ben.knows(ana, port)  # eve answers where ben expects ana
        await until(lambda: ben.tried(port), "the dial")
        assert "not the expected member's" in ben.tried(port)
        served.close()

    await between(tmp_path, check)


def test_a_change_of_members_changes_only_what_it_must(tmp_path: Path) -> None:
    ana, ben, cid = (Peer(tmp_path, name) for name in ("ana", "ben", "cid"))
    pool = Pool(ana.contexts)
    pool.become({ben.key: ben.anchor})
    server, client = pool.server(), pool.client(ben.key)
    pool.become({ben.key: ben.anchor, cid.key: cid.anchor})
    assert pool.server() is server  # one anchor more
    assert server.cert_store_stats()["x509"] == 2
    assert pool.client(ben.key) is client
    pool.become({ben.key: ben.anchor})
    assert pool.server() is not server  # nobody can be taken out of the old one
    assert pool.server().cert_store_stats()["x509"] == 1
    assert pool.client(ben.key) is client
    with pytest.raises(KeyError):
        pool.client(cid.key)
    pool.forget()
    assert pool.client(ben.key) is not client


async def test_a_member_in_anothers_place_is_refused(tmp_path: Path) -> None:
    async def check(ana: Peer, ben: Peer) -> None:
        cid = Peer(tmp_path, "cid")
        for one in (ana, ben):
            one.trust(cid)
        ana.trust(ben)
        ben.trust(ana)
        ben.pick = list  # ben dials nobody
        ana.knows(cid, ben.port)  # ben listens where ana expects cid
        await until(lambda: ana.tried(ben.port), "the dial")
        assert "not the expected member's" in ana.tried(ben.port)
        assert ana.links.all() == []

    await between(tmp_path, check)


async def test_both_dialling_at_once_leaves_one_link(tmp_path: Path) -> None:
    async def check(ana: Peer, ben: Peer) -> None:
        ana.trust(ben)
        ben.trust(ana)
        ana.knows(ben)
        ben.knows(ana)

        def one_and_the_same() -> bool:
            mine, theirs = ana.links.all(), ben.links.all()
            return len(mine) == len(theirs) == 1 and mine[0].outbound != theirs[0].outbound

        await until(one_and_the_same, "one link")

    await between(tmp_path, check)


async def test_a_removed_members_link_ends_and_its_next_one_fails(tmp_path: Path) -> None:
    async def check(ana: Peer, ben: Peer) -> None:
        ana.trust(ben)
        ben.trust(ana)
        ana.knows(ben)
        await until(lambda: ana.links.all() and ben.links.all(), "the link")
        ben.forget(ana)
        await ben.links.drop_strangers()
        await until(lambda: not ana.links.all() and ana.tried(ben.port), "the next dial")
        assert "does not know our key" in ana.tried(ben.port)
        assert ben.links.all() == []

    await between(tmp_path, check)


async def test_a_link_comes_back_after_it_broke(tmp_path: Path) -> None:
    async def check(ana: Peer, ben: Peer) -> None:
        ana.trust(ben)
        ben.trust(ana)
        ben.pick = list
        ana.knows(ben)
        await until(ben.links.all, "the link")
        first = ben.links.all()[0]
        await first.close()
        await until(lambda: ben.links.all() and ben.links.all()[0] is not first, "the next link")

    await between(tmp_path, check)


async def test_a_hand_given_address_needs_no_key(tmp_path: Path) -> None:
    async def check(ana: Peer, ben: Peer) -> None:
        ana.trust(ben)
        ben.trust(ana)
        ana.book.add_given(("127.0.0.1", ben.port))
        ana.dialler.wake()
        await until(lambda: ana.links.get(ben.key), "the link")

    await between(tmp_path, check)


@pytest.mark.parametrize(("role", "status"), [(ADMIN, 200), (VIEWER, 403), ("", 403)])
async def test_each_route_asks_for_its_role(tmp_path: Path, role: str, status: int) -> None:
    import aiohttp

    async def check(ana: Peer, ben: Peer) -> None:
        ana.trust(ben)
        ben.trust(ana, role)
        async with (
            aiohttp.ClientSession() as session,
            session.get(
                f"https://127.0.0.1:{ben.port}/admin",
                ssl=ana.client_context(ben.key),
                server_hostname="x.invalid",
            ) as response,
        ):
            assert response.status == status
            if status == 403:
                assert (await response.json())["code"] in ("WrongRole", "NotAMember")

    await between(tmp_path, check)


async def test_a_member_asks_a_member_and_hears_yes_no_or_nothing(tmp_path: Path) -> None:
    async def check(ana: Peer, ben: Peer) -> None:
        ana.trust(ben)
        ben.trust(ana)
        ben.pick = list
        caller = Caller(ana.book, ana)
        with pytest.raises(Unanswered, match="nobody knows where") as lost:
            await caller.call(ben.key, [], "GET", "/whoami")
        assert not lost.value.sent
        at = [("127.0.0.1", 1), ("127.0.0.1", ben.port)]  # the first address is nobody's
        assert await caller.call(ben.key, at, "GET", "/whoami") == {"role": ADMIN}
        ben.roles[ana.key] = VIEWER
        with pytest.raises(RequestError, match="needs the role admin"):
            await caller.call(ben.key, at, "GET", "/admin")
        with pytest.raises(Unanswered) as silent:
            await caller.call(ben.key, at, "GET", "/hang", timeout_s=0.3)
        assert silent.value.sent
        ben.forget(ana)
        with pytest.raises(Unanswered):
            await caller.call(ben.key, at, "GET", "/whoami")

    await between(tmp_path, check)


async def test_a_stalled_stranger_is_let_go_and_others_still_come_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mesh.edge.transport.listen.HANDSHAKE_S", 0.3)

    async def check(ana: Peer, ben: Peer) -> None:
        silent = [await asyncio.open_connection("127.0.0.1", ben.port) for _ in range(20)]
        ana.trust(ben)
        ben.trust(ana)
        ana.knows(ben)
        await until(lambda: ana.links.get(ben.key), "the link")
        for reader, writer in silent:
            async with asyncio.timeout(10):
                assert await reader.read(1) == b""
            writer.close()

    await between(tmp_path, check)


async def test_a_half_open_link_is_noticed_by_its_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mesh.edge.transport.dial.HEARTBEAT_S", 0.3)
    monkeypatch.setattr("mesh.edge.http.peers.HEARTBEAT_S", 0.3)

    async def check(ana: Peer, ben: Peer) -> None:
        ana.trust(ben)
        ben.trust(ana)
        ben.pick = list
        async with FaultProxy("127.0.0.1", ben.port, delay_s=0.01) as proxy:
            ana.knows(ben, proxy.port)
            await until(lambda: ana.links.all() and ben.links.all(), "the link")
            held = (ana.links.all()[0], ben.links.all()[0])
            proxy.stall()
            await until(
                lambda: held[0] not in ana.links.all() and held[1] not in ben.links.all(),
                "both ends to notice",
            )

    await between(tmp_path, check)


@settings(max_examples=15, deadline=None)
@given(noise=st.lists(st.binary(min_size=1, max_size=2000), min_size=1, max_size=4))
def test_noise_on_the_port_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, noise: list[bytes]
) -> None:
    async def check(ana: Peer, ben: Peer) -> None:
        for data in noise:
            reader, writer = await asyncio.open_connection("127.0.0.1", ben.port)
            writer.write(data)
            writer.write_eof()
            with contextlib.suppress(ConnectionError):
                await reader.read()
            writer.close()
        ana.trust(ben)
        ben.trust(ana)
        ana.knows(ben)
        await until(lambda: ana.links.get(ben.key), "the link after the noise")

    asyncio.run(between(tmp_path_factory.mktemp("noise"), check))


async def test_no_more_strangers_than_there_is_room_for(tmp_path: Path) -> None:
    peer = Peer(tmp_path, "ana")
    rooms = iter([True, True, False, True])
    context = peer.contexts.open_server()
    listener = Listener(
        listen("127.0.0.1", 0),
        asyncio.Protocol,
        lambda: context,
        Limiter(1e6, 10**6, 1e6, 10**6),
        None,
        lambda: next(rooms),
    )
    running = asyncio.create_task(listener.run())
    client = pairing_client()
    outcomes = []
    for _ in range(4):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", listener.port, ssl=client)
            outcomes.append("in")
            writer.transport.abort()
        except OSError:
            outcomes.append("out")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert outcomes == ["in", "in", "out", "in"]
    assert listener.turned_away == 1


def test_no_secret_key_stays_on_disk_beside_the_identity(tmp_path: Path) -> None:
    peer = Peer(tmp_path, "ana")
    peer.contexts.server([])
    assert [path.name for path in (tmp_path / "ana").iterdir()] == ["identity.key"]
    assert peer.contexts.server([]).minimum_version == ssl.TLSVersion.TLSv1_3
    assert peer.contexts.server([]).num_tickets == 0
