"""Ollama's chat and generate: what an engine is asked, and what a client reads."""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.api.errors import RequestError
from mesh.serving.family import CHAT, COMPLETIONS, NDJSON, Asked, Body, Family, Problem, Reply
from mesh.serving.ollama import (
    OllamaChat,
    OllamaGenerate,
    is_load,
    is_unload,
    loaded,
    plain_name,
)
from mesh.serving.ollama_reply import arguments

NOON = "2026-11-29T12:00:00Z"
MODEL = "tiny:latest"
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\0" * 8).decode()
HELLO: list[Body] = [{"role": "user", "content": "hello"}]
SCHEMA = {"type": "object", "properties": {"age": {"type": "integer"}}}
PROBLEM = Problem(status=502, code="EngineGone", text="the engine is gone", hint="ask again")


def noon() -> str:
    return NOON


CHATS, GENERATES = OllamaChat(noon), OllamaGenerate(noon)


def chat(**body: Any) -> Asked:
    return CHATS.read({"model": MODEL, "messages": HELLO, **body})


def generate(**body: Any) -> Asked:
    return GENERATES.read({"model": MODEL, "prompt": "hello", **body})


def messages(*said: Body) -> Any:
    return chat(messages=list(said)).body["messages"]


def data(chunk: object) -> bytes:
    return json.dumps(chunk, separators=(",", ":")).encode()


def delta(finish: str | None = None, **said: Any) -> bytes:
    return data({"choices": [{"index": 0, "delta": said, "finish_reason": finish}]})


def part(index: int, **function: str) -> Body:
    return {"index": index, "id": f"x{index}", "type": "function", "function": function}


USED = data(
    {
        "choices": [],
        "usage": {"prompt_tokens": 30, "completion_tokens": 7},
        "timings": {
            "cache_n": 20,
            "prompt_n": 10,
            "prompt_ms": 1.5,
            "predicted_n": 7,
            "predicted_ms": 20.25,
        },
    }
)
FINISH = delta("stop")
ANSWER = [
    delta(role="assistant", content=None),
    data({"choices": [{"delta": {}}], "prompt_progress": {"total": 9, "processed": 4}}),
    delta(reasoning_content="Greet "),
    delta(reasoning_content="back."),
    delta(content="Good "),
    delta(content="day"),
    delta(tool_calls=[part(0, name="weather", arguments="")]),
    delta(tool_calls=[part(0, arguments='{"city":')]),
    delta(tool_calls=[part(0, arguments=' "Bern"}')]),
    delta(tool_calls=[part(1, name="time", arguments="{}")]),
    delta("tool_calls"),
    USED,
]


def streamed(asked: Asked, chunks: Sequence[bytes]) -> tuple[Reply, list[Any]]:
    reply = asked.reply()
    written = reply.begin() + b"".join(reply.event(chunk) for chunk in chunks)
    return reply, [json.loads(line) for line in (written + reply.end()).splitlines()]


def folded(asked: Asked, chunks: Sequence[bytes]) -> Body:
    reply = asked.reply()
    for chunk in chunks:
        reply.event(chunk)
    return reply.whole()


# What the engine is asked


def test_a_chat_is_asked_as_a_stream_with_usage_and_progress() -> None:
    asked = chat()
    assert (asked.model, asked.path, asked.stream, asked.context) == ("tiny", CHAT, True, 0)
    assert asked.body == {
        "messages": HELLO,
        "stream": True,
        "stream_options": {"include_usage": True},
        "return_progress": True,
    }
    assert json.loads(asked.prefix) == HELLO


@pytest.mark.parametrize(("stream", "wants"), [(True, True), (None, True), (False, False)])
def test_a_client_gets_a_stream_unless_it_says_no(stream: object, wants: object) -> None:
    assert chat(stream=stream).stream is wants
    assert generate(stream=stream).stream is wants


def test_options_that_engines_know_are_passed_and_the_others_are_ignored() -> None:
    options = {
        "temperature": 0.5,
        "top_p": 0.9,
        "min_p": 0,
        "top_k": 40.0,
        "seed": 7,
        "stop": ["END"],
        "num_predict": 64,
        "repeat_penalty": 1.1,
        "presence_penalty": 0.1,
        "frequency_penalty": None,
        "num_ctx": 8192,
        "num_gpu": 99,
        "mirostat": "no number",
    }
    asked = chat(options=options, keep_alive="5m")
    assert asked.context == 8192
    assert {name: asked.body[name] for name in asked.body if name in (*options, "max_tokens")} == {
        "temperature": 0.5,
        "top_p": 0.9,
        "min_p": 0,
        "top_k": 40,
        "seed": 7,
        "stop": ["END"],
        "repeat_penalty": 1.1,
        "presence_penalty": 0.1,
        "max_tokens": 64,
    }
    assert "keep_alive" not in asked.body


