"""What a page is told bit by bit ends with its session, however that ends, and no sooner."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientPayloadError, DummyCookieJar, web
from aiohttp.test_utils import TestClient, TestServer

from mesh.edge.gateway.local import gateway_routes
from mesh.edge.http import transfer
from mesh.edge.http.app import make_app
from mesh.edge.http.dashboard import sessions
from mesh.edge.store.ledger import Ledger
from tests.edge.http.fake_node import AUTH, NOW, TOKEN, FakeNode, message
from tests.edge.http.test_dashboard import signed_in

Client = TestClient[Any, Any]
WITHIN_S = 10


class Front:
    """A test double: a model that says one word and thinks on."""

    url = ""

    def __init__(self) -> None:
        self.services, self.left = self, asyncio.Event()

    async def chat(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            await response.write(b"well")
            await asyncio.sleep(1000)
        finally:
            self.left.set()
        return response


@pytest.fixture
async def front() -> Front:
    return Front()


@pytest.fixture
def node(tmp_path: Path) -> FakeNode:
    return FakeNode(tmp_path)


@pytest.fixture
async def client(node: FakeNode, front: Front) -> AsyncIterator[Client]:
    double: Any = front
    app = make_app(node, TOKEN, more=gateway_routes(double))
    async with TestClient(TestServer(app), cookie_jar=DummyCookieJar()) as client:
        yield client


async def signs_out(client: Client, page: dict[str, str]) -> None:
    async with client.post("/v1/dashboard/end", headers=page) as response:
        assert response.status == 200


async def is_displaced(client: Client, page: dict[str, str]) -> None:
    for _ in range(sessions.MAX_SESSIONS):
        await signed_in(client)


async def waits(client: Client, page: dict[str, str]) -> None:
    """Its time runs out by itself."""


Ends = Callable[[Client, dict[str, str]], Awaitable[None]]


@pytest.mark.parametrize(
    ("ends", "day_s"), [(signs_out, 1000.0), (is_displaced, 1000.0), (waits, 0.5)]
)
async def test_a_jobs_output_ends_with_the_session_that_reads_it(
    client: Client, node: FakeNode, monkeypatch: pytest.MonkeyPatch, ends: Ends, day_s: float
) -> None:
    monkeypatch.setattr(sessions, "SESSION_TTL_S", day_s)
    await node.submit({"model": "m", "job_id": "j1"})
    node.log_path("j1").write_text("so far")
    page = await signed_in(client)
    async with (
        client.get("/v1/jobs/j1/logs", headers=page) as theirs,
        client.get("/v1/jobs/j1/logs", headers=AUTH) as ours,
    ):
        for reader in (theirs, ours):
            assert json.loads((await message(reader))["data"]) == {"text": "so far"}
        await ends(client, page)
        async with asyncio.timeout(WITHIN_S):
            assert await theirs.content.read() == b""
        with node.log_path("j1").open("a") as file:
            file.write(", and on")
        said = json.loads((await message(ours))["data"])
        assert said == {"text": ", and on"}, "who shows the token reads on"


async def test_a_chat_breaks_off_when_its_page_signs_out(client: Client, front: Front) -> None:
    page = await signed_in(client)
    async with client.post("/v1/dashboard/chat", headers=page, json={}) as response:
        assert await response.content.readany() == b"well"
        await signs_out(client, page)
        async with asyncio.timeout(WITHIN_S):
            with pytest.raises(ClientPayloadError):  # what came must not look whole
                await response.content.read()
            await front.left.wait()


async def test_an_export_breaks_off_when_its_page_signs_out(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Ledger.open(tmp_path) as ledger:
        ledger.append("note_added", "", {"text": "x" * 9000}, NOW)
    begun = asyncio.Event()

    async def sent(request: web.Request, path: Path, size_bytes: int) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = size_bytes
        await response.prepare(request)
        await response.write(b"{")
        begun.set()
        await asyncio.sleep(1000)
        return response

    monkeypatch.setattr(transfer, "_sent", sent)
    page = await signed_in(client)
    async with client.get("/v1/export", headers=page) as response:
        await begun.wait()
        await signs_out(client, page)
        async with asyncio.timeout(WITHIN_S):
            with pytest.raises(ClientPayloadError):
                await response.content.read()
