"""The HTTP API against a node that lives in memory: who gets in, what comes back, what streams."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientError, ClientSession, web
from aiohttp.test_utils import TestClient, TestServer

from mesh.api.errors import RequestError
from mesh.api.jobs import parse_job
from mesh.api.requests import parse_note, parse_plan
from mesh.api.wire.claims import Standing
from mesh.edge.capacity import capacity_query
from mesh.edge.http import stream, transfer
from mesh.edge.http.app import make_app
from mesh.edge.http.ports import Calibration
from mesh.edge.http.roles import PEER
from mesh.edge.jobs.forget import forget
from mesh.edge.store.ledger import ImportReport, VerifyReport
from mesh.edge.sweep import sweep_query
from mesh.ledger.event import Event
from mesh.state.fold import apply, fold
from mesh.state.jobs import JobView
from mesh.state.peer_id import peer_id
from mesh.state.state import State

TOKEN = "a-token-of-this-test"
AUTH = {"Authorization": f"Bearer {TOKEN}"}
NOW = 1_750_000_000_000


class FakeNode:
    """A test double: a node whose ledger is a list, unsigned, and whose jobs never start."""

    def __init__(self, folder: Path) -> None:
        self.folder = self.home = folder
        self.state = State()
        self.ready = True
        self.stopped = False
        self.standing: dict[str, Standing] = {}
        self.ledger: list[Event] = []
        self.bells: set[asyncio.Queue[Event | None]] = set()

    def record(self, event_type: str, device_id: str, payload: dict[str, object]) -> Event:
        seq = len(self.ledger) + 1
        event = Event(
            id=f"evt-{seq}",
            hash=f"{seq:064x}",
            timestamp="2025-06-15T15:06:40.000Z",
            device_id=device_id,
            event_type=event_type,
            payload=payload,
            author="ab" * 32,
            seq=seq,
            prev="0" * 64,
            hlc=f"{NOW + seq}-00000",
            sig="00" * 64,
            v=1,
        )
        self.ledger.append(event)
        apply(self.state, event)
        for bell in self.bells:
            bell.put_nowait(event)
        return event

    def now(self) -> int:
        return NOW

    def every_job(self) -> State:
        return fold(self.ledger, keep_ended=1 << 30)

    def status(self, *, running: bool = True) -> dict[str, object]:
        return {"events": len(self.ledger)}

    def plan(self, query: Mapping[str, object]) -> dict[str, object]:
        return {"query": {"model": parse_plan(query).model}, "placements": [], "refusals": []}

    def capacity(self, query: Mapping[str, object]) -> dict[str, object]:
        return capacity_query(self.state, query)

    def sweep(self, query: Mapping[str, object]) -> dict[str, object]:
        return sweep_query(self.state, query)

    async def submit(self, spec: Mapping[str, object]) -> str:
        job = parse_job(spec)
        job_id = job.job_id or f"j-{len(self.ledger)}"
        fact: dict[str, object] = {
            "job_id": job_id,
            "kind": "model",
            "model": job.model,
            "on": job.on,
        }
        self.record("job_submitted", "d1", fact)
        return job_id

    async def cancel(self, job_id: str) -> None:
        self.record("job_cancel_requested", "d1", {"job_id": job_id})

    async def standings(self, jobs: Sequence[JobView]) -> Mapping[str, Standing]:
        return self.standing

    async def adopt(self, job_id: str) -> dict[str, object]:
        self.record("job_adopted", "d1", {"job_id": job_id, "epoch": 1})
        return {"job_id": job_id, "epoch": 1}

    async def forget(self, job_id: str) -> dict[str, object]:
        return forget(self.home, "ab" * 32, self.state, job_id, self.every_job)

    async def note(self, text: str) -> Event:
        return self.record("note_added", "d1", {"text": parse_note(text)})

    async def add_device(self, payload: Mapping[str, object]) -> Event:
        return self.record("device_registered", str(payload["name"]), dict(payload))

    async def remove_device(self, device: str, reason: str) -> Event:
        if device not in self.state.devices:
            raise RequestError("NotFound", f"no device {device!r}", "", 404)
        return self.record("device_removed", device, {"reason": reason})

    async def calibrate(self) -> Calibration:
        event = self.record("device_registered", "d", {"name": "d"})
        return Calibration(events=[event], busy="1 of 2 cores idle")

    async def verify(self) -> VerifyReport:
        return VerifyReport(ok=True, count=len(self.ledger), findings=())

    async def import_(self, path: Path, name: str) -> ImportReport:
        lines = len((await asyncio.to_thread(path.read_bytes)).splitlines())
        return ImportReport(
            lines=lines, admitted=lines, known=0, held=0, rejected=(), rejected_count=0
        )

    def events(self, after: int = 0, limit: int | None = None) -> Iterator[tuple[int, Event]]:
        end = None if limit is None else after + limit
        return iter(list(enumerate(self.ledger, 1))[after:end])

    async def subscribe(self) -> AsyncIterator[Event]:
        bell: asyncio.Queue[Event | None] = asyncio.Queue()
        self.bells.add(bell)
        try:
            while (event := await bell.get()) is not None:
                yield event
        finally:
            self.bells.discard(bell)

    def leave_out(self) -> None:
        """End every subscription, as the node does with readers that fall behind."""
        for bell in list(self.bells):
            bell.put_nowait(None)
            self.bells.discard(bell)

    def log_path(self, job_id: str) -> Path:
        return self.folder / f"{job_id}.txt"

    def answer_path(self, job_id: str) -> Path:
        return self.folder / f"{job_id}.answer.txt"

    def all_here(self, job_id: str) -> bool:
        return True

    @property
    def owner(self) -> Any:
        return FakeOwner()

    def shutdown(self) -> None:
        self.stopped = True


class FakeOwner:
    """A test double: gives whatever is asked for."""

    def __getattr__(self, name: str) -> Any:
        async def later(*_: object) -> dict[str, object]:
            return {}

        return later


@pytest.fixture
def node(tmp_path: Path) -> FakeNode:
    return FakeNode(tmp_path)


@pytest.fixture
async def client(node: FakeNode) -> AsyncIterator[TestClient[Any, Any]]:
    async with TestClient(TestServer(make_app(node, TOKEN)), headers=AUTH) as client:
        yield client


async def refused(
    client: TestClient[Any, Any], method: str, path: str, status: int, **more: Any
) -> dict[str, str]:
    async with client.request(method, path, **more) as response:
        said: dict[str, str] = await response.json()
        assert (response.status, set(said)) == (status, {"code", "text", "hint"}), said
        return said


async def message(response: Any) -> dict[str, str]:
    """The next server-sent event's fields, comments skipped."""
    fields: dict[str, str] = {}
    while line := (await response.content.readline()).decode().rstrip("\n"):
        name, _, value = line.partition(": ")
        fields[name] = value
    return fields


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