@pytest.mark.parametrize("most", [-1, -2, 0])
def test_an_answer_without_a_limit_has_none_at_the_engine(most: int) -> None:
    assert "max_tokens" not in chat(options={"num_predict": most}).body


def test_images_come_before_the_text_as_data_urls() -> None:
    (message,) = messages({"role": "user", "content": "what is it?", "images": [PNG]})
    assert message["content"] == [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
        {"type": "text", "text": "what is it?"},
    ]


@pytest.mark.parametrize(
    ("beginning", "kind"),
    [
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "image/webp"),
        (b"GIF89a", "image/gif"),
    ],
)
def test_an_image_s_kind_is_read_from_its_first_bytes(beginning: bytes, kind: str) -> None:
    (message,) = messages({"role": "user", "images": [base64.b64encode(beginning).decode()]})
    assert message["content"][0]["image_url"]["url"].startswith(f"data:{kind};base64,")


def test_calls_get_ids_and_each_result_is_paired_with_its_call() -> None:
    asked = messages(
        {"role": "user", "content": "weather in Bern, and the time?"},
        {
            "role": "assistant",
            "thinking": "two tools",
            "tool_calls": [
                {"function": {"name": "weather", "arguments": {"city": "Bern"}}},
                {"function": {"name": "time", "arguments": {}}},
            ],
        },
        {"role": "tool", "tool_name": "time", "content": "noon"},
        {"role": "tool", "content": "rain"},
    )
    first, second = asked[1]["tool_calls"]
    assert asked[1]["reasoning_content"] == "two tools"
    assert first["function"] == {"name": "weather", "arguments": '{"city":"Bern"}'}
    assert second["function"] == {"name": "time", "arguments": "{}"}
    assert first["id"] != second["id"]
    assert (asked[2]["tool_call_id"], asked[2]["name"]) == (second["id"], "time")
    assert asked[3]["tool_call_id"] == first["id"]


def test_made_ids_have_nine_letters_and_digits_and_are_the_same_each_time() -> None:
    call = {"role": "assistant", "tool_calls": [{"function": {"name": "time"}}]}
    (first,), (second,) = (messages(call)[0]["tool_calls"] for _ in range(2))
    assert first["id"] == second["id"]
    assert len(first["id"]) == 9
    assert first["id"].isalnum()


