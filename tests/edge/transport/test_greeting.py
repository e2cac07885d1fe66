"""The first words on a link: peers a version apart talk, others are named and left in peace."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from mesh.cli.machines import doctor, peers
from mesh.edge.discovery.sightings import MDNS, Sighting
from mesh.edge.transport.dial import APART_PAUSE_S, SYNC_PATH
from mesh.edge.transport.expected import Expected
from mesh.edge.transport.link import MAX_MESSAGE_BYTES, SERVER_NAME, LinkClosed, greet
from mesh.state.peer_id import peer_id
from tests.edge.transport.peers import NOW, Peer, between, until

NEWER = "speaks sync version 3, this peer 1 and 2: update fleet here"


@asynccontextmanager
async def knocking(ana: Peer, ben: Peer, **greeting: object) -> AsyncIterator[Any]:
    """A link from Ana to Ben, spoken by hand; yields the socket once both have greeted."""
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(
            f"https://127.0.0.1:{ben.port}{SYNC_PATH}",
            ssl=ana.client_context(ben.key),
            server_hostname=SERVER_NAME,
            max_msg_size=0,
        ) as socket,
    ):
        await socket.send_str(json.dumps({"now_ms": NOW} | greeting))
        said = json.loads((await socket.receive()).data)
        assert said == {"now_ms": NOW, "sync": [1, 2]}
        yield socket


@asynccontextmanager
async def answering(
    ben: Peer, talk: Callable[[web.WebSocketResponse], Awaitable[None]]
) -> AsyncIterator[int]:
    """A port that shows Ben's key and speaks by hand; yields the port."""

    async def serve(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(max_msg_size=0)
        await socket.prepare(request)
        await talk(socket)
        with contextlib.suppress(TypeError, RuntimeError):
            while not socket.closed:
                await socket.receive()
        return socket

    app = web.Application()
    app.add_routes([web.get(SYNC_PATH, serve)])
    runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=0.1)
    await runner.setup()
    context = ben.contexts.server(ben.anchors.values())
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    try:
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


def friends(ana: Peer, ben: Peer) -> None:
    ana.trust(ben)
    ben.trust(ana)
    ana.pick = ben.pick = list  # nobody dials by itself


@pytest.mark.parametrize(
    ("greeting", "version"),
    [({}, 1), ({"sync": [1, 2]}, 2), ({"sync": [2, 3], "new": {"a": 1}}, 2), ({"sync": [1]}, 1)],
)
async def test_a_link_speaks_the_highest_version_of_both(
    tmp_path: Path, greeting: dict[str, object], version: int
) -> None:
    async def check(ana: Peer, ben: Peer) -> None:
        friends(ana, ben)
        async with knocking(ana, ben, **greeting):
            await until(lambda: ben.links.get(ana.key), "the link")
            link = ben.links.get(ana.key)
            assert link is not None
            assert (link.version, link.apart) == (version, "")

    await between(tmp_path, check)


async def test_who_is_dialled_by_a_program_too_new_says_so_and_ends_the_link(
    tmp_path: Path,
) -> None:
    async def check(ana: Peer, ben: Peer) -> None:
        friends(ana, ben)
        async with knocking(ana, ben, sync=[3]) as socket:
            await until(lambda: ben.links.apart, "the reason")
            async with asyncio.timeout(10):
                assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
        assert ben.links.apart == {ana.key: NEWER}
        assert ben.links.all() == []
        async with knocking(ana, ben, sync=[2, 3]):  # brought up to date
            await until(lambda: ben.links.get(ana.key), "the link")
            assert ben.links.apart == {}

    await between(tmp_path, check)


async def test_who_dials_a_program_too_new_says_so_and_waits_long(tmp_path: Path) -> None:
    dials = 0

    async def greet(socket: web.WebSocketResponse) -> None:
        nonlocal dials
        dials += 1
        await socket.send_str(json.dumps({"now_ms": NOW, "sync": [3]}))

    async def check(ana: Peer, ben: Peer) -> None:
        friends(ana, ben)
        ana.pick = lambda: [ben.key]
        async with answering(ben, greet) as port:
            ana.knows(ben, port)
            await until(lambda: ana.tried(port), "the dial")
            assert ana.tried(port) == f"it {NEWER}"
            assert ana.links.apart == {ben.key: NEWER}
            patience = ana.dialler._patience[ben.key]
            await until(lambda: patience.fails, "its note")
            left = patience.until_s - asyncio.get_running_loop().time()
            assert left > APART_PAUSE_S / 2 - 5
            assert dials == 1

    await between(tmp_path, check)


