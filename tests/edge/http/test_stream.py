"""What the HTTP API streams: events, logs and answers, and how many streams there may be."""

import asyncio
import json
from contextlib import suppress
from typing import Any

import pytest
from aiohttp import ClientError, ClientSession, web
from aiohttp.test_utils import TestClient

from mesh.api.wire.claims import Standing
from mesh.edge.http import stream
from mesh.edge.http.app import make_app
from mesh.state.fold import fold
from tests.edge.http.fake_node import AUTH, TOKEN, FakeNode, message, refused


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


async def test_a_job_that_memory_has_let_go_of_is_read_and_followed_to_its_end(
    client: TestClient[Any, Any], node: FakeNode
) -> None:
    await node.submit({"model": "m", "job_id": "j1"})
    node.log_path("j1").write_text("made")
    async with client.get("/v1/jobs/j1/logs") as response:
        assert json.loads((await message(response))["data"]) == {"text": "made"}
        node.record("job_failed", "d1", {"job_id": "j1", "reason": "exit"})
        node.state = fold(node.ledger, keep_ended=0)
        assert "j1" not in node.state.jobs
        assert (await message(response))["event"] == "end"
    async with client.get("/v1/jobs/j1/logs") as response:
        assert json.loads((await message(response))["data"]) == {"text": "made"}
        assert json.loads((await message(response))["data"])["status"] == "failed"
    assert (await (await client.get("/v1/jobs/j1")).json())["status"] == "failed"


@pytest.mark.parametrize("name", ["logs", "answer"])
async def test_a_cursor_past_the_end_of_an_output_reads_on_from_its_end(
    client: TestClient[Any, Any], node: FakeNode, name: str
) -> None:
    await node.submit({"model": "m", "job_id": "j1"})
    path = node.log_path("j1") if name == "logs" else node.answer_path("j1")
    path.write_text("so far")
    far = "9" * 18  # as a file of ext4 can't be long
    async with client.get(f"/v1/jobs/j1/{name}?since={far}") as response:
        with path.open("a") as file:
            file.write(", and on")
        async with asyncio.timeout(10):
            said = await message(response)
        assert (said["id"], json.loads(said["data"])) == ("14", {"text": ", and on"})


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
