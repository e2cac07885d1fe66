"""What peers may ask of this one's servers, and what an asking peer makes of what it hears."""

import asyncio
import json
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from mesh.api.errors import RequestError
from mesh.edge.gateway import fleet
from mesh.edge.gateway.fleet import REPLICAS, SERVE
from mesh.edge.gateway.peers import MAX_KEY_ID, ServeRoutes
from mesh.edge.http.guard import shape_errors
from mesh.edge.http.roles import ROLE
from mesh.serving.family import CHAT, EMBEDDINGS
from mesh.state.members import FORMER, MEMBER, RUNNER, VIEWER
from tests.edge.gateway.stage import MODEL, SOON_S, Stage, events_of, until
from tests.edge.gateway.stand_in import (
    PROGRESS,
    WHOLE,
    answers,
    piece,
    refuses,
    says,
    says_nothing,
    says_then_resets,
    says_then_waits,
)
from tests.state.job_story import ANA, BEN, event, life


class NoServices:
    """A test double: somebody waits, and hears for what."""

    async def demand(self, service_id: str) -> str:
        return f"{service_id} is loading"


@dataclass
class Door:
    """A stage's routes for peers, and the role of whoever asks."""

    stage: Stage
    url: str = ""
    role: str = RUNNER
    seen: list[web.Request] = field(default_factory=list)

    async def post(self, job_id: str, body: object) -> tuple[int, bytes]:
        data = BytesIO(body if isinstance(body, bytes) else json.dumps(body).encode())
        async with self.stage.client.post(f"{self.url}{SERVE}/{job_id}", data=data) as said:
            return said.status, await said.read()


@pytest.fixture
async def door(stage: Stage) -> AsyncIterator[Door]:
    made = Door(stage)

    @web.middleware
    async def know(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        request[ROLE] = made.role
        return await handler(request)

    app = web.Application(middlewares=[shape_errors, know])
    routes = ServeRoutes(stage.own, NoServices()).routes()
    app.add_routes([route.definition() for route in routes])
    runner = web.AppRunner(app, shutdown_timeout=0.1)  # as the mesh's: it cancels no handler
    await runner.setup()
    sock = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(runner, sock).start()
    made.url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    yield made
    await runner.cleanup()


def asked(**more: object) -> dict[str, object]:
    return {"path": CHAT, "body": {"messages": []}, "key_id": "k1", **more}


@pytest.mark.parametrize("role", [VIEWER, MEMBER, FORMER, ""])
async def test_who_may_run_nothing_here_asks_nothing_here(door: Door, role: str) -> None:
    server = await door.stage.serves(says(*WHOLE))
    door.role = role
    status, _ = await door.post("j1", asked())
    assert (status, server.asked) == (403, [])
    async with door.stage.client.post(f"{door.url}/v1/services/s1/demand") as said:
        assert said.status == 403
    async with door.stage.client.get(door.url + REPLICAS) as said:
        assert said.status == (200 if role in (VIEWER, MEMBER) else 403)


async def test_a_runner_gets_the_answer_and_what_it_cost(door: Door) -> None:
    server = await door.stage.serves(says(*WHOLE))
    status, raw = await door.post("j1", asked())
    assert (status, raw) == (200, b"".join(WHOLE) + b": cost_nusd=0\n\n")
    assert server.asked == [{"messages": [], "model": "inner"}]
    assert [one.key_id for one in door.stage.book.served_ones] == ["k1"]
    await door.post("j1", asked(path=EMBEDDINGS))
    async with door.stage.client.post(f"{door.url}/v1/services/s1/demand") as said:
        assert await said.json() == {"note": "s1 is loading"}


@pytest.mark.parametrize("path", ["/slots/0?action=erase", "/props", "/v1/models", "/", "../x"])
async def test_no_other_route_of_a_server_is_reached(door: Door, path: str) -> None:
    server = await door.stage.serves(says(*WHOLE))
    status, raw = await door.post("j1", asked(path=path))
    assert (status, json.loads(raw)["code"], server.asked) == (404, "NoRoute", [])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no",
        b"[]",
        b"\xff",
        {"path": CHAT},
        {"path": 1, "body": {}},
        {"path": CHAT, "body": []},
        {"path": CHAT, "body": {}, "key_id": 1},
        {"path": CHAT, "body": {}, "key_id": "k" * (MAX_KEY_ID + 1)},
        {"path": CHAT, "body": {}, "more": 1},
    ],
)
async def test_a_body_that_makes_no_sense_is_one_clear_line(door: Door, body: object) -> None:
    server = await door.stage.serves(says(*WHOLE))
    status, raw = await door.post("j1", body)
    said = json.loads(raw)
    assert (status, server.asked) == (400, [])
    assert said["text"]
    assert "\n" not in said["text"]