async def test_the_side_that_accepts_takes_no_message_over_the_cap(tmp_path: Path) -> None:
    async def check(ana: Peer, ben: Peer) -> None:
        friends(ana, ben)
        async with knocking(ana, ben, sync=[2]) as socket:
            await socket.send_bytes(bytes(MAX_MESSAGE_BYTES))
            await until(lambda: ben.got, "the largest message")
            await socket.send_bytes(bytes(MAX_MESSAGE_BYTES + 2))
            await until(lambda: not ben.links.all(), "the end of the link")
        assert [len(data) for _, data in ben.got] == [MAX_MESSAGE_BYTES]

    await between(tmp_path, check)


async def test_the_side_that_dials_takes_no_message_over_the_cap(tmp_path: Path) -> None:
    async def shout(socket: web.WebSocketResponse) -> None:
        await socket.send_str(json.dumps({"now_ms": NOW, "sync": [2]}))
        await socket.receive()
        await socket.send_bytes(bytes(MAX_MESSAGE_BYTES))
        await socket.send_bytes(bytes(MAX_MESSAGE_BYTES + 2))

    async def check(ana: Peer, ben: Peer) -> None:
        friends(ana, ben)
        ana.pick = lambda: [ben.key]
        async with answering(ben, shout) as port:
            ana.knows(ben, port)
            await until(lambda: ana.got, "the largest message")
            await until(lambda: ben.key in ana.links.ended_ms, "the end of the link")
            ana.pick = list
        assert {len(data) for _, data in ana.got} == {MAX_MESSAGE_BYTES}

    await between(tmp_path, check)


async def test_a_flood_of_announcements_does_not_hide_where_a_member_was_met(
    tmp_path: Path,
) -> None:
    async def check(ana: Peer, ben: Peer) -> None:
        name = peer_id(ben.who.author)
        ana.book.remember(name, ("127.0.0.1", ben.port), NOW)
        for number in range(400):
            ana.book.see(
                Sighting(
                    source=MDNS,
                    peer_id=name,
                    name="ben",
                    address=(f"127.0.2.{number % 250}", 1 + number),
                    pairing_port=0,
                    seen_ms=NOW,
                )
            )
        found = list(ana.book.candidates(name, [("127.0.0.9", 1)]))
        assert ("127.0.0.1", ben.port) in [address for address, _ in found[:3]]
        assert ("127.0.0.9", 1) in [address for address, _ in found[:3]]
        ana.trust(ben)
        ben.trust(ana)
        ben.pick = list
        ana.dialler.wake(ben.key)
        await until(lambda: ana.links.get(ben.key), "the link")

    await between(tmp_path, check)


async def test_members_are_expected_where_they_were_met_and_where_they_say_they_are(
    tmp_path: Path,
) -> None:
    async def check(ana: Peer, ben: Peer) -> None:
        friends(ana, ben)
        expected = Expected(ana.links, ana.book, lambda: [(ben.key, [("2001:db8::5", 7)])])
        ana.book.remember(peer_id(ben.who.author), ("10.0.0.8", 7), NOW)
        assert expected.is_place("10.0.0.8")
        assert expected.is_place("::ffff:10.0.0.8")
        assert expected.is_place("2001:db8::99")
        assert not expected.is_place("10.0.0.9")
        assert not expected.is_place("127.0.0.1")
        async with knocking(ben, ana, sync=[2]):
            await until(lambda: ana.links.get(ben.key), "the link")
            assert Expected(ana.links, ana.book, list).is_place("127.0.0.1")
        ana.forget(ben)
        await ana.links.drop_strangers()
        assert not Expected(ana.links, ana.book, list).is_place("127.0.0.1")

    await between(tmp_path, check)


def test_people_see_whose_program_is_too_old() -> None:
    row = {
        "peer_id": "A" * 56,
        "name": "ben",
        "you": False,
        "state": "offline",
        "sources": {},
        "apart": NEWER,
    }
    assert peers._state(row) == NEWER
    assert peers._state(row | {"apart": ""}) == "offline"
    said: dict[str, Any] = {"dials": [], "skews": []}
    assert ("peer ben", NEWER) in [check[:2] for check in doctor._check_peers(said, [row])]


class Says:
    """A socket that answers a greeting with one text."""

    def __init__(self, data: object) -> None:
        self.data = data

    async def send_str(self, data: str) -> None: ...

    async def receive(self) -> "Says":
        return self


ODD = [
    '{"now_ms": 1e999}', '{"now_ms": NaN}', '{"now_ms": -5}', '{"now_ms": true}', '{"now_ms": "7"}',
    '{"now_ms": ' + "9" * 400 + "}", "[" * 100_000, '{"a":' * 50_000, "[7]", "7", "", None, b"\xff",
]  # fmt: skip


@pytest.mark.parametrize("said", ODD)
async def test_whatever_is_said_in_place_of_a_greeting_ends_one_link_and_nothing_else(
    said: object,
) -> None:
    with pytest.raises(LinkClosed, match="did not greet"):
        await greet(Says(said), lambda: NOW)  # type: ignore[arg-type]
