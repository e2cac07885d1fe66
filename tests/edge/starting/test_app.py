"""What is answered while the daemon starts, and to whom: no more than once it is ready."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import DummyCookieJar
from aiohttp.test_utils import TestClient, TestServer

from mesh.edge.http.app import make_app
from mesh.edge.http.dashboard.guard import MAY
from mesh.edge.http.dashboard.sessions import Sessions
from mesh.edge.http.roles import NOT_FOR_PAGES, ROUTES
from mesh.edge.starting.app import starting_app
from mesh.edge.starting.progress import Starting
from tests.edge.http.fake_node import TOKEN, FakeNode
from tests.edge.http.test_dashboard import signed_in, status_of

Client = TestClient[Any, Any]


@pytest.fixture
def starting() -> Starting:
    return Starting()


@pytest.fixture
async def client(starting: Starting) -> AsyncIterator[Client]:
    app = starting_app(starting, TOKEN, Sessions())
    async with TestClient(TestServer(app), cookie_jar=DummyCookieJar()) as client:
        yield client


def asked(pattern: str) -> str:
    """A path that a pattern fits."""
    return pattern.replace("{id}", "j1").replace("{file:.+}", "main.js")


async def test_a_page_stops_no_daemon_that_starts_and_makes_no_codes(
    client: Client, starting: Starting
) -> None:
    page = await signed_in(client)
    for path in ("/v1/shutdown", "/v1/dashboard/codes"):
        assert await status_of(client, "POST", path, headers=page) == (403, NOT_FOR_PAGES)
    assert not starting.stopped


async def test_a_page_is_refused_the_same_before_and_after_the_ledger_is_open(
    client: Client, tmp_path: Path
) -> None:
    ready = make_app(FakeNode(tmp_path), TOKEN)
    routes = {(one.method, asked(one.path)) for one in ready[ROUTES]} | {("GET", "/no/such")}
    page = await signed_in(client)
    for method, path in sorted(routes):
        if path.startswith("/dashboard/") or path in ("/healthz", "/readyz", "/v1/dashboard/end"):
            continue
        may = (method, path.replace("/j1", "/{id}")) in MAY
        wanted = (503, "Starting") if may else (403, NOT_FOR_PAGES)
        assert await status_of(client, method, path, headers=page) == wanted, path
    for method, pattern in sorted(MAY - {("POST", "/v1/dashboard/end")}):
        path = asked(pattern)
        assert await status_of(client, method, path, headers=page) == (503, "Starting"), path


async def test_a_page_signs_out_while_the_daemon_starts(client: Client) -> None:
    page = await signed_in(client)
    assert await status_of(client, "POST", "/v1/dashboard/end", headers=page) == (200, "")
    assert await status_of(client, "GET", "/v1/status", headers=page) == (401, "Unauthorized")


async def test_a_host_with_a_port_that_there_is_not_is_refused(client: Client) -> None:
    for port in ("99999", "x"):
        sent = {"Host": f"127.0.0.1:{port}"}
        assert await status_of(client, "GET", "/v1/status", headers=sent) == (403, "BadHost")