def test_ids_that_a_client_made_are_kept() -> None:
    asked = messages(
        {"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "time"}}]},
        {"role": "tool", "tool_call_id": "a", "content": "noon"},
    )
    assert (asked[0]["tool_calls"][0]["id"], asked[1]["tool_call_id"]) == ("a", "a")


def test_a_result_without_a_call_gets_an_id_of_its_own() -> None:
    (message,) = messages({"role": "tool", "tool_name": "time", "content": "noon"})
    assert message["tool_call_id"]


def test_tools_format_and_thinking_are_said_in_the_engine_s_words() -> None:
    tool = {"type": "function", "function": {"name": "time", "parameters": {"type": "object"}}}
    asked = chat(tools=[tool], format=SCHEMA, think=False).body
    assert asked["tools"] == [tool]
    assert asked["response_format"]["json_schema"]["schema"] == SCHEMA
    assert asked["chat_template_kwargs"] == {"enable_thinking": False}
    assert chat(format="json").body["response_format"] == {"type": "json_object"}
    high = chat(think="high").body["chat_template_kwargs"]
    assert high == {"enable_thinking": True, "reasoning_effort": "high"}


def test_empty_fields_that_clients_send_change_nothing() -> None:
    empty = {"tools": [], "format": "", "think": None, "options": {}, "stream": True}
    assert chat(**empty).body == chat().body
    unset = {"suffix": "", "template": "", "system": "", "context": [1, 2], "images": []}
    assert generate(**unset, raw=False).body == generate().body


def test_a_generate_is_a_chat_of_its_system_text_and_prompt() -> None:
    asked = generate(system="be brief", images=[PNG])
    assert asked.path == CHAT
    assert asked.body["messages"][0] == {"role": "system", "content": "be brief"}
    assert asked.body["messages"][1]["content"][1] == {"type": "text", "text": "hello"}


def test_a_raw_prompt_is_completed_as_it_is() -> None:
    asked = generate(raw=True, options={"num_predict": 5})
    assert (asked.path, asked.prefix) == (COMPLETIONS, "hello")
    assert (asked.body["prompt"], asked.body["max_tokens"]) == ("hello", 5)


@pytest.mark.parametrize(
    "body",
    [
        {"suffix": "}"},
        {"template": "{{ .Prompt }}"},
        {"prompt": ""},
        {"prompt": 3},
        {"raw": True, "system": "be brief"},
        {"raw": True, "images": [PNG]},
        {"raw": True, "format": "json"},
        {"raw": True, "format": SCHEMA},
    ],
)
def test_a_generate_that_no_engine_could_answer_is_refused(body: Body) -> None:
    with pytest.raises(RequestError) as refused:
        generate(**body)
    assert refused.value.status == 400


@pytest.mark.parametrize(
    "body",
    [
        {"model": ""},
        {"messages": []},
        {"messages": "hello"},
        {"messages": ["hello"]},
        {"messages": [{"content": "no role"}]},
        {"messages": [{"role": "user", "content": ["parts"]}]},
        {"messages": [{"role": "user", "images": "one"}]},
        {"messages": [{"role": "user", "images": ["no base64!"]}]},
        {"messages": [{"role": "user", "images": [base64.b64encode(b"text").decode()]}]},
        {"messages": [{"role": "assistant", "tool_calls": {}, "thinking": 1}]},
        {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": ""}}]}]},
        {"messages": [{"role": "assistant", "tool_calls": [{"function": "time"}]}]},
        {"tools": {"name": "time"}},
        {"format": "yaml"},
        {"format": 3},
        {"think": 3},
        {"options": [1]},
        {"options": {"temperature": "hot"}},
        {"options": {"top_k": 1.5}},
        {"options": {"seed": True}},
        {"options": {"seed": 1 << 60}},
        {"options": {"stop": [1]}},
    ],
)
def test_a_chat_that_no_engine_could_answer_is_refused(body: Body) -> None:
    with pytest.raises(RequestError) as refused:
        chat(**body)
    assert refused.value.status == 400


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "content", "function", "name", "x"]), inner)
    ),
    max_leaves=8,
)
FIELDS = (
    "model messages prompt system images tools format options think raw stream suffix keep_alive"
).split()


@given(body=st.dictionaries(st.sampled_from(FIELDS), ANY), family=st.sampled_from([0, 1]))
def test_any_request_is_read_or_refused(body: Body, family: int) -> None:
    families: tuple[Family, ...] = (CHATS, GENERATES)
    with suppress(RequestError):
        asked = families[family].read({"messages": HELLO, "model": "tiny", **body})
        assert asked.body["stream"] is True
    assert is_load(body) in (True, False)
    assert is_unload(body) in (True, False)


# Names and loading


def test_a_name_loses_the_tag_that_clients_add() -> None:
    assert plain_name("tiny:latest") == "tiny"
    assert plain_name("tiny:8b") == "tiny:8b"
    assert plain_name(":latest") == ":latest"


@pytest.mark.parametrize(
    ("body", "load"),
    [
        ({"model": "tiny"}, True),
        ({"model": "tiny", "messages": []}, True),
        ({"model": "tiny", "prompt": ""}, True),
        ({"model": "tiny", "prompt": "hello"}, False),
        ({"model": "tiny", "messages": HELLO}, False),
    ],
)
def test_a_request_without_a_prompt_asks_to_load(body: Body, load: object) -> None:
    assert is_load(body) is load


@pytest.mark.parametrize(
    ("kept", "unload"),
    [(0, True), (0.0, True), ("0", True), ("0s", True), ("5m", False), (-1, False), (None, False)],
)
def test_a_model_kept_for_no_time_may_leave(kept: object, unload: object) -> None:
    assert is_unload({"keep_alive": kept}) is unload


def test_a_load_is_answered_without_words() -> None:
    assert loaded(MODEL, NOON) == {
        "model": MODEL,
        "created_at": NOON,
        "response": "",
        "done": True,
        "done_reason": "load",
    }
    left = loaded(MODEL, NOON, chat=True, unload=True)
    assert left["message"] == {"role": "assistant", "content": ""}
    assert left["done_reason"] == "unload"


# What the client reads


