"""The dashboard over HTTP: in by a link that works once, and no further than its pages go."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import DummyCookieJar
from aiohttp.test_utils import TestClient, TestServer

from mesh.edge.http.app import make_app, make_mesh_app
from mesh.edge.http.dashboard.guard import KEY_HEADER, MAY
from mesh.edge.http.dashboard.pages import files
from mesh.edge.http.dashboard.routes import LINK, MAX_PAGE
from tests.edge.http.fake_node import AUTH, TOKEN, FakeNode
from tests.edge.http.test_roles import BETWEEN_PEERS, FakeMesh

Client = TestClient[Any, Any]


@pytest.fixture
def node(tmp_path: Path) -> FakeNode:
    return FakeNode(tmp_path)


@pytest.fixture
async def client(node: FakeNode) -> AsyncIterator[Client]:
    """A browser that keeps no cookie by itself: each test says what is sent."""
    server, jar = TestServer(make_app(node, TOKEN)), DummyCookieJar()
    async with TestClient(server, cookie_jar=jar) as client:
        yield client


async def code_of(client: Client) -> str:
    async with client.post("/v1/dashboard/codes", headers=AUTH) as response:
        assert response.status == 201
        said = await response.json()
    assert TOKEN not in said["path"]
    return str(said["path"]).removeprefix(LINK)


async def signed_in(client: Client) -> dict[str, str]:
    """The headers of a page that was signed in."""
    code = await code_of(client)
    async with client.post("/dashboard/session", json={"code": code}) as response:
        assert response.status == 201
        (cookie,) = response.cookies.values()
        key = (await response.json())["key"]
    return {"Cookie": f"{cookie.key}={cookie.value}", KEY_HEADER: key}


async def status_of(client: Client, method: str, path: str, **more: Any) -> tuple[int, str]:
    async with client.request(method, path, **more) as response:
        said = await response.json()
        return response.status, str(said.get("code", ""))


async def test_a_link_signs_a_page_in_once(client: Client) -> None:
    code = await code_of(client)
    for expected in ((201, ""), (403, "CodeSpent")):
        asked = status_of(client, "POST", "/dashboard/session", json={"code": code})
        assert await asked == expected


async def test_the_cookie_is_kept_from_scripts_and_other_sites(client: Client) -> None:
    code = await code_of(client)
    async with client.post("/dashboard/session", json={"code": code}) as response:
        (cookie,) = response.cookies.values()
        said = await response.json()
    assert cookie.key == f"fleet-session-{client.port}"
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Strict", "/v1/")
    assert int(cookie["max-age"]) == 12 * 3600
    assert cookie.value not in said.values()


async def test_a_page_reads_and_cancels_as_the_tokens_holder_does(
    client: Client, node: FakeNode
) -> None:
    page = await signed_in(client)
    job_id = await node.submit({"model": "m", "on": "d1"})
    assert await status_of(client, "GET", "/v1/status", headers=page) == (200, "")
    plan = {"model": "llama-3.1-8b"}
    assert await status_of(client, "POST", "/v1/plan", json=plan, headers=page) == (200, "")
    cancelled = status_of(client, "POST", f"/v1/jobs/{job_id}/cancel", headers=page)
    assert await cancelled == (202, "")


@pytest.mark.parametrize("lacking", ["Cookie", KEY_HEADER])
async def test_neither_the_cookie_nor_the_key_opens_anything_alone(
    client: Client, lacking: str
) -> None:
    page = await signed_in(client)
    del page[lacking]
    assert await status_of(client, "GET", "/v1/status", headers=page) == (401, "Unauthorized")


@pytest.mark.parametrize(
    ("header", "value", "code"),
    [
        ("Origin", "http://evil.example", "BadOrigin"),
        ("Origin", "http://127.0.0.1:1", "BadOrigin"),
        ("Origin", "null", "BadOrigin"),
        ("Host", "evil.example", "BadHost"),
        ("Host", "127.0.0.1:99999", "BadHost"),
        ("Host", "localhost:x", "BadHost"),
    ],
)
async def test_a_session_is_no_use_to_pages_of_other_sites_and_ports(
    client: Client, header: str, value: str, code: str
) -> None:
    page = await signed_in(client) | {header: value}
    assert await status_of(client, "GET", "/v1/status", headers=page) == (403, code)
    spent = {"json": {"code": await code_of(client)}, "headers": {header: value}}
    assert await status_of(client, "POST", "/dashboard/session", **spent) == (403, code)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/dashboard/codes"),
        ("POST", "/v1/shutdown"),
        ("POST", "/v1/jobs"),
        ("POST", "/v1/notes"),
        ("POST", "/v1/import"),
        ("POST", "/v1/jobs/x/forget"),
        ("GET", "/v1/jobs/x"),
        ("GET", "/v1/jobs/x/answer"),
        ("HEAD", "/v1/status"),
        ("GET", "/no/such/route"),
    ],
)
async def test_a_session_opens_nothing_that_its_pages_do_not_ask(
    client: Client, node: FakeNode, method: str, path: str
) -> None:
    page = await signed_in(client)
    async with client.request(method, path, headers=page) as response:
        assert response.status == 403
    assert not node.stopped


@pytest.mark.parametrize("role", ["viewer", "runner"])
async def test_a_session_may_no_more_than_this_peers_role(tmp_path: Path, role: str) -> None:
    double: Any = FakeMesh(role)
    node = FakeNode(tmp_path)
    job_id = await node.submit({"model": "m", "on": "d1"})
    async with TestClient(TestServer(make_app(node, TOKEN, double))) as client:
        page = await signed_in(client)
        done = await status_of(client, "POST", f"/v1/jobs/{job_id}/cancel", headers=page)
    assert done == ((403, "WrongRole") if role == "viewer" else (202, ""))


async def test_codes_are_made_for_the_tokens_holder_alone(client: Client) -> None:
    assert await status_of(client, "POST", "/v1/dashboard/codes") == (401, "Unauthorized")
    wrong = {"Authorization": "Bearer x"}
    asked = status_of(client, "POST", "/v1/dashboard/codes", headers=wrong)
    assert await asked == (401, "Unauthorized")


@pytest.mark.parametrize("body", [{}, {"code": ""}, {"code": 7}, {"code": "x", "more": 1}])
async def test_a_body_that_is_no_code_is_refused(client: Client, body: dict[str, object]) -> None:
    assert (await status_of(client, "POST", "/dashboard/session", json=body))[0] == 400


async def test_who_signs_out_is_out(client: Client) -> None:
    page = await signed_in(client)
    assert await status_of(client, "POST", "/v1/dashboard/end", headers=page) == (200, "")
    assert await status_of(client, "GET", "/v1/status", headers=page) == (401, "Unauthorized")


@pytest.mark.parametrize("path", ["/dashboard/..%2F..%2Fv1/status", "/dashboard/%2e%2e/v1/status"])
async def test_no_path_below_the_files_leads_out_of_them(client: Client, path: str) -> None:
    async with client.get(path) as response:
        assert response.status in (401, 404)
        assert "events" not in await response.text()


async def test_no_other_peer_reaches_the_dashboard(tmp_path: Path) -> None:
    double: Any = FakeMesh("admin")
    app = make_mesh_app(FakeNode(tmp_path), double)
    paths = {resource.canonical for resource in app.router.resources()}
    assert not [path for path in paths if "dashboard" in path]
    assert not [path for path in BETWEEN_PEERS if "dashboard" in str(path)]


async def test_events_come_in_pages_the_newest_first(client: Client, node: FakeNode) -> None:
    for number in range(7):
        await node.note(f"note {number}")
    node.state.cursor = 7
    path = "/v1/dashboard/events"

    async def page(query: str) -> tuple[list[str], int]:
        async with client.get(path + query, headers=AUTH) as response:
            said = await response.json()
            return [event["payload"]["text"][-1] for event in said["events"]], said["last"]

    assert await page("?limit=3") == (["6", "5", "4"], 7)
    assert await page("?limit=3&before=5") == (["3", "2", "1"], 7)
    assert await page("?limit=3&before=2") == (["0"], 7)
    assert await page("?before=1") == ([], 7)
    assert await page(f"?limit={MAX_PAGE * 1000}") == (list("6543210"), 7)
    for query in ("?limit=x", "?before=-1", "?before=" + "9" * 30, "?since=1"):
        assert (await status_of(client, "GET", path + query, headers=AUTH))[0] == 400


@pytest.mark.parametrize("pattern", sorted(path for _, path in MAY))
def test_a_session_may_nothing_that_no_page_asks(pattern: str) -> None:
    asked = re.escape(pattern).replace(re.escape("{id}"), r"\$\{[^}]+\}") + '[?"`]'
    scripts = [text.decode() for name, text in files().items() if name.endswith(".js")]
    assert any(re.search(asked, text) for text in scripts)


def test_what_a_session_may_is_reads_and_these_writes() -> None:
    writes = sorted(path for method, path in MAY if method != "GET")
    assert writes == [
        "/v1/dashboard/chat",
        "/v1/dashboard/end",
        "/v1/dashboard/layers",
        "/v1/invites",
        "/v1/jobs/{id}/cancel",
        "/v1/peers/{id}/accept",
        "/v1/peers/{id}/ignore",
        "/v1/plan",
        "/v1/services",
        "/v1/services/{id}/end",
    ]
