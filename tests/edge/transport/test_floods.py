"""Strangers on the network hold connections open; members and guests come in all the same."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from mesh.edge.identity import load_or_create
from mesh.edge.pairing.book import MAX_PENDING_PER_ADDRESS, PairingBook, Pending
from mesh.edge.pairing.client import Self, join
from mesh.edge.pairing.endpoint import (
    ALL_ADDRESSES,
    LIFETIME_S,
    PER_ADDRESS,
    PairingHost,
    Welcome,
)
from mesh.edge.transport import listen as doors
from mesh.edge.transport.anteroom import MAX_PER_ADDRESS, MAX_PER_KEY
from mesh.edge.transport.link import Contexts, own_anchor, pairing_client
from mesh.edge.transport.listen import Limiter, Listener, listen
from mesh.policy import pairing
from mesh.policy.pairing import Code
from mesh.state.members import FORMER
from tests.edge.transport.peers import NOW, Peer, between, until

HALF_OPEN_PER_S = 10
FLOODERS = ("127.0.1.1", "127.0.1.2", "127.0.1.3")
JOINS = LINKS = 6
WITHIN_S = 2.0


class Host:
    """A peer's port for pairing."""

    def __init__(self, folder: Path) -> None:
        home = folder / "host"
        home.mkdir()
        self.home, self.who = home, load_or_create(home)
        self.key, self.tls = own_anchor(self.who)
        self.book, self.granted = PairingBook(home), set[str]()
        self.folder = folder

    async def grant(self, key: str, name: str, role: str, tls: str, at: str, port: int) -> Welcome:
        self.granted.add(key)
        return Welcome(
            role=role, root=self.who.author, name="host", tls=self.tls.hex(), port=1, addresses=[]
        )

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Listener]:
        host = PairingHost(
            self.key, lambda: "host", self.book, self.grant, lambda _: None, lambda: NOW
        )
        runner = web.AppRunner(host.app(), handle_signals=False, shutdown_timeout=0.1)
        await runner.setup()
        assert runner.server is not None
        context = Contexts(self.who, self.home).open_server()
        listener = Listener(
            listen("127.0.0.1", 0),
            runner.server,
            lambda: context,
            Limiter(*PER_ADDRESS, *ALL_ADDRESSES),
            LIFETIME_S,
        )
        running = asyncio.create_task(listener.run())
        try:
            yield listener
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await runner.cleanup()

    async def joins(self, port: int, count: int) -> list[float]:
        """How long each of so many machines took to get in with a code."""
        made = self.book.invite(role="runner", ttl_ms=60_000, uses=count, now=NOW)
        assert made is not None
        code = Code(
            secret=bytes.fromhex(made.secret),
            port=port,
            addresses=("127.0.0.1",),
            fingerprint=pairing.fingerprint(self.key),
        )
        took = []
        for number in range(count):
            home = self.folder / f"guest-{len(self.granted)}-{number}"
            home.mkdir()
            begin = time.perf_counter()
            await join(Self(who=load_or_create(home), name="guest", port=1), code)
            took.append(time.perf_counter() - begin)
        return took


async def idle(port: int, count: int, source: str) -> list[asyncio.StreamWriter]:
    """TLS connections that say nothing once they are made."""
    context = pairing_client()
    made = await asyncio.gather(
        *(
            asyncio.open_connection("127.0.0.1", port, ssl=context, local_addr=(source, 0))
            for _ in range(count)
        ),
        return_exceptions=True,
    )
    return [pair[1] for pair in made if not isinstance(pair, BaseException)]


@asynccontextmanager
async def half_open(port: int) -> AsyncIterator[list[socket.socket]]:
    """TCP connections without a word, from each flooder, so many a second; none is ever closed."""
    held: list[socket.socket] = []
    over = asyncio.Event()

    async def flood(source: str) -> None:
        loop = asyncio.get_running_loop()
        while not over.is_set():
            made = socket.socket()
            made.settimeout(0)
            held.append(made)
            made.bind((source, 0))
            with contextlib.suppress(OSError):
                await loop.sock_connect(made, ("127.0.0.1", port))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1 / HALF_OPEN_PER_S):
                    await over.wait()

    floods = [asyncio.create_task(flood(source)) for source in FLOODERS]
    try:
        yield held
    finally:
        over.set()
        await asyncio.gather(*floods)
        for one in held:
            one.close()


def p95(took: list[float]) -> float:
    return sorted(took)[int(0.95 * len(took))]


async def test_one_address_with_64_idle_connections_keeps_no_guest_out(tmp_path: Path) -> None:
    host = Host(tmp_path)
    async with host.serving() as listener:
        held = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(listener, "_limiter", Limiter(1e6, 10**6, 1e6, 10**6))
            held = await idle(listener.port, 64, "127.0.0.7")
        assert len(listener.room) <= MAX_PER_ADDRESS
        took = await host.joins(listener.port, JOINS)
        assert p95(took) < WITHIN_S
        assert len(host.granted) == JOINS
        for writer in held:
            writer.transport.abort()


async def test_half_open_connections_from_three_addresses_keep_no_guest_out(
    tmp_path: Path,
) -> None:
    host = Host(tmp_path)
    async with host.serving() as listener, half_open(listener.port) as held:
        await until(lambda: len(held) > 60, "a flood")
        took = await host.joins(listener.port, JOINS)
        assert p95(took) < WITHIN_S
        assert len(listener.room) <= (len(FLOODERS) + 1) * MAX_PER_ADDRESS


