"""The port on loopback as one app takes it over from another."""

import asyncio
import socket
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
from aiohttp import ClientSession, web

from mesh.edge.starting.door import Door, url_of
from mesh.edge.transport.plain import PlainPort, own_programs


def app(says: str) -> web.Application:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=says)

    made = web.Application()
    made.router.add_get("/", answer)
    return made


async def asked(url: str) -> str:
    async with ClientSession() as session, session.get(url) as reply:
        return await reply.text()


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    made = Door(0)
    yield made
    await made.close()


async def test_who_connects_between_two_apps_is_answered_by_the_second(door: Door) -> None:
    await door.hold(app("first"))
    assert door.is_held
    url = door.url
    assert await asked(url) == "first"
    listening = await door.take()
    assert not door.is_held
    where = urlsplit(url_of(listening))
    assert url_of(listening) == url
    early = socket.create_connection((where.hostname, where.port))  # nobody answers yet
    runner = web.AppRunner(app("second"))
    await runner.setup()
    try:
        await web.SockSite(runner, listening).start()
        reader, writer = await asyncio.open_connection(sock=early)
        writer.write(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
        assert (await reader.read()).endswith(b"second")
        writer.close()
        await writer.wait_closed()
    finally:
        await runner.cleanup()


async def test_a_door_that_nobody_took_is_closed(door: Door) -> None:
    await door.hold(app("first"))
    where = urlsplit(door.url)
    await door.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((where.hostname, where.port))


async def test_a_port_that_is_taken_is_named(door: Door) -> None:
    port = urlsplit((await _held(door)).url).port
    with pytest.raises(OSError, match=f"port {port} on this machine cannot be had"):
        await Door(port or 0).hold(app("second"))


async def _held(door: Door) -> Door:
    await door.hold(app("first"))
    return door


@pytest.mark.parametrize("turns", range(8))
async def test_who_asked_just_before_the_app_changes_is_answered_all_the_same(turns: int) -> None:
    """However far its connection has come: not accepted yet, accepted, its request read."""
    door, early = Door(0), list[socket.socket]()
    await door.hold(app("first"))
    where = urlsplit(door.url)
    assert await asked(door.url) == "first"  # it waits for the next
    for _ in range(20):
        early.append(socket.create_connection((where.hostname, where.port)))
        early[-1].sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        early[-1].setblocking(False)  # noqa: FBT003  its only argument, by position
    for _ in range(turns):
        await asyncio.sleep(0)
    listening = await door.take()
    runner = web.AppRunner(app("second"))
    await runner.setup()
    assert runner.server is not None
    port = PlainPort(listening, runner.server, own_programs())
    try:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(10):
            said = await asyncio.gather(*(loop.sock_recv(one, 12) for one in early))
        assert set(said) == {b"HTTP/1.1 200"}
    finally:
        for one in early:
            one.close()
        await port.close()
        await runner.cleanup()
        await door.close()
