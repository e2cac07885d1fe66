"""Answers as clients get them: whole, refused, from elsewhere, or visibly cut."""

import asyncio
import json

import aiohttp
import pytest

from mesh.edge.gateway import child, relay
from mesh.edge.gateway.outlet import Outlet
from mesh.serving import events
from tests.edge.gateway import stand_in
from tests.edge.gateway.stage import MODEL, Stage, chat, events_of, until
from tests.edge.gateway.stand_in import (
    DONE,
    FINISH,
    PROGRESS,
    USAGE,
    WHOLE,
    Script,
    answers,
    dies_at_once,
    piece,
    refuses,
    says,
    says_nothing,
    says_then_resets,
    says_then_waits,
)

CUTS: dict[str, Script] = {
    "FIN without length": says(piece("one"), chunked=False),
    "chunked end without finish": says(piece("one")),
    "done without finish": says(piece("one"), DONE),
    "reset": says_then_resets(piece("one")),
    "no stream": says(b"<html>busy</html>\n"),
    "inside an event": says(piece("one"), b'data: {"choices":[{"ind', chunked=False),
}


async def test_a_stream_passes_as_it_is_without_what_nobody_asked_for(stage: Stage) -> None:
    server = await stage.serves(says(*WHOLE))
    status, headers, raw = await stage.chat(stream=True)
    assert (status, headers["Content-Type"]) == (200, "text/event-stream")
    assert headers["X-Fleet-Job"] == "j1"
    assert raw == piece("one") + piece(" two") + FINISH + DONE
    (asked,) = server.asked
    assert (asked["model"], asked["stream"], asked["return_progress"]) == ("inner", True, True)
    assert asked["stream_options"] == {"include_usage": True}


async def test_usage_comes_where_it_is_asked_for(stage: Stage) -> None:
    await stage.serves(says(*WHOLE))
    _, _, raw = await stage.chat(stream=True, stream_options={"include_usage": True})
    assert events_of(raw)[-2]["usage"] == {"prompt_tokens": 9, "completion_tokens": 2}
    assert b"prompt_progress" not in raw


async def test_a_plain_client_gets_one_answer_of_the_stream(stage: Stage) -> None:
    await stage.serves(says(*WHOLE))
    status, _, raw = await stage.chat()
    found = json.loads(raw)
    assert (status, found["object"]) == (200, "chat.completion")
    assert found["choices"][0]["message"]["content"] == "one two"
    assert found["usage"]["completion_tokens"] == 2


@pytest.mark.parametrize("cut", CUTS)
async def test_a_cut_stream_ends_in_an_error_that_every_client_sees(stage: Stage, cut: str) -> None:
    await stage.serves(CUTS[cut])
    status, _, raw = await stage.chat(stream=True)
    if status == 200:
        assert "error" in events_of(raw)[-1]
        assert DONE not in raw
    else:
        assert (status, "message" in json.loads(raw)["error"]) == (502, True)


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/api/chat"])
async def test_a_plain_request_whose_answer_is_cut_is_no_success(
    stage: Stage, cut: str, path: str
) -> None:
    await stage.serves(CUTS[cut])
    status, _, raw = await stage.post(path, chat(max_tokens=9))
    assert status == 502
    found = json.loads(raw)
    assert isinstance(found["error"], str) == path.startswith("/api")
    assert (found.get("type") == "error") == (path == "/v1/messages")


async def test_a_stream_of_anthropics_and_one_of_ollamas_are_cut_in_their_own_words(
    stage: Stage,
) -> None:
    await stage.serves(says_then_resets(piece("one")))
    _, _, raw = await stage.post("/v1/messages", chat(stream=True, max_tokens=9))
    assert b"event: error\ndata: " in raw
    assert b"message_stop" not in raw
    _, _, raw = await stage.post("/api/chat", chat(stream=True))
    assert "error" in json.loads(raw.splitlines()[-1])


async def test_a_server_that_is_silent_is_given_up(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "SILENCE_S", 0.3)
    await stage.serves(says_then_waits(piece("one")))
    _, _, raw = await stage.chat(stream=True)
    assert "silent" in events_of(raw)[-1]["error"]["message"]
    stage.stand_ins[0].script = says_nothing
    status, _, raw = await stage.chat()
    assert (status, "silent" in json.loads(raw)["error"]["message"]) == (502, True)


@pytest.mark.parametrize(
    ("status", "body", "told", "words"),
    [
        (400, {"error": {"message": "too long", "code": 400}}, 400, "too long"),
        (500, {"error": {"message": "no images"}}, 400, "no images"),
        (501, {"error": "not enabled"}, 400, "not enabled"),
        (422, {"detail": "bad field"}, 422, "bad field"),
        (404, {"message": "no such route"}, 404, "no such route"),
        (503, {"error": {"message": "Loading model"}}, 502, "Loading model"),
        (400, b"\xff\x00", 400, "the model's server answered 400"),
        (400, {"error": None}, 400, "the model's server answered 400"),
        (400, [1], 400, "the model's server answered 400"),
        (400, b"[" * 5000, 400, "the model's server answered 400"),
        (401, {"error": {"message": "Invalid API Key"}}, 502, "Invalid API Key"),
        (302, {}, 502, "the model's server answered 302"),
    ],
)
async def test_what_a_server_says_instead_of_an_answer_is_told_in_its_words(
    stage: Stage, status: int, body: object, told: int, words: str
) -> None:
    await stage.serves(refuses(status, body))
    got, headers, raw = await stage.chat(stream=True)
    assert (got, words in json.loads(raw)["error"]["message"]) == (told, True)
    assert (headers.get("x-should-retry") == "false") == (told < 500)