async def test_events_stream_history_then_live_and_resume_after_a_cursor(
    client: TestClient[Any, Any], node: FakeNode
) -> None:
    for text in ("one", "two"):
        await node.note(text)
    async with client.get("/v1/events?since=1") as response:
        first = await message(response)
        assert (first["id"], json.loads(first["data"])["payload"]) == ("2", {"text": "two"})
        await node.note("three")
        assert (await message(response))["id"] == "3"
    async with client.get("/v1/events", headers={"Last-Event-ID": "2"}) as response:
        assert (await message(response))["id"] == "3"


async def test_a_stream_that_is_left_out_of_a_burst_goes_on(
    client: TestClient[Any, Any], node: FakeNode
) -> None:
    async with client.get("/v1/events") as response:
        await node.note("first")
        assert (await message(response))["id"] == "1"
        node.leave_out()
        await node.note("second")  # nobody is told
        assert (await message(response))["id"] == "2"
        await node.note("third")
        assert (await message(response))["id"] == "3"


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


async def test_logs_stream_what_was_and_what_comes_until_the_job_ends(
    client: TestClient[Any, Any], node: FakeNode
) -> None:
    await node.submit({"model": "m", "job_id": "j1"})
    node.log_path("j1").write_bytes("zwölf".encode()[:3])  # ends inside a character
    async with client.get("/v1/jobs/j1/logs") as response:
        assert json.loads((await message(response))["data"]) == {"text": "zw"}
        with node.log_path("j1").open("ab") as file:
            file.write("zwölf".encode()[3:])
        assert json.loads((await message(response))["data"]) == {"text": "ölf"}
        node.record("job_failed", "d1", {"job_id": "j1", "reason": "NoFit(mem)"})
        end = await message(response)
        assert (end["event"], json.loads(end["data"])["status"]) == ("end", "failed")
        assert await response.content.read() == b""
    async with client.get("/v1/jobs/j1/logs?history=0") as response:
        assert (await message(response))["event"] == "end"


