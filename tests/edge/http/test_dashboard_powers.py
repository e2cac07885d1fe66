"""What a page may change: by its own session, this peer's role, and less than the token may."""

import asyncio
import functools
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import DummyCookieJar, web
from aiohttp.test_utils import TestClient, TestServer

from mesh.api.errors import RequestError
from mesh.edge.capacity import layer_query
from mesh.edge.gateway.local import gateway_routes
from mesh.edge.http.app import make_app
from mesh.edge.http.dashboard.guard import KEY_HEADER
from mesh.edge.http.dashboard.routes import layer_routes
from mesh.edge.http.peers import PAGE_TTL_MS
from mesh.edge.http.transfer import EXPORTING
from mesh.edge.store.ledger import Ledger
from tests.edge.http.fake_node import AUTH, NOW, TOKEN, FakeNode
from tests.edge.http.test_dashboard import signed_in, status_of
from tests.support.waiting import wait_until

Client = TestClient[Any, Any]
# Method, path, the least role, and a body that is right.
ROUTES: tuple[tuple[str, str, str, dict[str, object]], ...] = (
    ("GET", "/v1/peers/pending", "", {}),
    ("GET", "/v1/export", "", {}),
    ("GET", "/v1/jobs/j1/files", "", {}),
    ("POST", "/v1/dashboard/layers", "", {"model": "llama-3.1-8b", "quant": "Q4_K_M"}),
    ("POST", "/v1/invites", "admin", {"role": "runner"}),
    ("POST", "/v1/peers/cid/accept", "admin", {"role": "viewer"}),
    ("POST", "/v1/peers/cid/ignore", "admin", {}),
    ("POST", "/v1/services", "member", {"spec": {"model": "m", "context": 2048, "on": "any"}}),
    ("POST", "/v1/services/s1/end", "member", {}),
    ("POST", "/v1/dashboard/chat", "member", {"model": "m", "messages": []}),
)
EVENTS = 3
RANK = ("", "viewer", "member", "runner", "admin")


class Mesh:
    """A test double: a desk that keeps to the role, as the real one does, and writes down what it
    was asked."""

    def __init__(self, role: str, *, founded: bool = True) -> None:
        self.role, self.asked = role, list[str]()
        self.is_founded = founded

    def own_role(self) -> str:
        return self.role

    def founded(self) -> bool:
        return self.is_founded

    def pending(self) -> list[dict[str, object]]:
        return []

    async def invite(self, role: str, ttl_ms: int, uses: int) -> dict[str, object]:
        return self._done(f"invite {role}")

    async def accept(self, peer: str, role: str) -> dict[str, object]:
        return self._done(f"accept {peer} {role}")

    def ignore(self, peer: str) -> dict[str, object]:
        return self._done(f"ignore {peer}")

    def _done(self, what: str) -> dict[str, object]:
        if self.role != "admin":
            raise RequestError("WrongRole", "only an admin decides who belongs", "", 403)
        self.asked.append(what)
        return {"recovery_words": []}


class Files:
    """A test double: a job that left nothing."""

    async def listed(self, job_id: str) -> dict[str, object]:
        return {"files": [], "more": False, "here": True}


class Front:
    """A test double: keeps nothing up, and writes down what it was asked."""

    url = ""

    def __init__(self) -> None:
        self.asked: list[Mapping[str, object]] = []
        self.services = self

    async def keep(self, spec: Mapping[str, object], **_: int) -> object:
        self.asked.append(spec)
        return SimpleNamespace(
            service_id="s", home="h", model="m", min_replicas=0, max_replicas=1, idle_ms=0
        )

    async def end(self, service_id: str) -> None:
        self.asked.append({"end": service_id})

    async def chat(self, request: web.Request) -> web.Response:
        self.asked.append(await request.json())
        return web.json_response({})


