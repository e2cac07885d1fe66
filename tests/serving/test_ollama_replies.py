"""Ollama's chat and generate: what a client reads."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.serving.family import NDJSON, Asked, Body, Problem
from mesh.serving.ollama_reply import arguments
from tests.serving.ollama_said import (
    ANSWER,
    CHATS,
    FINISH,
    GENERATES,
    MODEL,
    NOON,
    PROBLEM,
    USED,
    chat,
    data,
    delta,
    folded,
    generate,
    part,
    streamed,
)


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
