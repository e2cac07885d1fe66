"""What an Anthropic client asks becomes a chat that asks the same, or a refusal that says why."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.api.errors import RequestError
from mesh.serving.anthropic import Messages, count_body, counted
from mesh.serving.family import CHAT, Asked, Problem
from mesh.serving.openai import prefix_of

USER = [{"role": "user", "content": "hello"}]
WEATHER = {
    "name": "weather",
    "description": "Tells the weather.",
    "input_schema": {"type": "object", "properties": {"town": {"type": "string"}}},
    "cache_control": {"type": "ephemeral"},
}
TIME = {"name": "time", "input_schema": {"type": "object"}}
PNG = {"type": "base64", "media_type": "image/png", "data": "aGk="}


def ask(**fields: Any) -> Asked:
    return Messages().read({"model": "m", "max_tokens": 9, "messages": USER} | fields)


def chat(**fields: Any) -> dict[str, Any]:
    return ask(**fields).body


def said(*blocks: dict[str, Any], role: str = "user") -> list[dict[str, Any]]:
    """The chat that one message of these blocks becomes."""
    found: list[dict[str, Any]] = chat(messages=[{"role": role, "content": list(blocks)}])[
        "messages"
    ]
    return found


def refused(**fields: Any) -> RequestError:
    with pytest.raises(RequestError) as caught:
        ask(**fields)
    assert caught.value.status == 400
    return caught.value


def test_a_plain_message_is_asked_as_a_stream_with_usage_and_signs_of_life() -> None:
    asked = ask(stream=False)
    assert (asked.model, asked.path, asked.stream) == ("m", CHAT, False)
    assert asked.body == {
        "messages": [{"role": "user", "content": "hello"}],
        "max_tokens": 9,
        "stream": True,
        "stream_options": {"include_usage": True},
        "return_progress": True,
    }
    assert asked.prefix == prefix_of(asked.body["messages"])


def test_a_client_that_wants_a_stream_is_known() -> None:
    assert ask(stream=True).stream
    assert not ask().stream


def test_system_is_the_first_message_as_text_or_as_blocks() -> None:
    assert chat(system="be brief")["messages"][0] == {"role": "system", "content": "be brief"}
    blocks = [
        {"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "be kind"},
    ]
    first = chat(system=blocks)["messages"][0]
    assert first == {"role": "system", "content": "be brief\nbe kind"}


def test_a_billing_line_that_changes_each_time_does_not_spoil_the_prefix() -> None:
    def prefix(mark: str) -> str:
        bill = {"type": "text", "text": f"x-anthropic-billing-header: cch={mark};"}
        return ask(system=[bill, {"type": "text", "text": "be brief"}]).prefix

    assert prefix("a") == prefix("b")
    assert "be brief" in prefix("a")


def test_neighbours_of_one_role_are_joined_and_a_late_system_message_is_the_users() -> None:
    messages = [
        {"role": "user", "content": "one"},
        {"role": "system", "content": "two"},
        {"role": "user", "content": [{"type": "text", "text": "three"}]},
    ]
    assert chat(messages=messages)["messages"] == [{"role": "user", "content": "one\ntwo\nthree"}]


def test_an_image_becomes_an_address() -> None:
    url = {"type": "url", "url": "https://example.org/a.png"}
    (message,) = said(
        {"type": "text", "text": "what is it?"},
        {"type": "image", "source": PNG},
        {"type": "image", "source": url},
    )
    assert message["content"] == [
        {"type": "text", "text": "what is it?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
    ]


def test_a_documents_text_and_a_search_result_are_read_as_text() -> None:
    text = {"type": "text", "media_type": "text/plain", "data": "Once."}
    (message,) = said(
        {"type": "document", "title": "Tale", "source": text},
        {
            "type": "search_result",
            "title": "Found",
            "source": "there",
            "content": [{"type": "text", "text": "it"}],
        },
    )
    assert message["content"] == "Tale\nOnce.\nFound\nthere\nit"


def test_a_call_and_its_result_become_a_call_and_a_tools_message() -> None:
    messages = [
        *USER,
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "the weather, then", "signature": "x"},
                {"type": "redacted_thinking", "data": "x"},
                {"type": "text", "text": "let me see"},
                {"type": "tool_use", "id": "t1", "name": "weather", "input": {"town": "Ulm"}},
                {"type": "tool_use", "id": "t2", "name": "time", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": "rain"},
                {
                    "type": "tool_result",
                    "tool_use_id": "t2",
                    "is_error": True,
                    "content": [{"type": "text", "text": "no clock"}],
                },
                {"type": "text", "text": "and now?"},
            ],
        },
    ]
    assert chat(messages=messages)["messages"][1:] == [
        {
            "role": "assistant",
            "content": "let me see",
            "reasoning_content": "the weather, then",
            "tool_calls": [
                {
                    "id": "t1",
                    "type": "function",
                    "function": {"name": "weather", "arguments": '{"town":"Ulm"}'},
                },
                {"id": "t2", "type": "function", "function": {"name": "time", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "t1", "content": "rain"},
        {"role": "tool", "tool_call_id": "t2", "content": "Error: no clock"},
        {"role": "user", "content": "and now?"},
    ]


def test_a_result_without_content_is_an_empty_tools_message() -> None:
    assert said({"type": "tool_result", "tool_use_id": "t"}) == [
        {"role": "tool", "tool_call_id": "t", "content": ""}
    ]


def test_a_results_image_is_shown_by_the_user_after_all_results() -> None:
    result, shown = said(
        {
            "type": "tool_result",
            "tool_use_id": "t",
            "content": [{"type": "text", "text": "shot"}, {"type": "image", "source": PNG}],
        }
    )
    assert result["content"] == "shot\n(images of this result follow: 1)"
    assert [part["type"] for part in shown["content"]] == ["text", "image_url"]
    assert "t" in shown["content"][0]["text"]


def test_tools_become_functions() -> None:
    assert chat(tools=[WEATHER, TIME | {"type": "custom"}])["tools"] == [
        {
            "type": "function",
            "function": {
                "name": "weather",
                "description": "Tells the weather.",
                "parameters": WEATHER["input_schema"],
            },
        },
        {"type": "function", "function": {"name": "time", "parameters": {"type": "object"}}},
    ]


@pytest.mark.parametrize(
    ("kind", "choice"), [("auto", "auto"), ("any", "required"), ("none", "none")]
)
def test_a_choice_of_tools_keeps_its_meaning(kind: str, choice: str) -> None:
    body = chat(tools=[WEATHER], tool_choice={"type": kind})
    assert body["tool_choice"] == choice
    assert "parallel_tool_calls" not in body


def test_a_tool_asked_for_by_name_is_the_only_one_and_required() -> None:
    body = chat(tools=[WEATHER, TIME], tool_choice={"type": "tool", "name": "time"})
    assert [tool["function"]["name"] for tool in body["tools"]] == ["time"]
    assert body["tool_choice"] == "required"


def test_parallel_calls_can_be_forbidden() -> None:
    choice = {"type": "auto", "disable_parallel_tool_use": True}
    asked = ask(tools=[WEATHER], tool_choice=choice)
    assert asked.body["parallel_tool_calls"] is False
    reply = asked.reply()
    calls = [{"index": index, "function": {"name": "weather"}} for index in range(2)]
    reply.event(msgspec.json.encode({"choices": [{"delta": {"tool_calls": calls}}]}))
    assert len(reply.whole()["content"]) == 1


@pytest.mark.parametrize(
    "choice", [{"type": "tool", "name": "nothing"}, {"type": "perhaps"}, "auto?", {"type": []}]
)
def test_a_choice_that_cannot_be_met_is_refused(choice: object) -> None:
    assert "tool_choice" in refused(tools=[WEATHER], tool_choice=choice).text


def test_any_tool_of_none_is_refused() -> None:
    assert "tool_choice" in refused(tool_choice={"type": "any"}).text


@pytest.mark.parametrize(
    "kind", ["web_search_20250305", "web_fetch_20250910", "code_execution_20250825", "mcp_toolset"]
)
def test_a_servers_tool_is_refused_by_its_name(kind: str) -> None:
    error = refused(tools=[WEATHER, {"type": kind, "name": "finder"}])
    assert kind in error.text
    assert "finder" in error.text
    assert "input_schema" in error.hint


@pytest.mark.parametrize(
    "kind", ["bash_20250124", "text_editor_20250728", "computer_20250124", "memory_20250818"]
)
def test_a_tool_that_only_anthropics_models_know_is_refused_by_its_name(kind: str) -> None:
    error = refused(tools=[{"type": kind, "name": "hand"}])
    assert kind in error.text
    assert "input_schema" in error.hint


def test_servers_that_anthropic_would_call_are_refused() -> None:
    assert "mcp_servers" in refused(mcp_servers=[{"url": "https://example.org"}]).text


@pytest.mark.parametrize("most", [None, 0, -1, 1.5, "9", True])
def test_max_tokens_must_be_a_positive_integer(most: object) -> None:
    assert "max_tokens" in refused(max_tokens=most).text


def test_sampling_and_stops_are_passed_on() -> None:
    body = chat(temperature=0, top_p=0.5, top_k=4, stop_sequences=["END"])
    wanted = {"temperature": 0, "top_p": 0.5, "top_k": 4, "stop": ["END"]}
    assert {name: body[name] for name in wanted} == wanted


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", "hot"),
        ("temperature", True),
        ("top_p", []),
        ("top_k", 1.5),
        ("stop_sequences", "END"),
        ("stop_sequences", [1]),
        ("thinking", {"type": "perhaps"}),
        ("thinking", {"type": []}),
        ("thinking", True),
        ("system", 3),
        ("messages", []),
        ("messages", "hello"),
        ("messages", [{"role": "robot", "content": "hello"}]),
        ("messages", [{"role": "user", "content": None}]),
        ("tools", {"name": "weather"}),
        ("tools", [{"name": "no schema"}]),
        ("tools", [None]),
        ("output_config", {"format": {"type": "yaml"}}),
    ],
)
def test_a_field_of_the_wrong_kind_is_refused(name: str, value: object) -> None:
    assert refused(**{name: value}).text


@pytest.mark.parametrize(
    "block",
    [
        {"type": "document", "source": {"type": "base64", "data": "x"}},
        {"type": "image", "source": {"type": "file", "file_id": "x"}},
        {"type": "container_upload", "file_id": "x"},
        {"type": "web_search_tool_result", "content": []},
    ],
)
def test_a_block_that_no_engine_can_read_is_refused_by_its_type(block: dict[str, Any]) -> None:
    error = refused(messages=[{"role": "user", "content": [block]}])
    assert error.hint
    assert (block.get("source") or block)["type"] in error.text


@pytest.mark.parametrize(
    ("kind", "kwargs"),
    [
        ("enabled", {"enable_thinking": True}),
        ("disabled", {"enable_thinking": False}),
        ("adaptive", None),
    ],
)
def test_thinking_is_the_templates_switch(kind: str, kwargs: object) -> None:
    assert chat(thinking={"type": kind}).get("chat_template_kwargs") == kwargs


def test_an_answer_that_the_client_began_is_asked_without_thoughts() -> None:
    begun = [*USER, {"role": "assistant", "content": "The answer is ("}]
    assert chat(messages=begun)["chat_template_kwargs"] == {"enable_thinking": False}


@pytest.mark.parametrize("place", ["output_config", "output_format"])
def test_a_schema_for_the_answer_is_asked_of_the_engine(place: str) -> None:
    form = {"type": "json_schema", "schema": {"type": "object"}}
    body = chat(**{place: {"format": form, "effort": "high"} if "config" in place else form})
    assert body["response_format"]["json_schema"]["schema"] == {"type": "object"}


def test_unknown_fields_of_the_top_level_do_not_reach_the_engine() -> None:
    body = chat(context_management={}, metadata={}, service_tier="auto", output_config={}, novel=1)
    assert body == chat()


def test_counting_asks_for_the_prompt_alone() -> None:
    body = count_body({"model": "m", "system": "s", "messages": USER, "tools": [TIME]})
    assert set(body) == {"messages", "tools"}
    assert [message["role"] for message in body["messages"]] == ["system", "user"]


def test_a_count_is_read_under_either_name() -> None:
    assert counted({"input_tokens": 7, "object": "x"}) == {"input_tokens": 7}
    assert counted({"tokens": 8}) == {"input_tokens": 8}


@pytest.mark.parametrize("answer", [{}, {"tokens": [1]}, {"input_tokens": True}, {"tokens": -1}])
def test_no_count_is_made_up(answer: dict[str, Any]) -> None:
    with pytest.raises(RequestError) as caught:
        counted(answer)
    assert caught.value.status == 502


def test_a_refusal_is_an_error_of_anthropics() -> None:
    problem = Problem(status=404, code="NoModel", text="no model x", hint="start one")
    assert Messages().refusal(problem) == {
        "type": "error",
        "error": {"type": "not_found_error", "message": "no model x; start one"},
    }


# Words of the API where a request has them, anything else elsewhere: most examples get past the
# first check.
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
)
NAMES = st.sampled_from(
    "type text source data content id name input tool_use_id is_error thinking title".split()
)
TYPES = st.sampled_from(
    "text image tool_use tool_result thinking document search_result base64 url tool any".split()
)
ANYTHING = st.recursive(
    LEAVES | TYPES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(NAMES, inner, max_size=5)
        | st.fixed_dictionaries({"type": TYPES, "content": inner, "source": inner, "text": inner})
    ),
    max_leaves=12,
)
TURN = st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"]), "content": ANYTHING})
FIELDS = st.fixed_dictionaries(
    {"model": st.just("m"), "max_tokens": st.just(1), "messages": ANYTHING | st.lists(TURN)},
    optional={
        name: ANYTHING
        for name in "system tools tool_choice thinking output_config stop_sequences top_k".split()
    },
)


@given(FIELDS)
def test_whatever_is_asked_is_translated_or_refused(body: dict[str, Any]) -> None:
    status, prefix = 0, ""
    try:
        prefix = Messages().read(body).prefix
    except RequestError as error:
        status = error.status
    assert prefix.startswith("[") or status == 400