@pytest.mark.parametrize("job_id", ["j2", "prompt", "..%2F..%2Fj1", "%00", "j1%2F1", "x" * 900])
async def test_what_does_not_serve_here_is_not_asked(door: Door, job_id: str) -> None:
    server = await door.stage.serves(says(*WHOLE))
    door.stage.tell(*life("prompt")[:3])
    status, raw = await door.post(job_id, asked())
    assert (status in (400, 404, 503), server.asked, len(raw) < 400) == (True, [], True)


async def test_a_refusal_is_one_and_keeps_its_words(door: Door) -> None:
    await door.stage.serves(refuses(500, {"error": {"message": "no images"}}))
    status, raw = await door.post("j1", asked())
    assert (status, json.loads(raw)["text"]) == (400, "no images")


async def test_a_broken_answer_breaks_the_connection_off(door: Door) -> None:
    await door.stage.serves(says_then_resets(piece("one")))
    with pytest.raises(aiohttp.ClientError):
        await door.post("j1", asked())


@pytest.mark.parametrize(
    "script",
    [says_nothing, says_then_waits(PROGRESS), says_then_waits(piece("one"))],
    ids=["before the head", "in the prompt", "in the answer"],
)
async def test_a_peer_that_goes_away_frees_its_slot(door: Door, script: Any) -> None:
    server = await door.stage.serves(script)
    asking = asyncio.create_task(door.post("j1", asked()))
    await until(lambda: server.here, "the server to be asked")
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await until(lambda: not door.stage.busy() and not server.here, "the slot to be free", SOON_S)


async def test_a_peer_that_leaves_the_queue_takes_nobodys_turn(door: Door) -> None:
    server = await door.stage.serves(says_nothing)
    first = asyncio.create_task(door.post("j1", asked()))
    await until(lambda: server.here, "the server to be asked")
    second = asyncio.create_task(door.post("j1", asked()))
    await until(lambda: door.stage.busy() == 2, "the second to wait")
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    await until(lambda: door.stage.busy() == 1, "its place to be free", SOON_S)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await until(lambda: not door.stage.busy(), "the slot to be free", SOON_S)


# Asking another peer


class Ben:
    """A test double: a linked peer with a server; `replicas` is what it says of it."""

    def __init__(self) -> None:
        self.replicas: object = {"replicas": [{"job_id": "b1", "ready": True}]}
        self.poured: list[Any] = []
        self.parts: list[bytes] = list(WHOLE)
        self.fails: RequestError | None = None
        self.calls = 0

    async def call(self, key: bytes, method: str, path: str, body: Any = None) -> Any:
        self.calls += 1
        if isinstance(self.replicas, BaseException):
            raise self.replicas
        return self.replicas

    async def pour(self, key: bytes, path: str, body: bytes) -> AsyncGenerator[bytes, None]:
        self.poured.append((path, json.loads(body)))
        for part in self.parts:
            yield part
        if self.fails is not None:
            raise self.fails


@pytest.fixture
def ben(stage: Stage) -> Ben:
    made = Ben()
    stage.peers = made
    stage.linked.add(bytes.fromhex(BEN))
    at = {"device": "bd", "job_id": "b1", "attempt": 1}
    stage.tell(
        event("device_registered", -99, BEN, "bd"),
        event("job_submitted", 1, BEN, job_id="b1", kind="server", model=MODEL),
        event("job_dispatched", 2, BEN, **at),
        event("job_started", 3, BEN, pid=9, **at),
    )
    return made


