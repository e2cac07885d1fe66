"""What of models other members reach, by which role, and what no range or id can reach."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from mesh.config import Config
from mesh.edge.http import roles
from mesh.edge.http.app import make_app, make_mesh_app
from mesh.edge.models.routes import MAX_SENDING, ModelRoutes
from mesh.edge.models.service import Models
from mesh.state.members import ADMIN, FORMER, MEMBER, RUNNER, VIEWER
from mesh.state.state import State
from tests.edge.http.fake_node import AUTH, TOKEN, FakeNode
from tests.edge.http.test_roles import KEY, FakeMesh
from tests.edge.models.conftest import nobodys_models

ID = "0" * 32
BETWEEN_PEERS = {
    "GET /v1/models/have",
    f"GET /v1/models/{ID}/manifest",
    f"GET /v1/models/{ID}/files/0",
    "POST /v1/models/fetch",
    f"GET /v1/models/fetches/{ID}",
}
ON_LOOPBACK = {
    "GET /v1/models/where": VIEWER,
    "GET /v1/models/fetches": VIEWER,
    f"GET /v1/models/fetches/{ID}": VIEWER,
    "POST /v1/models/pull": RUNNER,
    "POST /v1/models/push": RUNNER,
    "POST /v1/models/rm": VIEWER,
}
Client = TestClient[Any, Any]


@pytest.fixture
async def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Models]:
    nobodys_models(tmp_path, monkeypatch)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "own.gguf").write_bytes(b"GGUF" + bytes(range(256)) * 20_000)
    config = Config(name="me", metered="no", models=(str(tmp_path / "mine"),))
    made = Models(tmp_path / "home", config, None, State)
    yield made
    made.close()


@pytest.fixture
def serving(models: Models) -> Iterator[ModelRoutes]:
    made = ModelRoutes(models)
    yield made
    made.close()


async def opened(routes: ModelRoutes, where: str, role: str, folder: Path) -> Client:
    node, mesh = FakeNode(folder), FakeMesh(role)
    app = (
        make_app(node, TOKEN, mesh, routes.local_routes())  # type: ignore[arg-type]
        if where == "here"
        else make_mesh_app(node, mesh, routes.peer_routes())  # type: ignore[arg-type]
    )
    client = TestClient(TestServer(app, host="127.0.0.1"), headers=AUTH)
    await client.start_server()
    return client


@pytest.fixture
async def runner(
    serving: ModelRoutes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Client]:
    monkeypatch.setattr(roles, "key_behind", lambda _: KEY)
    client = await opened(serving, "peers", RUNNER, tmp_path)
    yield client
    await client.close()


async def code(client: Client, route: str) -> str:
    method, path = route.split()
    said = await client.request(method, path, json={} if method == "POST" else None)
    return str((await said.json()).get("code", ""))


@pytest.mark.parametrize("role", [FORMER, VIEWER, MEMBER])
async def test_who_runs_nothing_fetches_nothing(
    role: str, serving: ModelRoutes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roles, "key_behind", lambda _: KEY)
    client = await opened(serving, "peers", role, tmp_path)
    wanted = "NotAMember" if role == FORMER else "WrongRole"
    assert {await code(client, route) for route in BETWEEN_PEERS} == {wanted}
    assert {await code(client, r) for r in ON_LOOPBACK if r not in BETWEEN_PEERS} <= {
        "NoRoute",
        "MethodNotAllowed",
    }
    await client.close()


@pytest.mark.parametrize("role", [VIEWER, RUNNER, ADMIN])
async def test_the_token_s_holder_may_what_its_peer_may(
    role: str, serving: ModelRoutes, tmp_path: Path
) -> None:
    client = await opened(serving, "here", role, tmp_path)
    for route, least in ON_LOOPBACK.items():
        refused = await code(client, route) == "WrongRole"
        assert refused == (role == VIEWER and least == RUNNER), route
    await client.close()


async def test_a_member_is_told_names_sizes_and_hashes_and_no_path(
    runner: Client, tmp_path: Path
) -> None:
    said = await (await runner.get("/v1/models/have?name=OWN")).json()
    assert [one["name"] for one in said["models"]] == ["own"]
    assert str(tmp_path) not in str(said)
    model_id = said["models"][0]["quick_hash"]
    assert await (await runner.get(f"/v1/models/have?id={model_id}")).json() == said
    assert (await (await runner.get(f"/v1/models/have?id={ID}")).json())["models"] == []
    assert (await runner.get("/v1/models/have?id=../../etc")).status == 400


@pytest.mark.parametrize("name", ["/etc/passwd", "~/own.gguf", "{folder}/mine/own.gguf"])
async def test_no_member_asks_for_a_path(runner: Client, tmp_path: Path, name: str) -> None:
    path = name.format(folder=tmp_path)
    said = await (await runner.get("/v1/models/have", params={"name": path})).json()
    assert said["models"] == []


async def id_of(client: Client) -> str:
    said = await (await client.get("/v1/models/have")).json()
    return str(said["models"][0]["quick_hash"])


async def test_ranges_are_of_the_file_and_of_nothing_else(runner: Client, tmp_path: Path) -> None:
    model_id = await id_of(runner)
    data = (tmp_path / "mine" / "own.gguf").read_bytes()
    found = await runner.get(
        f"/v1/models/{model_id}/files/0", headers={"Range": "bytes=100-3000000"}
    )
    assert (found.status, await found.read()) == (206, data[100:3_000_001])
    for odd in ("", "bytes=5-4", f"bytes=0-{len(data)}", "bytes=-5", "bytes=0-", "items=0-1"):
        said = await runner.get(f"/v1/models/{model_id}/files/0", headers={"Range": odd})
        assert said.status == 416, odd
    for number in ("1", "-1", "x", "9" * 30):
        said = await runner.get(f"/v1/models/{model_id}/files/{number}")
        assert said.status == 404
    for path in (f"/v1/models/{ID}/files/0", "/v1/models/..%2f..%2fetc/files/0"):
        assert (await runner.get(path)).status == 404


async def test_a_file_that_changed_is_not_sent_under_its_old_name(
    runner: Client, tmp_path: Path
) -> None:
    model_id = await id_of(runner)
    path = tmp_path / "mine" / "own.gguf"
    with path.open("r+b") as file:
        file.seek(1000)
        file.write(b"changed")
    os.utime(path, ns=(5, 5))
    said = await runner.get(f"/v1/models/{model_id}/files/0", headers={"Range": "bytes=0-9"})
    assert said.status in (404, 409)


async def test_the_manifest_comes_when_it_is_made(runner: Client) -> None:
    model_id = await id_of(runner)
    async with asyncio.timeout(60):
        while (said := await runner.get(f"/v1/models/{model_id}/manifest")).status == 202:
            assert (await said.json())["size_bytes"] == 5_120_004
    made = await said.json()
    assert [len(one["hashes"]) for one in made["files"]] == [1]


async def test_only_so_many_are_served_at_a_time(runner: Client, serving: ModelRoutes) -> None:
    model_id = await id_of(runner)
    serving._sending = MAX_SENDING
    said = await runner.get(f"/v1/models/{model_id}/files/0", headers={"Range": "bytes=0-9"})
    assert said.status == 503