async def test_an_endless_event_is_cut_before_it_fills_the_memory(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "MAX_EVENT_BYTES", 1 << 16)

    async def endless(request, _):
        response = await stand_in.begun(request)
        while True:
            await response.write(b"data: " + b"x" * 4096)

    server = await stage.serves(endless)
    status, _, raw = await stage.chat(stream=True)
    assert (status, "an event of more than" in json.loads(raw)["error"]["message"]) == (502, True)
    await until(lambda: not server.here, "the endless server to be let go")


@pytest.mark.parametrize("more", [{"stream": True}, {"stream": False}])
async def test_an_engine_that_says_why_it_ends_a_stream_is_quoted(
    stage: Stage, more: dict[str, bool]
) -> None:
    fault = stand_in.event({"error": {"message": "context shift is off", "code": 500}})
    await stage.serves(says(piece("one"), fault))
    _, _, raw = await stage.chat(**more)
    said = events_of(raw)[-1] if more["stream"] else json.loads(raw)
    assert "context shift is off" in said["error"]["message"]


# Elsewhere


async def test_before_the_first_byte_another_server_is_tried_once(stage: Stage) -> None:
    first = await stage.serves(dies_at_once, "j1")
    second = await stage.serves(says(*WHOLE), "j2")
    status, headers, _ = await stage.chat(stream=True)
    assert (status, headers["X-Fleet-Job"]) == (200, "j2")
    assert (len(first.asked), len(second.asked)) == (1, 1)


async def test_no_server_is_tried_twice_and_no_third(stage: Stage) -> None:
    for name in ("j1", "j2", "j3"):
        await stage.serves(dies_at_once, name)
    status, headers, _ = await stage.chat()
    assert (status, "x-should-retry" in headers) == (502, False)
    assert [len(one.asked) for one in stage.stand_ins] == [1, 1, 0]


async def test_where_there_is_no_other_server_the_client_hears_what_happened(stage: Stage) -> None:
    server = await stage.serves(dies_at_once)
    status, _, raw = await stage.chat()
    assert (status, len(server.asked)) == (502, 1)
    assert "not reached" in json.loads(raw)["error"]["message"]


@pytest.mark.parametrize("more", [{"stream": True}, {"stream": False}])
async def test_after_the_first_byte_nobody_else_is_tried(
    stage: Stage, more: dict[str, bool]
) -> None:
    await stage.serves(says_then_resets(PROGRESS, piece("one")), "j1")
    second = await stage.serves(says(*WHOLE), "j2")
    status, _, raw = await stage.chat(**more)
    assert not second.asked
    assert status == (200 if more["stream"] else 502)
    assert b'"error"' in raw