def test_a_chat_is_streamed_line_by_line_and_its_calls_come_whole() -> None:
    reply, lines = streamed(chat(), ANSWER)
    assert reply.media == NDJSON
    assert all((line["model"], line["created_at"]) == (MODEL, NOON) for line in lines)
    assert [line["message"] for line in lines] == [
        {"role": "assistant", "content": "", "thinking": "Greet "},
        {"role": "assistant", "content": "", "thinking": "back."},
        {"role": "assistant", "content": "Good "},
        {"role": "assistant", "content": "day"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {"function": {"name": "weather", "arguments": {"city": "Bern"}}},
                {"function": {"name": "time", "arguments": {}}},
            ],
        },
        {"role": "assistant", "content": ""},
    ]
    assert [line["done"] for line in lines] == [False] * 5 + [True]


def test_the_last_line_counts_all_tokens_of_the_prompt_and_the_engine_s_time() -> None:
    last = streamed(chat(), [FINISH, USED])[1][-1]
    assert {name: last[name] for name in last if name not in ("model", "created_at")} == {
        "message": {"role": "assistant", "content": ""},
        "done": True,
        "done_reason": "stop",
        "total_duration": 21_750_000,
        "load_duration": 0,
        "prompt_eval_count": 30,
        "prompt_eval_duration": 1_500_000,
        "eval_count": 7,
        "eval_duration": 20_250_000,
    }


def test_an_engine_that_times_nothing_is_said_to_have_taken_no_time() -> None:
    usage = data({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}})
    last = streamed(chat(), [FINISH, usage])[1][-1]
    assert (last["prompt_eval_count"], last["eval_count"]) == (3, 2)
    assert last["total_duration"] == last["eval_duration"] == 0


def test_an_engine_that_says_no_usage_is_counted_by_its_timings() -> None:
    timings = {"prompt_n": 4, "cache_n": 6, "predicted_n": 2, "prompt_ms": -1, "predicted_ms": "x"}
    last = streamed(chat(), [FINISH, data({"choices": [], "timings": timings})])[1][-1]
    assert (last["prompt_eval_count"], last["eval_count"]) == (10, 2)
    assert last["total_duration"] == 0


@pytest.mark.parametrize(
    ("said", "told"), [("length", "length"), ("tool_calls", "stop"), ("stop", "stop")]
)
def test_the_reason_of_the_end_is_said_in_ollama_s_words(said: str, told: str) -> None:
    assert streamed(chat(), [delta(said)])[1][-1]["done_reason"] == told
    assert folded(chat(), [delta(said)])["done_reason"] == told


def test_a_generate_says_a_response_and_its_thinking() -> None:
    _, lines = streamed(generate(), ANSWER)
    assert "".join(line["response"] for line in lines) == "Good day"
    assert "".join(line.get("thinking", "") for line in lines) == "Greet back."
    assert all("message" not in line for line in lines)


def test_a_raw_completion_is_read_from_its_text() -> None:
    chunks = [
        data({"choices": [{"text": " wor", "finish_reason": None}]}),
        data({"choices": [{"text": "ld", "finish_reason": "length"}]}),
    ]
    answer = folded(generate(raw=True), chunks)
    assert (answer["response"], answer["done_reason"]) == (" world", "length")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", {}),
        (" {} ", {}),
        ('{"a": [1]}', {"a": [1]}),
        ("[1]", {"arguments": "[1]"}),
        ('{"cut": ', {"arguments": '{"cut": '}),
    ],
)
def test_arguments_that_are_no_object_are_said_as_their_text(text: str, told: Body) -> None:
    assert arguments(text) == told


def test_deep_arguments_are_said_as_their_text() -> None:
    deep = '{"a":' * 150 + "1" + "}" * 150
    assert arguments(deep) == {"arguments": deep}


def test_waiting_is_a_line_without_words() -> None:
    (line,) = chat().reply().waits("loading").splitlines()
    assert json.loads(line)["message"] == {"role": "assistant", "content": ""}
    assert json.loads(line)["done"] is False
    assert json.loads(generate().reply().waits("loading"))["response"] == ""


def test_a_break_is_a_line_with_an_error() -> None:
    reply = chat().reply()
    reply.event(delta(content="Good"))
    assert json.loads(reply.breaks(PROBLEM)) == {"error": "the engine is gone; ask again"}
    assert CHATS.refusal(PROBLEM) == GENERATES.refusal(PROBLEM) == {"error": PROBLEM.words}
    assert not reply.done


