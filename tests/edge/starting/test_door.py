"""The port on loopback as one app takes it over from another."""

import asyncio
import socket
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
from aiohttp import ClientSession, web

from mesh.edge.starting.door import Door, url_of


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