async def test_another_peers_server_answers_and_says_what_it_cost(stage: Stage, ben: Ben) -> None:
    ben.parts = [b": queued: 1 before you\n\n", *WHOLE, b": cost_nusd=17\n\n"]
    status, headers, raw = await stage.chat(stream=True)
    assert (status, headers["X-Fleet-Job"], b"cost" in raw) == (200, "b1", False)
    ((path, body),) = ben.poured
    assert (path, body["path"], body["key_id"]) == (f"{SERVE}/b1", CHAT, "")


async def test_a_peer_that_breaks_off_is_a_cut(stage: Stage, ben: Ben) -> None:
    ben.parts = [piece("one")]
    ben.fails = RequestError("Unanswered", "it broke off", "", 504)
    _, _, raw = await stage.chat(stream=True)
    assert "broke off" in events_of(raw)[-1]["error"]["message"]


async def test_where_a_peer_does_not_begin_our_own_server_answers(stage: Stage, ben: Ben) -> None:
    server = await stage.serves(says(*WHOLE), "z1")
    ben.parts, ben.fails = [], RequestError("NotServed", "b1 does not serve here", "", 503)
    (stage.home / "jobs" / "z1" / "1" / "answer.txt").rename(stage.home / "later")
    asking = asyncio.create_task(stage.chat())
    await until(lambda: ben.poured, "the peer to be asked first: it is ready")
    (stage.home / "later").rename(stage.home / "jobs" / "z1" / "1" / "answer.txt")
    status, headers, _ = await asking
    assert (status, headers["X-Fleet-Job"]) == (200, "z1")
    assert (len(ben.poured), len(server.asked)) == (1, 1)


async def test_busy_elsewhere_is_503_with_a_time(stage: Stage, ben: Ben) -> None:
    ben.parts, ben.fails = [], RequestError("Busy", "256 requests wait", "", 503)
    status, headers, _ = await stage.chat()
    assert (status, int(headers["Retry-After"]) > 0) == (503, True)


@pytest.mark.parametrize(
    "replicas",
    [
        None,
        [],
        "x",
        {"replicas": 7},
        {"replicas": [7]},
        {"replicas": [{"job_id": 7}]},
        {"replicas": [{"job_id": "b1", "wait_ms": -1}]},
        {"replicas": [{"job_id": "b1", "wait_ms": 1 << 63}]},
        {"replicas": [{"job_id": "b1", "ready": "yes"}]},
        {"replicas": [{"job_id": f"x{n}"} for n in range(100_000)]},
        RequestError("Unanswered", "it is not there", "", 503),
        TimeoutError(),
    ],
    ids=range(12),
)
async def test_whatever_a_peer_says_of_its_servers_ours_answer(
    stage: Stage, ben: Ben, replicas: object
) -> None:
    ben.replicas = replicas
    await stage.serves(says(*WHOLE), "z1")
    status, headers, _ = await stage.chat()
    assert (status, headers["X-Fleet-Job"]) == (200, "z1")
    assert len(stage.fleet._owners[BEN].rows) <= fleet.MAX_ROWS


async def test_a_peer_says_nothing_of_the_servers_of_others(stage: Stage, ben: Ben) -> None:
    await stage.serves(says(*WHOLE), "j1")
    ben.replicas = {"replicas": [{"job_id": "j1", "ready": True, "wait_ms": 1 << 40}]}
    rows = {job.job_id: row for job, row in await stage.fleet.rows()}
    assert (rows["j1"].wait_ms, rows["b1"]) == (0, None)


async def test_a_peer_that_is_not_linked_is_not_asked(stage: Stage, ben: Ben) -> None:
    stage.linked.clear()
    await stage.serves(says(*WHOLE), "z1")
    assert (await stage.chat())[1]["X-Fleet-Job"] == "z1"
    assert ben.calls == 0


async def test_many_who_ask_at_once_ask_a_peer_once(stage: Stage, ben: Ben) -> None:
    await asyncio.gather(*(stage.chat() for _ in range(8)))
    assert ben.calls == 1


async def test_another_peers_vectors_come_without_its_comments(stage: Stage, ben: Ben) -> None:
    ben.parts = [b": queued\n\n: queued\n\n", b'{"data":', b"[]}"]
    status, _, raw = await stage.post("/v1/embeddings", {"model": MODEL, "input": "x"})
    assert (status, raw) == (200, b'{"data":[]}')
    assert answers({}) is not None
    assert ANA != BEN