@pytest.mark.parametrize("error", [{"message": "no memory", "code": 500}, "no memory"])
def test_an_engine_s_own_error_is_told_once_and_the_answer_is_not_done(error: object) -> None:
    reply = chat().reply()
    assert json.loads(reply.event(data({"error": error}))) == {"error": "no memory"}
    assert reply.event(FINISH) == reply.breaks(PROBLEM) == b""
    assert not reply.done


def test_an_error_always_has_words_for_clients_skip_one_without() -> None:
    assert json.loads(chat().reply().event(data({"error": {"code": 500}})))["error"]
    assert CHATS.refusal(Problem(status=502, code="", text=""))["error"]
    assert json.loads(chat().reply().breaks(Problem(status=502, code="", text="/tmp/\udcff")))


def test_no_character_of_an_answer_ends_a_line_early() -> None:
    text = "a\x85b\u2028c\u2029d\x0b\x0c\x1c\x1d\x1e\r\n"
    written = chat().reply().event(delta(content=text))
    assert len(written.decode().splitlines()) == 1
    assert json.loads(written)["message"]["content"] == text


def test_nothing_but_counts_is_read_after_the_last_word() -> None:
    reply = chat().reply()
    reply.event(FINISH)
    late = [delta(content="late"), data({"error": "late"}), USED]
    assert b"".join(reply.event(chunk) for chunk in late) == b""
    assert reply.whole()["message"]["content"] == ""
    assert reply.whole()["eval_count"] == 7


def test_an_answer_that_was_cut_is_not_said_to_be_done() -> None:
    reply = chat().reply()
    reply.event(delta(content="Goo"))
    assert not reply.done
    assert reply.whole()["done"] is False


def in_one(lines: Sequence[Mapping[str, Any]]) -> Body:
    """What a client that puts the lines together has in the end."""
    parts = [line["message"] for line in lines]
    whole: Body = {"role": "assistant", "content": "".join(p["content"] for p in parts)}
    if thinking := "".join(p.get("thinking", "") for p in parts):
        whole["thinking"] = thinking
    if calls := [call for p in parts for call in p.get("tool_calls", [])]:
        whole["tool_calls"] = calls
    return {**lines[-1], "message": whole}


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
PIECES = st.one_of(
    st.builds(lambda text: delta(content=text), TEXTS),
    st.builds(lambda text: delta(reasoning_content=text), TEXTS),
    st.builds(
        lambda index, name, text: delta(tool_calls=[part(index, name=name, arguments=text)]),
        st.integers(0, 2),
        TEXTS,
        TEXTS | st.sampled_from(["{", '"a":', "1", "}", "{}"]),
    ),
)


@given(pieces=st.lists(PIECES, max_size=12))
def test_the_whole_answer_is_its_lines_put_together(pieces: list[bytes]) -> None:
    chunks = [*pieces, FINISH, USED]
    assert in_one(streamed(chat(), chunks)[1]) == folded(chat(), chunks)


NAMES = (
    "choices delta content text tool_calls function name arguments index finish_reason usage "
    "timings prompt_tokens prompt_n prompt_ms predicted_n error message reasoning_content"
).split()
NONSENSE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)
    ),
    max_leaves=12,
)
CHUNKS = st.one_of(
    st.binary(max_size=20),
    NONSENSE.map(data),
    st.builds(lambda said: data({"choices": [{"delta": said}]}), NONSENSE),
    st.builds(lambda calls: delta(tool_calls=calls), NONSENSE),
    st.builds(lambda usage: data({"usage": usage, "timings": usage}), NONSENSE),
    st.sampled_from([FINISH, USED, b"[" * 5000, b'{"choices":[{"delta":{"content":"\\ud800"}}]}']),
)
ASKED: tuple[Callable[[], Asked], ...] = (chat, generate)


@given(chunks=st.lists(CHUNKS, max_size=8), asked=st.sampled_from(ASKED))
def test_no_reply_fails_whatever_an_engine_says(
    chunks: list[bytes], asked: Callable[[], Asked]
) -> None:
    reply = asked().reply()
    written = reply.begin() + reply.waits("loading")
    written += b"".join(reply.event(chunk) for chunk in chunks)
    written += reply.end() + reply.breaks(PROBLEM)
    assert all(isinstance(json.loads(line), dict) for line in written.decode().splitlines())
    assert json.loads(msgspec.json.encode(reply.whole()))["model"] == MODEL
