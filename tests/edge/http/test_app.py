"""The HTTP API against a node that lives in memory: who gets in, and what comes back."""

import json
from io import BytesIO
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from mesh.edge.http import transfer
from mesh.edge.http.app import make_app
from mesh.edge.http.roles import PEER
from mesh.state.peer_id import peer_id
from tests.edge.http.fake_node import AUTH, TOKEN, FakeNode, refused


@pytest.mark.parametrize("given", ["", "Bearer wrong", TOKEN, f"Bearer {TOKEN}x", "Bearer \xe9"])
async def test_a_missing_or_wrong_token_is_401_everywhere(
    client: TestClient[Any, Any], given: str
) -> None:
    for method, path in (("GET", "/v1/status"), ("POST", "/dispatch"), ("GET", "/nowhere")):
        said = await refused(client, method, path, 401, headers={"Authorization": given})
        assert "token" in said["text"]


async def test_health_needs_no_token_and_readiness_tells_the_truth(
    client: TestClient[Any, Any], node: FakeNode
) -> None:
    none = {"Authorization": ""}
    assert (await client.get("/healthz", headers=none)).status == 200
    assert (await client.get("/readyz", headers=none)).status == 200
    node.ready = False
    await refused(client, "GET", "/readyz", 503, headers=none)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "[::1"])
async def test_a_rebound_host_name_is_403_even_with_the_token(
    client: TestClient[Any, Any], host: str
) -> None:
    await refused(client, "GET", "/v1/status", 403, headers={"Host": host})


