"""One stream for all of a browser's pages: devices each second, and that the ledger grew."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import DummyCookieJar
from aiohttp.test_utils import TestClient, TestServer, make_mocked_request

from mesh.edge.http import stream
from mesh.edge.http.app import make_app
from mesh.edge.http.dashboard.live import live_routes
from mesh.edge.http.roles import PEER
from mesh.edge.http.stream import Streams
from tests.edge.http.fake_node import AUTH, TOKEN, FakeNode
from tests.edge.http.test_dashboard import signed_in

Client = TestClient[Any, Any]


class Pictures:
    """A test double: pictures when the test says so."""

    def __init__(self) -> None:
        self.come: asyncio.Queue[int] = asyncio.Queue()
        self.ended = asyncio.Event()

    async def pictures(self) -> AsyncIterator[dict[str, int]]:
        try:
            while True:
                yield {"at_ms": await self.come.get()}
        finally:
            self.ended.set()


@pytest.fixture
def node(tmp_path: Path) -> FakeNode:
    return FakeNode(tmp_path)


@pytest.fixture
async def pictures() -> Pictures:
    return Pictures()


@pytest.fixture
async def client(node: FakeNode, pictures: Pictures) -> AsyncIterator[Client]:
    double: Any = pictures
    server, jar = TestServer(make_app(node, TOKEN, more=live_routes(double))), DummyCookieJar()
    async with TestClient(server, cookie_jar=jar) as client:
        yield client


async def said(response: Any) -> tuple[str, Any]:
    lines = [(await response.content.readline()).decode().strip() for _ in range(3)]
    assert lines[2] == ""
    return lines[0].removeprefix("event: "), json.loads(lines[1].removeprefix("data: "))


async def test_pages_hear_of_devices_and_of_the_ledger_only_where_it_grew(
    client: Client, node: FakeNode, pictures: Pictures
) -> None:
    node.state.cursor = 3
    async with client.get("/v1/dashboard/live", headers=AUTH) as response:
        for at_ms, cursor in ((1, 3), (2, 3), (3, 9)):
            node.state.cursor = cursor
            pictures.come.put_nowait(at_ms)
            assert await said(response) == ("devices", {"at_ms": at_ms})
            if at_ms != 2:
                assert await said(response) == ("ledger", {"last": cursor})
    pictures.come.put_nowait(4)
    await pictures.ended.wait()


async def test_a_session_that_ends_ends_its_stream(client: Client, pictures: Pictures) -> None:
    page = await signed_in(client)
    async with client.get("/v1/dashboard/live", headers=page) as response:
        pictures.come.put_nowait(1)
        assert (await said(response))[0] == "devices"
        assert (await said(response))[0] == "ledger"
        async with client.post("/v1/dashboard/end", headers=page) as ended:
            assert ended.status == 200
        pictures.come.put_nowait(2)
        assert await response.content.read() == b""


async def test_the_live_stream_takes_no_questions_and_no_strangers(client: Client) -> None:
    for path, headers, status in (("?peer=all", AUTH, 400), ("", {}, 401)):
        async with client.get(f"/v1/dashboard/live{path}", headers=headers) as response:
            assert response.status == status


async def test_a_member_that_holds_streams_locks_no_other_member_out() -> None:
    streams = Streams()
    tasks = [asyncio.create_task(asyncio.sleep(0)) for _ in range(stream.MAX_STREAMS_OF_A_PEER)]

    def asks(key: bytes) -> Any:
        request = make_mocked_request("GET", "/v1/telemetry")
        request[PEER] = key
        return request

    for task in tasks:
        assert streams.room_for(asks(b"ben"))
        streams[task] = asks(b"ben")
    assert not streams.room_for(asks(b"ben"))
    assert streams.room_for(asks(b"cid"))
    await asyncio.gather(*tasks)