async def test_a_stream_tells_why_its_job_waits_and_when_that_changes(
    client: TestClient[Any, Any], node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mesh.edge.http.standing.LOOK_S", 0.0)
    await node.submit({"model": "m", "job_id": "j1"})
    async with client.get("/v1/jobs/j1/logs") as response:
        for text in ("rig runs j-0", "rig is drained"):
            node.standing = {"j1": Standing(code="Busy", text=text, start_p50_ms=9)}
            told = await message(response)
            assert told["event"] == "standing"
            assert json.loads(told["data"])["waiting"] == text
        node.log_path("j1").write_text("it runs")
        assert json.loads((await message(response))["data"]) == {"text": "it runs"}


async def test_an_answer_streams_apart_from_the_log(
    client: TestClient[Any, Any], node: FakeNode
) -> None:
    await node.submit({"model": "m", "job_id": "j1"})
    node.log_path("j1").write_text("llama.cpp says much\n")
    async with client.get("/v1/jobs/j1/answer") as response:
        node.answer_path("j1").write_text("42")
        assert json.loads((await message(response))["data"]) == {"text": "42"}
        node.record("job_failed", "d1", {"job_id": "j1", "reason": "exit", "text": "exit code 7"})
        end = json.loads((await message(response))["data"])
        assert end == {"status": "failed", "reason": "exit", "text": "exit code 7"}
    await refused(client, "GET", "/v1/jobs/nope/answer", 404)


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


async def test_streams_are_bounded_and_a_closed_one_makes_room(
    client: TestClient[Any, Any], node: FakeNode
) -> None:
    await node.note("first")
    opened = [await client.get("/v1/events") for _ in range(stream.MAX_STREAMS)]
    await refused(client, "GET", "/v1/events", 503)
    opened.pop().close()
    async with asyncio.timeout(10):
        while len(node.bells) >= stream.MAX_STREAMS:
            await node.note("finds the closed socket")
            await asyncio.sleep(0)
    async with client.get("/v1/events") as response:
        assert response.status == 200
    for response in opened:
        response.close()


async def test_quiet_streams_whose_clients_left_keep_nobody_out(node: FakeNode) -> None:
    # As the daemon runs it: the test server of aiohttp ends handlers whose clients left.
    runner = web.AppRunner(make_app(node, TOKEN), handler_cancellation=False)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1/events"
    async with ClientSession(headers=AUTH) as session:
        for response in [await session.get(url) for _ in range(stream.MAX_STREAMS)]:
            response.close()
        async with asyncio.timeout(stream.KEEPALIVE_S / 2):  # before any of them writes again
            status = 503
            while status != 200:
                async with session.get(url) as response:
                    status = response.status
    await runner.cleanup()


async def test_shutdown_ends_open_streams(client: TestClient[Any, Any], node: FakeNode) -> None:
    await node.note("first")
    response = await client.get("/v1/events")
    await message(response)
    assert (await client.post("/v1/shutdown")).status == 202
    assert node.stopped
    assert client.app is not None
    await client.app.shutdown()
    async with asyncio.timeout(10):
        with suppress(ClientError):
            while await response.content.readline():
                pass


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
