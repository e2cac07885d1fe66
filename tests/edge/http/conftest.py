"""The HTTP API against a node in memory, and a client with its token."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from mesh.edge.http.app import make_app
from tests.edge.http.fake_node import AUTH, TOKEN, FakeNode


@pytest.fixture
def node(tmp_path: Path) -> FakeNode:
    return FakeNode(tmp_path)


@pytest.fixture
async def client(node: FakeNode) -> AsyncIterator[TestClient[Any, Any]]:
    async with TestClient(TestServer(make_app(node, TOKEN)), headers=AUTH) as client:
        yield client