@asynccontextmanager
async def served(
    folder: Path, role: str = "admin", *, founded: bool = True
) -> AsyncIterator[tuple[Client, Mesh, Front]]:
    """A daemon's loopback, with a ledger of three events beside it."""
    with Ledger.open(folder) as ledger:
        for number in range(EVENTS):
            ledger.append("note_added", "", {"text": f"note {number}"}, NOW)
    node: Any = FakeNode(folder)
    mesh, front = Mesh(role, founded=founded), Front()
    node.files = Files()
    node.record("job_submitted", "d1", {"job_id": "j1", "kind": "command", "command": ["true"]})
    double: Any = mesh
    app = make_app(
        node, TOKEN, double, [*gateway_routes(cast(Any, front)), *layer_routes(layer_query)]
    )
    async with TestClient(TestServer(app), cookie_jar=DummyCookieJar()) as client:
        yield client, mesh, front


async def answered(client: Client, method: str, path: str, **more: Any) -> tuple[int, str]:
    if path == "/v1/export":  # lines, and no JSON
        async with client.request(method, path, headers=more["headers"]) as response:
            code = (await response.json())["code"] if response.status >= 400 else ""
            return response.status, code
    return await status_of(client, method, path, **more)


@pytest.mark.parametrize(("method", "path", "role", "body"), ROUTES)
async def test_a_route_asks_for_the_token_or_for_both_halves_of_a_session(
    tmp_path: Path, method: str, path: str, role: str, body: dict[str, object]
) -> None:
    async with served(tmp_path) as (client, mesh, front):
        page = await signed_in(client)
        without_key = {"Cookie": page["Cookie"]}
        wrong_key = {**page, KEY_HEADER: "x" * 43}
        for headers in ({}, {"Authorization": "Bearer x"}, without_key, wrong_key):
            sent = {"headers": headers} | ({"json": body} if method == "POST" else {})
            assert await answered(client, method, path, **sent) == (401, "Unauthorized")
        for foreign, code in (
            ({"Origin": "http://evil.example"}, "BadOrigin"),
            ({"Origin": "null"}, "BadOrigin"),
            ({"Host": "evil.example"}, "BadHost"),
        ):
            sent = {"headers": page | foreign} | ({"json": body} if method == "POST" else {})
            assert await answered(client, method, path, **sent) == (403, code)
        assert not mesh.asked
        assert not front.asked


@pytest.mark.parametrize("has", RANK[1:])
@pytest.mark.parametrize(("method", "path", "role", "body"), ROUTES)
async def test_a_page_may_what_this_peers_role_allows(
    tmp_path: Path, method: str, path: str, role: str, body: dict[str, object], has: str
) -> None:
    async with served(tmp_path, has) as (client, mesh, front):
        page = await signed_in(client)
        sent = {"headers": page} | ({"json": body} if method == "POST" else {})
        status, code = await answered(client, method, path, **sent)
        if RANK.index(has) >= RANK.index(role):
            assert status in (200, 201), code
        else:
            assert (status, code) == (403, "WrongRole")
            assert not mesh.asked
            assert not front.asked


ADMIN_ROLE = {"role": "admin"}


@pytest.mark.parametrize("path", ["/v1/invites", "/v1/peers/cid/accept"])
async def test_a_page_makes_nobody_an_admin_and_founds_no_fleet(tmp_path: Path, path: str) -> None:
    async with served(tmp_path) as (client, mesh, _):
        page = await signed_in(client)
        asked = status_of(client, "POST", path, headers=page, json=ADMIN_ROLE)
        assert await asked == (403, "NotForPages")
        assert not mesh.asked
        with_token = status_of(client, "POST", path, headers=AUTH, json=ADMIN_ROLE)
        assert (await with_token)[0] in (200, 201)
    async with served(tmp_path / "other", founded=False) as (client, mesh, _):
        page = await signed_in(client)
        assert await status_of(client, "POST", path, headers=page) == (403, "NotForPages")
        assert not mesh.asked
        assert (await status_of(client, "POST", path, headers=AUTH))[0] in (200, 201)


