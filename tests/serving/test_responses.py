"""The Responses API over llama.cpp's own events: recorded from the engine, and whatever else."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mesh.api.errors import RequestError
from mesh.serving.events import EventReader
from mesh.serving.family import RESPONSES, Asked, Problem
from mesh.serving.responses import Responses
from mesh.serving.responses_stream import ResponsesReply

# Streams of xllamacpp 2026.10.11549 with models that say given pieces; asked with return_progress.
# In "calls" and "patch" the limit of tokens cut the second call.
GOLDEN = Path(__file__).parents[1] / "golden" / "serving"
FAMILY = Responses(now_s=lambda: 1_795_000_000)
WEATHER = {"type": "function", "name": "get_weather", "parameters": {"type": "object"}}
PATCH = {
    "type": "custom",
    "name": "apply_patch",
    "description": "Changes files.",
    "format": {"type": "grammar", "syntax": "lark", "definition": "start: LINE+"},
}
PATCH_TEXT = '*** Begin\nPatch é "q"'
BROKEN = Problem(status=502, code="EngineDied", text="the engine died")


def read(**body: Any) -> Asked:
    return FAMILY.read({"model": "qwen3-8b", "input": "hi", **body})


def reply_of(**body: Any) -> ResponsesReply:
    reply = read(**body).reply()
    assert isinstance(reply, ResponsesReply)
    return reply


def recorded(name: str) -> list[bytes]:
    return EventReader().feed((GOLDEN / f"responses_{name}.sse").read_bytes())


def play(reply: ResponsesReply, events: list[bytes]) -> list[dict[str, Any]]:
    """What a client reads; the `event:` line always names the type."""
    sent = reply.begin() + b"".join(reply.event(one) for one in events)
    assert reply.done
    sent += reply.end()
    blocks = [block.split(b"\n") for block in sent.split(b"\n\n") if block]
    found = [json.loads(data.removeprefix(b"data: ")) for _, data in blocks]
    assert [name for name, _ in blocks] == [f"event: {one['type']}".encode() for one in found]
    return found


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [one["type"].removeprefix("response.") for one in events]


def refused(**body: Any) -> RequestError:
    with pytest.raises(RequestError) as caught:
        read(**body)
    assert caught.value.status == 400
    assert "\n" not in caught.value.text
    return caught.value


def test_an_engine_is_asked_for_a_stream_with_signs_of_life() -> None:
    asked = read(stream=False, store=True, include=["reasoning.encrypted_content"], top_p=None)
    assert (asked.path, asked.model, asked.stream) == (RESPONSES, "qwen3-8b", False)
    assert asked.body == {"input": "hi", "stream": True, "return_progress": True}
    assert read(stream=True).stream


def test_equal_beginnings_have_equal_prefixes() -> None:
    one = read(instructions="be kind", input=[{"role": "user", "content": "a"}]).prefix
    two = read(
        input=[{"role": "user", "content": "a"}, {"role": "user", "content": "b"}],
        instructions="be kind",
    ).prefix
    assert two.startswith(one[: one.index('"a"')])


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": {"id": "conv_1"}}, "conversation"),
        ({"background": True}, "background"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"input": None}, "input must be"),
        ({"input": ["hi"]}, "input must be a list of objects"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0]: an item of type"),
        ({"tools": [{"type": "file_search"}]}, "'file_search'"),
        ({"tools": [{"type": "local_shell"}]}, "'local_shell'"),
        ({"tools": [{"type": "mcp", "server_label": "x"}]}, "'mcp'"),
        ({"tools": [{"type": "code_interpreter"}]}, "'code_interpreter'"),
        ({"tools": [{"type": "computer_use_preview"}]}, "'computer_use_preview'"),
        ({"tools": ["x"]}, "tools must be"),
        (
            {"tools": [WEATHER, {"type": "web_search"}], "tool_choice": {"type": "web_search"}},
            "tool_choice names no tool",
        ),
        ({"tools": [{"type": "web_search"}], "tool_choice": "required"}, "no tool can be called"),
        ({"model": ""}, "model"),
    ],
)
def test_what_cannot_be_done_is_one_line(body: dict[str, Any], says: str) -> None:
    assert says in refused(**body).text


def test_false_and_null_are_no_wish_for_what_is_kept_elsewhere() -> None:
    asked = read(background=False, previous_response_id=None, conversation=None)
    assert "background" not in asked.body


def test_web_search_is_left_out_and_the_answer_says_so() -> None:
    tools = [{"type": "web_search"}, WEATHER, {"type": "web_search_preview"}]
    asked = read(tools=tools, tool_choice="auto", metadata={"run": "7"})
    assert [tool["name"] for tool in asked.body["tools"]] == ["get_weather"]
    reply = asked.reply()
    for event in recorded("text"):
        reply.event(event)
    answer = reply.whole()
    unsupported = "web_search, web_search_preview"
    assert answer["metadata"] == {"run": "7", "unsupported_tools": unsupported}
    assert answer["tools"] == [WEATHER]
    assert "tools" not in read(tools=tools[:1]).body


def test_a_custom_tool_is_told_as_a_function_with_its_grammar() -> None:
    (tool,) = read(tools=[PATCH]).body["tools"]
    assert (tool["type"], tool["name"]) == ("function", "apply_patch")
    assert tool["parameters"]["required"] == ["input"]
    assert tool["description"].startswith("Changes files.")
    assert "lark grammar:\nstart: LINE+" in tool["description"]


def test_a_choice_that_names_tools_becomes_a_shorter_list() -> None:
    tools = [WEATHER, PATCH, {"type": "function", "name": "other"}]
    one = read(tools=tools, tool_choice={"type": "custom", "name": "apply_patch"}).body
    assert [tool["name"] for tool in one["tools"]] == ["apply_patch"]
    assert one["tool_choice"] == "required"
    names = [{"type": "function", "name": name} for name in ("other", "get_weather")]
    choice = {"type": "allowed_tools", "mode": "auto", "tools": names}
    some = read(tools=tools, tool_choice=choice).body
    assert [tool["name"] for tool in some["tools"]] == ["get_weather", "other"]
    assert some["tool_choice"] == "auto"


def test_the_form_of_a_text_is_said_as_engines_know_it() -> None:
    form = {"type": "json_schema", "name": "x", "schema": {"type": "object"}, "strict": True}
    asked = read(text={"format": form, "verbosity": "low"}).body["response_format"]
    assert asked["json_schema"] == {"name": "x", "schema": {"type": "object"}, "strict": True}
    assert "response_format" not in read(text={"format": {"type": "text"}}).body


def test_a_history_is_told_as_engines_read_it() -> None:
    history = [
        {"role": "user", "content": "hi"},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"},
        {"role": "assistant", "content": "hello"},
        {"type": "custom_tool_call", "call_id": "c", "name": "apply_patch", "input": PATCH_TEXT},
        {"type": "custom_tool_call_output", "call_id": "c", "output": "done"},
        {"type": "function_call", "call_id": "d", "name": "f", "arguments": "{}"},
    ]
    user, assistant, call, output, function = read(input=history).body["input"]
    assert user["type"] == assistant["type"] == "message"
    assert assistant["content"] == [{"type": "output_text", "text": "hello"}]
    assert (call["type"], call["name"], call["call_id"]) == ("function_call", "apply_patch", "c")
    assert json.loads(call["arguments"]) == {"input": PATCH_TEXT}
    assert output == {"type": "function_call_output", "call_id": "c", "output": "done"}
    assert function == history[-1]


def test_a_text_stream_is_numbered_and_placed() -> None:
    events = play(reply := reply_of(stream=True), recorded("text"))
    assert [one["sequence_number"] for one in events] == list(range(len(events)))
    begins = ["created", "in_progress", "output_item.added", "content_part.added"]
    assert kinds(events)[:4] == begins
    assert kinds(events).count("created") == kinds(events).count("in_progress") == 1
    assert not any("prompt_progress" in json.dumps(one) for one in events)
    deltas = [one for one in events if one["type"] == "response.output_text.delta"]
    assert "".join(one["delta"] for one in deltas) == "Hello world."
    assert {(one["output_index"], one["content_index"]) for one in deltas} == {(0, 0)}
    assert all(one["item_id"] == deltas[0]["item_id"] for one in deltas)
    assert events[-1]["response"] == reply.whole()
    assert reply.whole()["status"] == "completed"
    assert reply.whole()["model"] == "qwen3-8b"


def test_an_answer_says_what_its_request_was() -> None:
    created = play(reply_of(temperature=0.5, tools=[WEATHER]), recorded("text"))[0]["response"]
    assert (created["temperature"], created["tools"]) == (0.5, [WEATHER])
    assert (created["created_at"], created["output"]) == (1_795_000_000, [])
    assert (created["parallel_tool_calls"], created["tool_choice"]) == (True, "auto")
    assert (created["error"], created["incomplete_details"]) == (None, None)


def test_a_repeated_beginning_is_dropped() -> None:
    first, *rest = recorded("text")
    plain = b'{"type":"response.in_progress","response":{"id":"r"}}'
    assert kinds(play(reply_of(), [first, first, plain, plain, *rest])) == kinds(
        play(reply_of(), [first, *rest])
    )


def test_calls_are_placed_ended_and_marked_where_they_were_cut() -> None:
    events = play(reply := reply_of(tools=[WEATHER]), recorded("calls"))
    ends = [one for one in events if one["type"] == "response.function_call_arguments.done"]
    assert [one["output_index"] for one in ends] == [1, 2]
    assert ends[0]["arguments"] == '{"unit": "c"}'
    message, whole, cut = reply.whole()["output"]
    assert message["content"][0]["text"] == "Let me look."
    assert (whole["status"], cut["status"]) == ("completed", "incomplete")
    done = [one for one in events if one["type"] == "response.output_item.done"]
    assert [one["item"] for one in done] == [message, whole, cut]


def test_a_custom_tool_comes_back_as_one() -> None:
    events = play(reply := reply_of(tools=[PATCH]), recorded("patch"))
    said = [one for one in events if one["type"] == "response.custom_tool_call_input.delta"]
    assert len(said) > 1  # as the text comes, not at its end
    assert "".join(one["delta"] for one in said if one["output_index"] == 0) == PATCH_TEXT
    first, second = (one for one in events if one["type"] == "response.custom_tool_call_input.done")
    assert (first["input"], second["input"]) == (PATCH_TEXT, "")
    assert not any("function_call" in one["type"] for one in events)
    call, cut = reply.whole()["output"]
    assert (call["type"], call["name"], call["input"]) == (
        "custom_tool_call",
        "apply_patch",
        PATCH_TEXT,
    )
    assert "arguments" not in call
    assert (call["status"], cut["status"], cut["input"]) == ("completed", "incomplete", "")


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
def test_a_custom_text_is_read_wherever_its_arguments_are_cut(size: int) -> None:
    text = 'a"\\\n\t€😀\u2028/</x>'
    arguments = json.dumps({"input": text})
    item = {"type": "function_call", "id": "i", "name": "apply_patch", "call_id": "c"}
    pieces = [arguments[at : at + size] for at in range(0, len(arguments), size)]
    said = [
        {"type": "response.output_item.added", "item": {**item, "arguments": ""}},
        *(
            {"type": "response.function_call_arguments.delta", "item_id": "i", "delta": one}
            for one in pieces
        ),
        {"type": "response.output_item.done", "item": {**item, "arguments": arguments}},
        {"type": "response.completed", "response": {}},
    ]
    events = play(reply_of(tools=[PATCH]), [json.dumps(one).encode() for one in said])
    deltas = [one["delta"] for one in events if one["type"].endswith("input.delta")]
    assert "".join(deltas) == text
    assert [one["input"] for one in events if one["type"].endswith("input.done")] == [text]


def test_an_answer_that_the_limit_cut_is_incomplete() -> None:
    used = 6
    events = play(reply := reply_of(max_output_tokens=used), recorded("text"))
    assert events[-1]["type"] == "response.incomplete"
    assert reply.whole()["status"] == "incomplete"
    assert reply.whole()["incomplete_details"] == {"reason": "max_output_tokens"}
    assert play(reply_of(max_output_tokens=used + 1), recorded("text"))[-1]["type"].endswith(
        "completed"
    )


@pytest.mark.parametrize("kind", ["completed", "failed", "incomplete"])
def test_each_last_word_ends_an_answer(kind: str) -> None:
    reply = reply_of()
    assert not reply.done
    assert reply.event(json.dumps({"type": f"response.{kind}"}).encode())
    assert reply.done
    assert reply.whole()["status"] == kind


def test_unknown_events_are_numbered_and_errors_pass() -> None:
    reply = reply_of()
    assert reply.event(b'{"type":"response.new","x":1}') == (
        b'event: response.new\ndata: {"type":"response.new","x":1,"sequence_number":0}\n\n'
    )
    assert reply.event(b'{"error":{"message":"no"}}') == b'data: {"error":{"message":"no"}}\n\n'
    assert reply.event(b'{"prompt_progress":{"total":1}}') == b""
    assert reply.event(b"[DONE") == b""


def test_waiting_is_a_comment_and_a_break_is_an_error() -> None:
    reply = reply_of()
    assert reply.waits("loading") == b": loading\n\n"
    assert reply.breaks(BROKEN).startswith(b'data: {"error":{"message":"the engine died"')
    assert FAMILY.refusal(BROKEN)["error"]["code"] == "EngineDied"
    assert reply.end() == b""


NAMES = st.sampled_from(
    ["type", "item", "item_id", "id", "delta", "arguments", "response", "output", "usage", "status"]
    + ["name", "part", "output_tokens", "prompt_progress", "input", "output_index", "error"]
)
WORDS = st.sampled_from(
    ["apply_patch", "function_call", "i", '{"input": "a', "\\u00e9", "\x00", "output_text"]
    + [f"response.{word}" for word in ("created", "in_progress", "completed", "output_item.added")]
    + [f"response.function_call_arguments.{word}" for word in ("delta", "done")]
    + ["response.output_item.done", "response.output_text.delta", "x\ny"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=12,
)
ITEMS = st.fixed_dictionaries(
    {"type": st.just("function_call"), "id": st.just("i"), "name": st.just("apply_patch")},
    optional={"arguments": VALUES, "status": st.just("completed")},
)
EVENTS = st.fixed_dictionaries(
    {"type": WORDS},
    optional={"item_id": st.just("i"), "delta": VALUES, "item": ITEMS | VALUES, "response": VALUES},
)
SAID = (VALUES | EVENTS).map(lambda said: json.dumps(said).encode()) | st.binary(max_size=30)


@given(said=st.lists(SAID, max_size=8))
@example(said=[b"[" * 100_000, b'{"a":' * 100_000])
@example(said=[b'{"type":"response.completed","response":{"x":123456789012345678901234567890}}'])
@example(said=[b'{"type":"response.new","x":"\\ud800"}', b'{"type":"\xff"}', b"NaN", b"1e999"])
def test_nothing_an_engine_says_makes_a_reply_fail(said: list[bytes]) -> None:
    reply = reply_of(tools=[PATCH], max_output_tokens=1)
    sent = reply.begin()
    for one in said:
        sent += reply.event(one)
    sent += reply.waits("x") + reply.breaks(BROKEN) + reply.end()
    assert isinstance(reply.whole(), dict)
    for block in sent.split(b"\n\n"):
        for line in block.split(b"\n"):
            assert not line or line.startswith((b"data: {", b"event: ", b": "))


@given(body=st.dictionaries(st.sampled_from(["model", "input", "tools", "tool_choice", "text",
    "metadata", "max_output_tokens", "stream", "instructions"]), VALUES))  # fmt: skip
def test_whatever_a_client_sends_is_read_or_refused(body: dict[str, Any]) -> None:
    try:
        asked = FAMILY.read({"model": "m", "input": "x", **body})
    except RequestError:
        return
    msgspec.json.encode(asked.body)
    assert asked.reply().whole()["object"] == "response"
