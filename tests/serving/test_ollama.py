"""Ollama's chat and generate: what an engine is asked."""

import base64
import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.api.errors import RequestError
from mesh.serving.family import CHAT, COMPLETIONS, Body, Family
from mesh.serving.ollama import (
    is_load,
    is_unload,
    loaded,
    plain_name,
)
from tests.serving.ollama_said import (
    CHATS,
    GENERATES,
    HELLO,
    MODEL,
    NOON,
    PNG,
    SCHEMA,
    chat,
    generate,
    messages,
)


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