async def test_half_open_connections_from_three_addresses_keep_no_member_out(
    tmp_path: Path,
) -> None:
    took: list[float] = []

    async def check(ana: Peer, ben: Peer) -> None:
        ana.trust(ben)
        ben.trust(ana)
        ana.pick = list  # ben dials
        async with half_open(ana.port) as held:
            await until(lambda: len(held) > 60, "a flood")
            ben.knows(ana)
            for _ in range(LINKS):
                begin = time.perf_counter()
                await until(lambda: ben.links.get(ana.key), "the link")
                took.append(time.perf_counter() - begin)
                link = ben.links.get(ana.key)
                assert link is not None
                await link.close()
                await until(lambda link=link: ben.links.get(ana.key) is not link, "its end")
                ben.dialler.wake(ana.key)

    await between(tmp_path, check)
    assert p95(took) < WITHIN_S


async def test_a_connection_that_never_asks_is_cut_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doors, "FIRST_REQUEST_S", 0.3)
    host = Host(tmp_path)
    async with host.serving() as listener:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", listener.port, ssl=pairing_client()
        )
        writer.write(b"POST /v1/pair/hello HTTP/1.1\r\nHost: x\r\n")  # and never ends
        async with asyncio.timeout(10):
            with contextlib.suppress(ConnectionError):
                assert await reader.read(1) == b""
        writer.transport.abort()
        await until(lambda: not len(listener.room), "the end of the connection here")


async def test_a_member_has_left_the_anteroom_once_it_asked(tmp_path: Path) -> None:
    async def check(ana: Peer, ben: Peer) -> None:
        ana.trust(ben)
        ben.trust(ana)
        ana.pick = list
        ben.knows(ana)
        await until(lambda: ben.links.get(ana.key) and ana.links.get(ben.key), "the link")
        assert len(ana.room) == 0

    await between(tmp_path, check)


async def test_who_is_put_out_in_the_handshake_leaves_no_socket_behind(tmp_path: Path) -> None:
    host = Host(tmp_path)
    async with host.serving() as listener:
        listener._limiter = Limiter(1e6, 10**6, 1e6, 10**6)
        made = [
            await asyncio.open_connection("127.0.0.1", listener.port)
            for _ in range(3 * MAX_PER_ADDRESS)
        ]
        for reader, _ in made[: 2 * MAX_PER_ADDRESS]:  # the newest are let wait
            async with asyncio.timeout(doors.HANDSHAKE_S / 2):
                with contextlib.suppress(ConnectionError):
                    assert await reader.read(1) == b""
        assert len(listener.room) == MAX_PER_ADDRESS
        assert listener.room.put_out == 2 * MAX_PER_ADDRESS
        for _, writer in made:
            writer.transport.abort()
        await until(lambda: not len(listener.room), "everybody's leaving")


async def test_a_member_cannot_use_up_the_connections_of_others(tmp_path: Path) -> None:
    async def check(ana: Peer, ben: Peer) -> None:
        thief = Peer(tmp_path, "thief")
        for one in (ana, ben):
            one.trust(thief)
        thief.trust(ana)
        ana.trust(ben)
        ben.trust(ana)
        ana.pick, ben.pick = list, lambda: [ana.key]
        ben.knows(ana)
        await until(lambda: ana.links.get(ben.key), "the link")
        held = []
        for _ in range(3 * MAX_PER_KEY):
            _, writer = await asyncio.open_connection(
                "127.0.0.1",
                ana.port,
                ssl=thief.client_context(ana.key),
                server_hostname="x.invalid",
            )
            writer.write(b"GET /hang HTTP/1.1\r\nHost: x\r\n\r\n")
            await writer.drain()
            held.append(writer)
        await until(lambda: len(ana.hall) == MAX_PER_KEY + 1, "only so many of the thief's")
        assert ana.links.get(ben.key) is not None
        for writer in held:
            writer.transport.abort()

    await between(tmp_path, check)


async def test_keys_that_were_put_out_have_little_room_and_none_of_the_members(
    tmp_path: Path,
) -> None:
    async def check(ana: Peer, ben: Peer) -> None:
        thief = Peer(tmp_path, "thief")
        ana.trust(thief, FORMER)
        thief.trust(ana)
        ana.trust(ben)
        ben.trust(ana)
        ben.knows(ana)
        await until(lambda: ana.links.get(ben.key), "the link")
        held = []
        for _ in range(2 * doors.MAX_FORMER):
            _, writer = await asyncio.open_connection(
                "127.0.0.1",
                ana.port,
                ssl=thief.client_context(ana.key),
                server_hostname="x.invalid",
            )
            writer.write(b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n")
            await writer.drain()
            held.append(writer)
        await until(lambda: len(ana.hall) == doors.MAX_FORMER + 1, "only so many of the thief's")
        assert ana.links.get(ben.key) is not None
        for writer in held:
            writer.transport.abort()

    await between(tmp_path, check)


def test_one_ipv6_host_cannot_fill_the_list_of_those_who_ask(tmp_path: Path) -> None:
    book = PairingBook(tmp_path)

    def ask(number: int, address: str) -> str:
        key = f"{number:064x}"
        asked = Pending(key=key, name="x", tls="", address=address, port=0, asked_ms=NOW)
        return book.ask(asked, NOW)

    said = [ask(number, f"2001:db8:1:2::{number:x}") for number in range(1, 100)]
    assert said.count("") == MAX_PENDING_PER_ADDRESS
    assert ask(500, "2001:db8:1:3::1") == ""