async def test_only_our_own_origin_may_ask(client: TestClient[Any, Any]) -> None:
    ours = f"http://127.0.0.1:{client.port}"
    assert (await client.get("/v1/status", headers={"Origin": ours})).status == 200
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1"):
        await refused(client, "GET", "/v1/status", 403, headers={"Origin": origin})


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff", b"3", b"[" * 200_000])
async def test_a_body_that_is_no_json_object_is_400(
    client: TestClient[Any, Any], body: bytes
) -> None:
    assert (await refused(client, "POST", "/v1/plan", 400, data=body))["code"] == "BadJson"


async def test_a_10_mb_body_is_413_in_our_own_words(client: TestClient[Any, Any]) -> None:
    body = BytesIO(json.dumps({"text": "x" * 10_000_000}).encode())
    assert (await refused(client, "POST", "/v1/notes", 413, data=body))["code"] == "TooLarge"


async def test_unknown_routes_methods_and_fields_are_named(client: TestClient[Any, Any]) -> None:
    await refused(client, "GET", "/v2/status", 404)
    assert "POST" in (await refused(client, "GET", "/v1/plan", 405))["hint"]
    assert (
        "colour"
        in (await refused(client, "POST", "/v1/notes", 400, json={"text": "a", "colour": 1}))[
            "text"
        ]
    )
    assert "sinse" in (await refused(client, "GET", "/v1/events?sinse=1", 400))["text"]
    await refused(client, "POST", "/v1/plan", 400, json={"model": "m", "batch": -1})
    await refused(client, "GET", "/v1/jobs/nope/logs", 404)


async def test_a_bug_shows_a_500_without_its_insides(
    client: TestClient[Any, Any], node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node, "status", lambda: 1 // 0)
    assert "division" not in str(await refused(client, "GET", "/v1/status", 500))


async def test_every_read_answers_json_on_an_empty_ledger(client: TestClient[Any, Any]) -> None:
    for path in ("status", "devices", "jobs", "verify"):
        response = await client.get(f"/v1/{path}")
        assert response.status == 200, path
        assert isinstance(await response.json(), dict)


async def test_dispatch_as_in_the_seed_is_one_job_however_often_it_is_sent(
    client: TestClient[Any, Any], node: FakeNode
) -> None:
    node.record("device_registered", "my-rtx4090", {"name": "my-rtx4090"})
    order = {"job_id": "123", "device_id": "my-rtx4090", "model": "llama-70b"}
    answers = [await client.post("/dispatch", json=order) for _ in range(3)]
    assert [a.status for a in answers] == [201, 200, 200]
    assert node.state.jobs["123"].request["on"] == "my-rtx4090"
    assert len(node.state.jobs) == 1
    await refused(client, "POST", "/dispatch", 409, json=order | {"model": "other"})
    await refused(client, "POST", "/dispatch", 404, json=order | {"job_id": "4", "device_id": "x"})


async def test_jobs_come_as_many_as_are_asked_for(
    client: TestClient[Any, Any], node: FakeNode
) -> None:
    for number in range(6):
        await node.submit({"model": "m", "job_id": f"j{number}"})
    for ended in ("j4", "j5"):
        node.record("job_failed", "d1", {"job_id": ended, "reason": "NoFit(mem)"})

    async def ids(query: str) -> set[str]:
        async with client.get(f"/v1/jobs{query}") as response:
            said = await response.json()
        assert (said["going"], said["ended"]) == (4, 2)
        return {row["job_id"] for row in said["jobs"]}

    assert len(await ids("?going=1&ended=0")) == 1
    assert len(await ids("?going=2&ended=1")) == 3
    assert len(await ids("?going=100")) == len(await ids("")) == 6
    await refused(client, "GET", "/v1/jobs?going=-1", 400)
    await refused(client, "GET", "/v1/jobs?limit=1", 400)


async def test_a_job_has_one_shape_in_a_list_and_alone(
    client: TestClient[Any, Any], node: FakeNode
) -> None:
    await node.submit({"model": "m", "job_id": "j1"})
    (listed,) = (await (await client.get("/v1/jobs")).json())["jobs"]
    alone = await (await client.get("/v1/jobs/j1")).json()
    assert alone.pop("request") == {"model": "m"}
    assert listed == alone
    assert alone["peer"] == peer_id("ab" * 32)[:7]
    assert "no device" in alone["waiting"]


async def test_an_ended_job_is_forgotten_over_http_and_one_that_runs_is_not(
    client: TestClient[Any, Any], node: FakeNode
) -> None:
    await node.submit({"model": "m", "job_id": "j1"})
    log = node.home / "jobs" / "j1" / "1" / "log.txt"
    log.parent.mkdir(parents=True)
    log.write_text("said")
    said = await refused(client, "POST", "/v1/jobs/j1/forget", 409)
    assert (said["code"], log.exists()) == ("NotEnded", True)
    node.record("job_cancelled", "d1", {"job_id": "j1"})
    for files in (1, 0):
        found = await (await client.post("/v1/jobs/j1/forget")).json()
        assert (found["files"], found["kept"]) == (files, [])
    assert not log.exists()
    await refused(client, "POST", "/v1/jobs/nope/forget", 404)
    await refused(client, "POST", "/v1/jobs/j1/forget", 400, json={"now": True})


async def test_an_upload_may_be_longer_than_any_other_body_up_to_its_own_limit(
    client: TestClient[Any, Any], node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = b"x" * 99 + b"\n"
    said = await (await client.post("/v1/import", data=BytesIO(lines * 30_000))).json()
    assert (said["lines"], said["rejected"]) == (30_000, [])
    monkeypatch.setattr(transfer, "MAX_IMPORT_BYTES", 1000)
    await refused(client, "POST", "/v1/import", 413, data=lines * 11)
    assert list(node.home.iterdir()) == []


@pytest.mark.parametrize(
    "model", ["/etc/passwd", "~/x.gguf", "http://127.0.0.1:1/x.gguf", "ollama:x", "no-such-model"]
)
async def test_another_peer_asks_about_models_by_name_only(node: FakeNode, model: str) -> None:
    @web.middleware
    async def from_a_peer(request: web.Request, handler: Any) -> web.StreamResponse:
        request[PEER] = b"k" * 32
        response: web.StreamResponse = await handler(request)
        return response

    app = make_app(node, TOKEN)
    app.middlewares.append(from_a_peer)
    async with TestClient(TestServer(app), headers=AUTH) as client:
        said = await refused(client, "POST", "/v1/plan", 404, json={"model": model})
        assert said["code"] == "UnknownModel"
        named = await client.post("/v1/plan", json={"model": "llama-3-8b"})
        assert named.status == 200


@pytest.mark.parametrize(
    ("beside", "status"),
    [
        ({"draft": "/etc/passwd"}, 404),
        ({"draft": "http://127.0.0.1:1/x.gguf"}, 404),
        ({"mmproj": "/etc/passwd"}, 404),
        ({"lora": ["/etc/passwd"]}, 404),
        ({"lora": ["160MB"], "draft": "llama-3.2-1b"}, 200),
        ({"draft": "mtp"}, 200),
    ],
)
async def test_nor_does_another_peer_have_our_files_opened_beside_a_model(
    node: FakeNode, beside: dict[str, object], status: int
) -> None:
    @web.middleware
    async def from_a_peer(request: web.Request, handler: Any) -> web.StreamResponse:
        request[PEER] = b"k" * 32
        response: web.StreamResponse = await handler(request)
        return response

    app = make_app(node, TOKEN)
    app.middlewares.append(from_a_peer)
    async with TestClient(TestServer(app), headers=AUTH) as client:
        asked = await client.post("/v1/plan", json={"model": "llama-3-8b", **beside})
        assert asked.status == status


CARD = {"model": "llama-3.2-1b", "what_if": ["RTX 3090"], "quant": "Q8_0"}


async def test_what_a_device_can_do_at_most_is_asked_over_http(client: Any) -> None:
    asked = await client.post("/v1/capacity", json={**CARD, "gpu_layers": 5, "ram": "32GB"})
    (row,) = (await asked.json())["capacities"]
    assert (row["gpu_layers"], row["layers"]) == (5, 17)
    assert row["largest_context"] > 0


async def test_a_grid_is_asked_over_http(client: Any) -> None:
    axes = {"batch": "1,2", "context": 2048, "quant": ["Q8_0", "F16"], "kv_unified": True}
    said = await (await client.post("/v1/sweep", json={**CARD, **axes})).json()
    assert len(said["cells"]) == 4
    assert {cell["verdict"] for cell in said["cells"]} == {"fit"}


@pytest.mark.parametrize(
    ("route", "field", "value"),
    [
        ("capacity", "max_price", "1"),
        ("capacity", "tokens", 100),
        ("capacity", "backend", "vulkan"),
        ("capacity", "kv_type", "auto"),
        ("capacity", "no_such", 1),
        ("sweep", "parallel", 4),
        ("sweep", "objective", "fastest"),
        ("sweep", "batch", "1..65536/1"),
        ("sweep", "batch", [1]),
        ("sweep", "quant", {"a": 1}),
        ("sweep", "max_num_seqs", 4),
    ],
)
async def test_what_says_nothing_there_is_refused_by_name(
    client: Any, route: str, field: str, value: object
) -> None:
    said = await refused(client, "POST", f"/v1/{route}", 400, json={**CARD, field: value})
    assert field in said["text"] or said["text"].startswith("cells: ")