@pytest.mark.parametrize("path", ["/api/chat", "/v1/messages", "/v1/chat/completions"])
async def test_half_a_call_of_a_tool_is_not_completed_by_another_server(
    stage: Stage, path: str
) -> None:
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": '{"a":'}}
    half = stand_in.event({"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]})
    await stage.serves(says_then_resets(PROGRESS, half), "j1")
    second = await stage.serves(says(*WHOLE), "j2")
    status, _, _ = await stage.post(path, chat(max_tokens=9))
    assert (status, second.asked) == (502, [])


async def test_a_server_that_breaks_in_the_prompt_is_no_loss(stage: Stage) -> None:
    await stage.serves(says_then_resets(PROGRESS), "j1")
    await stage.serves(says(*WHOLE), "j2")
    status, _, raw = await stage.chat()
    assert (status, json.loads(raw)["choices"][0]["message"]["content"]) == (200, "one two")


async def test_who_is_in_the_queue_of_a_server_that_breaks_is_told(stage: Stage) -> None:
    server = await stage.serves(says_then_waits(piece("one")))
    asking = [asyncio.create_task(stage.chat(stream=True)) for _ in range(2)]
    await until(lambda: stage.busy() == 2 and server.here == 1, "one in, one in the queue")
    (stage.home / "jobs" / "j1" / "1" / "answer.txt").unlink()
    await stage.stand_ins.pop().close()
    said = await asyncio.gather(*asking)
    assert all(b'"error"' in raw for _, _, raw in said)
    assert {status for status, _, _ in said} <= {200, 502}


async def test_a_context_that_no_server_has_is_refused_at_once(stage: Stage) -> None:
    server = await stage.serves(says(*WHOLE), context=512)
    body = chat(options={"num_ctx": 100_000})
    status, _, raw = await stage.post("/api/chat", body)
    assert (status, "512" in json.loads(raw)["error"], server.asked) == (400, True, [])


async def test_a_shut_door_sends_on_to_the_other_server(stage: Stage) -> None:
    await stage.serves(says_then_waits(piece("one")), "j1")
    asking = asyncio.create_task(stage.chat(stream=True))
    await until(lambda: stage.busy(), "the first to be in")
    await stage.serves(says(*WHOLE), "j2")
    job, one = next(pair for pair in stage.own.running() if pair[0].job_id == "j1")
    assert not stage.own.make_room(job, one)
    status, headers, _ = await stage.chat()
    assert (status, headers["X-Fleet-Job"]) == (200, "j2")
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)


# Waiting


async def test_who_waits_hears_a_comment_and_anthropics_client_a_ping(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "NOTE_S", 0.05)
    gate = asyncio.Event()

    async def slow(request, body):
        await gate.wait()
        return await says(*WHOLE)(request, body)

    await stage.serves(slow)
    for path, sign in (
        ("/v1/chat/completions", b": "),
        ("/v1/messages", b"event: ping"),
        ("/api/chat", b'{"model"'),
    ):
        gate.clear()
        body = chat(stream=True, max_tokens=9)
        async with stage.client.post(stage.url + path, json=body) as said:
            assert (await said.content.readany()).startswith(sign)
            gate.set()
            raw = await said.read()
            assert b"one" in raw
            assert b'"error"' not in raw


async def test_a_plain_client_that_waits_gets_spaces_and_then_its_answer(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "NOTE_S", 0.05)
    gate = asyncio.Event()

    async def slow(request, body):
        await gate.wait()
        return await says(*WHOLE)(request, body)

    server = await stage.serves(slow)
    async with stage.client.post(stage.url + "/v1/chat/completions", json=chat()) as said:
        assert (await said.content.readany()).strip() == b""
        gate.set()
        assert json.loads(await said.read())["choices"][0]["finish_reason"] == "stop"
    gate.clear()
    server.script = _waits_then(gate, says_then_resets(piece("one")))
    async with stage.client.post(stage.url + "/v1/chat/completions", json=chat()) as said:
        await said.content.readany()
        gate.set()
        with pytest.raises(aiohttp.ClientError):
            await said.read()


def _waits_then(gate: asyncio.Event, then: Script) -> Script:
    async def script(request, body):
        await gate.wait()
        return await then(request, body)

    return script


async def test_an_answer_that_is_told_in_another_way_is_never_begun_with_spaces(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "NOTE_S", 0.01)
    notes: list[str] = []
    waits = Outlet.waits

    async def counted(self: Outlet, note: str) -> None:
        notes.append(note)
        await waits(self, note)

    monkeypatch.setattr(Outlet, "waits", counted)
    gate = asyncio.Event()
    vectors = {"data": [{"index": 0, "embedding": [1.0, 2.0]}], "usage": {"prompt_tokens": 3}}
    server = await stage.serves(_waits_then(gate, answers(vectors)))
    body = {"model": MODEL, "input": "text"}
    asking = asyncio.create_task(stage.post("/api/embed", body))
    await until(lambda: server.here, "the server to be asked")
    await until(lambda: len(notes) > 2, "some notes to be kept back")
    gate.set()
    status, _, raw = await asking
    assert (status, json.loads(raw)["embeddings"]) == (200, [[1.0, 2.0]])


async def test_vectors_pass_and_their_tokens_are_booked(stage: Stage) -> None:
    vectors = {"data": [{"index": 0, "embedding": [1.0]}], "usage": {"prompt_tokens": 7}}
    await stage.serves(answers(vectors))
    status, _, raw = await stage.post("/v1/embeddings", {"model": MODEL, "input": "text"})
    assert (status, json.loads(raw)) == (200, vectors)
    (one,) = stage.book.served_ones
    assert (one.tally.prompt_tokens, one.failed) == (7, False)


async def test_usage_is_booked_once_whatever_became_of_a_request(stage: Stage) -> None:
    server = await stage.serves(says(*WHOLE))
    await stage.chat(stream=True)
    server.script = says_then_resets(piece("one"), piece("two"))
    await stage.chat(stream=True)
    server.script = refuses(400, {"error": "no"})
    await stage.chat()
    whole, cut, refused = stage.book.served_ones
    assert (whole.failed, whole.tally.tokens, whole.tally.prompt_tokens) == (False, 2, 9)
    assert (cut.failed, cut.tally.tokens) == (True, 2)
    assert (refused.failed, refused.tally.tokens) == (True, 0)
    await stage.book.book.step(last=True)
    (said,) = stage.signed
    (row,) = said["rows"]
    assert (row["requests"], row["errors"], row["cut"]) == (3, 2, 1)
    assert (row["generated_tokens"], row["job_id"], row["device_id"]) == (4, "j1", "d")


def test_the_scripts_say_what_an_engine_says() -> None:
    assert USAGE in WHOLE