@pytest.mark.parametrize("more", [{"uses": 2}, {"ttl_ms": PAGE_TTL_MS + 1}])
async def test_a_pages_invite_is_for_one_machine_and_a_day(
    tmp_path: Path, more: dict[str, int]
) -> None:
    async with served(tmp_path) as (client, mesh, _):
        page = await signed_in(client)
        asked = status_of(client, "POST", "/v1/invites", headers=page, json=more)
        assert await asked == (403, "NotForPages")
        assert not mesh.asked
        longest = {"uses": 1, "ttl_ms": PAGE_TTL_MS}
        assert (await status_of(client, "POST", "/v1/invites", headers=page, json=longest))[
            0
        ] == 201
        assert (await status_of(client, "POST", "/v1/invites", headers=AUTH, json=more))[0] == 201


@pytest.mark.parametrize(
    "more",
    [{"on": "vast-1"}, {"on": "rig"}, {"env": {"A": "b"}}, {"cwd": "/"}, {"command": ["id"]},
     {"label": "x"}, {"priority": 100}, {"engine": "vllm"}],
)  # fmt: skip
async def test_a_page_serves_on_no_named_machine_and_with_no_options_of_its_own(
    tmp_path: Path, more: dict[str, object]
) -> None:
    body = {"spec": {"model": "m", **more}}
    async with served(tmp_path) as (client, _, front):
        page = await signed_in(client)
        asked = status_of(client, "POST", "/v1/services", headers=page, json=body)
        assert await asked == (403, "NotForPages")
        assert not front.asked
        assert (await status_of(client, "POST", "/v1/services", headers=AUTH, json=body))[0] == 201
        assert front.asked


async def test_an_export_is_every_event_and_leaves_no_file(tmp_path: Path) -> None:
    async with served(tmp_path) as (client, _, _):
        async with client.get("/v1/export", headers=await signed_in(client)) as response:
            lines = (await response.read()).splitlines()
        assert len(lines) == EVENTS
        assert all(b'"sig":' in line for line in lines)
        left = functools.partial(tmp_path.glob, ".*export*")
        await asyncio.to_thread(wait_until, lambda: not list(left()), "the file is gone")


async def test_one_export_is_made_at_a_time_and_what_one_left_is_removed(tmp_path: Path) -> None:
    async with served(tmp_path) as (client, _, _):
        page = await signed_in(client)
        assert client.app is not None
        (tmp_path / ".export-0123").write_text("half")
        async with client.app[EXPORTING]:
            second = answered(client, "GET", "/v1/export", headers=page)
            assert await second == (409, "Busy")
        assert await answered(client, "GET", "/v1/export", headers=page) == (200, "")
        assert not (tmp_path / ".export-0123").exists()


async def test_layers_add_up_to_the_weights_and_a_wrong_field_is_named(tmp_path: Path) -> None:
    body = {"model": "llama-3.1-8b", "quant": "Q4_K_M", "context": 4096, "batch": 2}
    async with served(tmp_path) as (client, _, _):
        async with client.post("/v1/dashboard/layers", json=body, headers=AUTH) as response:
            said = await response.json()
        assert len(said["layers"]) == 32
        # 8 heads of 128 numbers, K and V, at two bytes, for 4,096 tokens of two sequences
        assert {one["cache_bytes"] for one in said["layers"]} == {2 * 4096 * 2 * 8 * 128 * 2}
        outside = sum(said[name] for name in ("embedding_bytes", "output_bytes", "other_bytes"))
        whole = outside + sum(one["weights_bytes"] for one in said["layers"])
        assert whole == pytest.approx(4.92e9, rel=0.005)  # as the file that people download
        for wrong in ({"quant": "Q1"}, {"quant": None}, {"model": "no-such"}, {"more": 1}):
            asked = {key: value for key, value in {**body, **wrong}.items() if value is not None}
            sent = status_of(client, "POST", "/v1/dashboard/layers", json=asked, headers=AUTH)
            assert (await sent)[0] in (400, 404)
