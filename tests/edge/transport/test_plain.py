"""Ports without TLS: whoever only connects, or asks and stays, keeps nobody else out."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from mesh.edge.transport import plain
from mesh.edge.transport.anteroom import Anteroom
from mesh.edge.transport.plain import (
    MAX_ASKED_EACH,
    MAX_HEADLESS,
    MAX_HEADLESS_EACH,
    Crowd,
    PlainPort,
    other_machines,
    own_programs,
)
from tests.edge.transport.peers import until

ASK = b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n"
WITHIN_S = 10
Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def served(crowd: Crowd) -> AsyncIterator[int]:
    """A server that answers /now, and /later never; yields its port."""

    async def now(request: web.Request) -> web.Response:
        return web.Response(text="now")

    async def later(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"begun")
        await asyncio.Event().wait()
        return response

    app = web.Application()
    app.add_routes([web.get("/now", now), web.get("/later", later)])
    runner = web.AppRunner(
        app, handle_signals=False, shutdown_timeout=0.1, handler_cancellation=True
    )
    await runner.setup()
    assert runner.server is not None
    listening = socket.create_server(("127.0.0.1", 0))
    number = int(listening.getsockname()[1])
    port = PlainPort(listening, runner.server, crowd)
    try:
        yield number
    finally:
        await port.close()
        await runner.cleanup()


async def connected(port: int, source: str = "127.0.0.1") -> Pair:
    return await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))


async def answered(pair: Pair, path: bytes = b"now") -> bytes:
    """What comes back, to the end of its first words; nothing where the connection is closed."""
    pair[1].write(ASK % path)
    async with asyncio.timeout(WITHIN_S):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            return await pair[0].readuntil(b"now" if path == b"now" else b"begun")
    return b""


def end(pairs: list[Pair]) -> None:
    for _, writer in pairs:
        writer.transport.abort()


@pytest.mark.parametrize(
    ("crowd", "most"), [(own_programs(), MAX_HEADLESS), (other_machines(), MAX_HEADLESS_EACH)]
)
async def test_who_only_connects_keeps_nobody_out(crowd: Crowd, most: int) -> None:
    async with served(crowd) as port:
        held = [await connected(port) for _ in range(2 * MAX_HEADLESS)]
        await until(lambda: crowd.room.put_out == len(held) - most, "all the others' leaving")
        assert len(crowd.room) == most
        asked = await connected(port)
        assert (await answered(asked)).startswith(b"HTTP/1.1 200")
        assert (await answered(asked)).startswith(b"HTTP/1.1 200"), "and is answered again"
        end([*held, asked])


async def test_many_that_ask_at_one_moment_are_all_answered() -> None:
    async with served(other_machines()) as port:
        loop, held = asyncio.get_running_loop(), list[socket.socket]()
        for _ in range(MAX_ASKED_EACH // 2):  # all wait to be accepted, what they ask is sent
            one = socket.create_connection(("127.0.0.1", port))
            one.sendall(ASK % b"now")
            one.setblocking(False)  # noqa: FBT003  its only argument, by position
            held.append(one)
        async with asyncio.timeout(WITHIN_S):
            said = await asyncio.gather(*(loop.sock_recv(one, 12) for one in held))
        assert set(said) == {b"HTTP/1.1 200"}
        for one in held:
            one.close()


async def test_a_head_that_does_not_end_is_cut_and_an_answer_under_way_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plain, "HEAD_S", 0.3)
    async with served(own_programs()) as port:
        slow, asked = await connected(port), await connected(port)
        assert (await answered(asked, b"later")).startswith(b"HTTP/1.1 200")
        slow[1].write(b"GET /now HTTP/1.1\r\nHost: x\r\n")
        async with asyncio.timeout(WITHIN_S):
            with contextlib.suppress(ConnectionError):
                assert await slow[0].read() == b""
        assert not asked[0].at_eof()
        end([slow, asked])


async def test_who_asks_and_stays_has_a_bound_too_and_ends_nobodys_answer() -> None:
    crowd = Crowd(Anteroom(), Anteroom(strangers=6, each=4, stay=True))
    async with served(crowd) as port:
        first = [await connected(port, "127.0.0.2") for _ in range(4)]
        for pair in first:
            assert (await answered(pair, b"later")).startswith(b"HTTP/1.1 200")
        more = await connected(port, "127.0.0.2")
        assert await answered(more) == b"", "of one address no more are kept"
        others = [await connected(port, f"127.0.0.{number}") for number in (3, 4, 5)]
        for pair in others:
            assert (await answered(pair)).startswith(b"HTTP/1.1 200"), "of another address"
        assert len(crowd.hall) == 6
        async with asyncio.timeout(WITHIN_S):
            with contextlib.suppress(ConnectionError):
                await first[3][0].read()  # to its end: it came last, from where the most are
        for pair in first[:3]:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await pair[0].read()
        end([*first, more, *others])
        await until(lambda: not len(crowd.hall), "everybody's leaving")


async def test_a_port_that_is_closed_accepts_nobody() -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    number = int(listening.getsockname()[1])
    port = PlainPort(listening, asyncio.Protocol, own_programs())
    await port.close()
    with pytest.raises(ConnectionError):
        await connected(number)
