"""A stream folded is the answer it would have been; whatever an engine says, it is folded."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.serving.family import CHAT
from mesh.serving.folding import folded
from mesh.serving.openai import Generation

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 1 << 40) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["index", "delta", "text", "choices", "tool_calls", "function", "name", "arguments"]
                + ["logprobs", "content", "finish_reason", "id", "usage", "role"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


def chunk(**choice: object) -> bytes:
    return msgspec.json.encode({"id": "c1", "model": "m", "choices": [{"index": 0, **choice}]})


def test_text_and_calls_grow_piece_by_piece() -> None:
    call = {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}
    said = folded(
        [
            chunk(delta={"role": "assistant", "content": None}),
            chunk(delta={"content": "he"}),
            chunk(delta={"content": "llo", "reasoning_content": "hm"}),
            chunk(delta={"tool_calls": [call]}),
            chunk(delta={"tool_calls": [{"index": 0, "function": {"arguments": '{"x"'}}]}),
            chunk(delta={"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]}),
            chunk(delta={}, finish_reason="tool_calls"),
            b'{"choices":[],"usage":{"completion_tokens":3}}',
        ],
        chat=True,
    )
    (choice,) = said["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] == "hello"
    assert choice["message"]["reasoning_content"] == "hm"
    function = {"name": "f", "arguments": '{"x":1}'}
    assert choice["message"]["tool_calls"] == [
        {"id": "a", "type": "function", "function": function}
    ]
    assert (said["object"], said["usage"]) == ("chat.completion", {"completion_tokens": 3})


@given(chunks=st.lists(VALUES.map(msgspec.json.encode) | st.binary(max_size=9), max_size=5))
@pytest.mark.parametrize("chat", [True, False])
def test_nothing_an_engine_says_stops_the_folding(chunks: list[bytes], chat: bool) -> None:  # noqa: FBT001
    assert isinstance(folded(chunks, chat=chat)["choices"], list)


def test_a_usage_that_nobody_asked_for_and_progress_are_not_passed_on() -> None:
    reply = Generation(CHAT).read({"model": "m", "messages": [], "stream": True}).reply()
    assert reply.event(b'{"choices":[],"usage":{"completion_tokens":3}}') == b""
    assert reply.event(b'{"choices":[{"delta":{}}],"prompt_progress":{"total":9}}') == b""
    word = chunk(delta={"content": '"finish_reason":"stop"'})
    assert reply.event(word) == b"data: " + word + b"\n\n"
    assert not reply.done
    reply.event(chunk(delta={}, finish_reason="stop"))
    assert reply.done
