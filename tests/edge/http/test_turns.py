"""Questions that take time: two at once, in order, and none for somebody who has left."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestClient, TestServer, make_mocked_request

from mesh.edge.http.app import make_app
from mesh.edge.http.guard import (
    AT_ONCE,
    MAX_QUESTIONS_OF_A_PEER,
    MAX_WAITING,
    PEER,
    TURNS,
    HttpRefusal,
    Turns,
)
from tests.edge.http.fake_node import AUTH, TOKEN, FakeNode

PATIENCE_S = 30.0


class SlowNode(FakeNode):
    """Plans that take as long as the test says."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.begun: list[str] = []
        self.go_on = threading.Event()

    def plan(self, query: Mapping[str, object]) -> dict[str, object]:
        self.begun.append(str(query["model"]))
        assert self.go_on.wait(PATIENCE_S)
        return super().plan(query)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[SlowNode]:
    made = SlowNode(tmp_path)
    yield made
    made.go_on.set()


@pytest.fixture
async def client(node: SlowNode) -> AsyncIterator[TestClient[Any, Any]]:
    async with TestClient(TestServer(make_app(node, TOKEN))) as client:
        yield client


def asked(client: TestClient[Any, Any], model: str) -> asyncio.Task[int]:
    async def ask() -> int:
        async with client.post("/v1/plan", json={"model": model}, headers=AUTH) as response:
            return response.status

    return asyncio.create_task(ask())


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not true():  # noqa: ASYNC110  what is awaited happens in threads, too
            await asyncio.sleep(0.01)


async def test_a_question_whose_page_moved_on_is_dropped_before_it_starts(
    client: TestClient[Any, Any], node: SlowNode
) -> None:
    first = [asked(client, f"first-{n}") for n in range(AT_ONCE)]
    await until(lambda: len(node.begun) == AT_ONCE)
    await leave(client)
    last = asked(client, "last")
    async with client.get("/healthz") as response:  # the loop is free all the while
        assert response.status == 200
    node.go_on.set()
    assert [await one for one in [*first, last]] == [200] * (AT_ONCE + 1)
    assert "left" not in node.begun


async def leave(client: TestClient[Any, Any]) -> None:
    """Ask by a connection that is closed before the answer."""
    turns = client.app[TURNS]
    async with ClientSession() as session:
        url = client.make_url("/v1/plan")
        gone = asyncio.create_task(session.post(url, json={"model": "left"}, headers=AUTH))
        await until(lambda: turns.waiting == 1)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)


async def test_a_member_that_asks_much_leaves_turns_to_the_others() -> None:
    turns, go_on = Turns(), threading.Event()

    def slow(question: Mapping[str, object]) -> dict[str, Any]:
        assert go_on.wait(PATIENCE_S)
        return dict(question)

    def take(key: bytes) -> asyncio.Task[dict[str, Any]]:
        here = Mock(**{"is_closing.return_value": False})
        request = make_mocked_request("POST", "/v1/plan", transport=here)
        request[PEER] = key
        return asyncio.create_task(turns.take(request, slow, {}))

    ben = [take(b"ben") for _ in range(MAX_QUESTIONS_OF_A_PEER)]
    await until(lambda: turns.waiting == MAX_QUESTIONS_OF_A_PEER - AT_ONCE)
    with pytest.raises(HttpRefusal, match="questions wait"):
        await take(b"ben")
    cid = take(b"cid")
    go_on.set()
    assert await asyncio.gather(*ben, cid) == [{}] * (MAX_QUESTIONS_OF_A_PEER + 1)
    assert await take(b"ben") == {}


async def test_who_asks_beyond_the_line_is_told_to_come_again(
    client: TestClient[Any, Any], node: SlowNode
) -> None:
    waiting = [asked(client, f"m{n}") for n in range(AT_ONCE + MAX_WAITING)]
    turns = client.app[TURNS]
    await until(lambda: turns.waiting == MAX_WAITING)
    assert await asked(client, "one more") == 503
    node.go_on.set()
    assert {await one for one in waiting} == {200}
