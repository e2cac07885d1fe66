"""A chat's chunks become Anthropic's events in Anthropic's order, whatever an engine says."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.serving.anthropic_stream import MessagesReply
from mesh.serving.family import Problem

Json = dict[str, Any]


def chunk(finish: str | None = None, *, usage: Json | None = None, **delta: Any) -> bytes:
    """One chunk as llama.cpp writes it."""
    choices = [] if usage else [{"index": 0, "delta": delta, "finish_reason": finish}]
    said = {"id": "chatcmpl-abc", "model": "engine's", "choices": choices}
    return msgspec.json.encode(said | ({"usage": usage} if usage else {}))


def call(index: int, arguments: str | None = None, **named: str) -> Json:
    """A piece of a call; `id` and `name` are in its first one."""
    function = {"name": named["name"]} if "name" in named else {}
    function |= {"arguments": arguments} if arguments is not None else {}
    return {"index": index, "function": function} | ({"id": named["id"]} if "id" in named else {})


USAGE = chunk(
    usage={
        "prompt_tokens": 30,
        "completion_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 20},
    }
)


def reply(stops: tuple[str, ...] = ()) -> MessagesReply:
    return MessagesReply(model="m", stops=stops)


def written(one: MessagesReply, *chunks: bytes) -> bytes:
    return one.begin() + b"".join([one.event(data) for data in chunks]) + one.end()


def events(stream: bytes) -> list[Json]:
    """What a client reads; each event's name is its data's type."""
    found = []
    for frame in stream.split(b"\n\n")[:-1]:
        name, data = frame.split(b"\n")
        event = msgspec.json.decode(data.removeprefix(b"data: "))
        assert name == b"event: " + event["type"].encode()
        found.append(event)
    return found


def folded(read: list[Json]) -> Json:
    """The Message that these events add up to, by Anthropic's rules."""
    message: Json = {}
    raw: dict[int, str] = {}
    open_block: int | None = None
    for event in read:
        kind, index = event["type"], event.get("index")
        if kind == "message_start":
            assert not message
            message = event["message"]
        elif kind == "content_block_start":
            assert open_block is None
            assert index == len(message["content"])
            open_block = index
            message["content"].append(event["content_block"])
        elif kind == "content_block_delta":
            assert index is not None
            assert index == open_block
            delta, block = event["delta"], message["content"][index]
            if delta["type"] == "input_json_delta":
                raw[index] = raw.get(index, "") + delta["partial_json"]
            else:
                name = delta["type"].removesuffix("_delta")
                block[name] += delta[name]
        elif kind == "content_block_stop":
            assert index == open_block
            open_block = None
        elif kind == "message_delta":
            assert open_block is None
            message |= event["delta"]
            message["usage"] |= event["usage"]
    assert read[-1]["type"] == "message_stop"
    for index, text in raw.items():
        message["content"][index]["input"] = read_arguments(text)
    return message


def read_arguments(text: str) -> Json:
    try:
        found = msgspec.json.decode(text)
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict):
        return found
    return {"arguments": text} if text.strip() else {}


def order(stream: bytes) -> list[str]:
    """The events in short: their types without "content_block_", and the index of a block."""
    return [
        f"{event['type'].removeprefix('content_block_')} {event.get('index', '')}".strip()
        for event in events(stream)
    ]


def test_a_text_is_written_in_anthropics_order_to_the_byte() -> None:
    one = reply()
    stream = written(
        one, chunk(role="assistant", content=None), chunk(content="Hi"), chunk("stop"), USAGE
    )
    assert one.done
    assert stream.decode() == (
        "event: message_start\n"
        'data: {"type":"message_start","message":{"id":"msg_abc","type":"message",'
        '"role":"assistant","model":"m","content":[],"stop_reason":null,"stop_sequence":null,'
        '"usage":{"input_tokens":0,"cache_read_input_tokens":0,"output_tokens":0}}}\n\n'
        "event: content_block_start\n"
        'data: {"type":"content_block_start","index":0,'
        '"content_block":{"type":"text","text":""}}\n\n'
        "event: content_block_delta\n"
        'data: {"type":"content_block_delta","index":0,'
        '"delta":{"type":"text_delta","text":"Hi"}}\n\n'
        "event: content_block_stop\n"
        'data: {"type":"content_block_stop","index":0}\n\n'
        "event: message_delta\n"
        'data: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},'
        '"usage":{"input_tokens":10,"cache_read_input_tokens":20,"output_tokens":5}}\n\n'
        "event: message_stop\n"
        'data: {"type":"message_stop"}\n\n'
    )


def test_each_piece_of_text_is_written_when_it_comes() -> None:
    one = reply()
    one.event(chunk(content="a"))
    (event,) = events(one.event(chunk(content="b")))
    assert event["delta"] == {"type": "text_delta", "text": "b"}
    assert not one.done


def test_thoughts_text_and_a_call_are_three_blocks_closed_in_order() -> None:
    one = reply()
    stream = written(
        one,
        chunk(reasoning_content="hm"),
        chunk(content="let me see"),
        chunk(tool_calls=[call(0, "", id="t", name="weather")]),
        chunk(tool_calls=[call(0, '{"town":')]),
        chunk(tool_calls=[call(0, '"Ulm"}')]),
        chunk("tool_calls"),
        USAGE,
    )
    assert order(stream) == [
        "message_start",
        "start 0",
        "delta 0",
        "stop 0",
        "start 1",
        "delta 1",
        "stop 1",
        "start 2",
        "delta 2",
        "delta 2",
        "stop 2",
        "message_delta",
        "message_stop",
    ]
    whole = one.whole()
    assert whole["stop_reason"] == "tool_use"
    assert whole["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": ""},
        {"type": "text", "text": "let me see"},
        {"type": "tool_use", "id": "t", "name": "weather", "input": {"town": "Ulm"}},
    ]


def test_two_tool_calls_in_one_reply_become_two_blocks() -> None:
    one = reply()
    both = [call(0, '{"a":1}', id="t", name="one"), call(1, "{}", id="u", name="two")]
    stream = written(one, chunk(tool_calls=both), chunk("tool_calls"), USAGE)
    assert [block["id"] for block in one.whole()["content"]] == ["t", "u"]
    assert order(stream)[1:7] == ["start 0", "delta 0", "stop 0", "start 1", "delta 1", "stop 1"]


def test_a_second_call_is_left_out_where_the_client_forbade_it() -> None:
    one = MessagesReply(model="m", one_call=True)
    first, second = call(0, "{}", id="t", name="one"), call(1, '{"a":', id="u", name="two")
    pieces = [[first], [second], [call(1, "1}")]]
    stream = written(one, *[chunk(tool_calls=piece) for piece in pieces], chunk("tool_calls"))
    assert [block["id"] for block in one.whole()["content"]] == ["t"]
    assert folded(events(stream)) == one.whole()


def test_calls_whose_pieces_are_mixed_are_written_one_after_the_other() -> None:
    one = reply()
    stream = written(
        one,
        chunk(tool_calls=[call(0, id="t", name="one")]),
        chunk(tool_calls=[call(1, '{"b":', id="u", name="two")]),
        chunk(tool_calls=[call(0, '{"a":1}')]),
        chunk(tool_calls=[call(1, "2}")]),
        chunk("tool_calls"),
    )
    assert folded(events(stream)) == one.whole()
    assert [block["input"] for block in one.whole()["content"]] == [{"a": 1}, {"b": 2}]


def test_a_call_without_an_id_gets_one_that_no_other_message_has() -> None:
    one = reply()
    written(one, chunk(tool_calls=[call(0, "{}", name="one"), call(1, "{}", name="two")]))
    assert [block["id"] for block in one.whole()["content"]] == ["toolu_abc_0", "toolu_abc_1"]


def test_an_id_that_comes_too_late_changes_nothing() -> None:
    one = reply()
    stream = written(one, msgspec.json.encode({"choices": []}), chunk(content="a"), chunk("stop"))
    assert folded(events(stream))["id"] == one.whole()["id"]


def test_calls_without_a_number_count_by_their_place() -> None:
    one = reply()
    both = [{"function": {"name": name, "arguments": {"n": 1}}} for name in ("one", "two")]
    written(one, chunk(tool_calls=both), chunk("stop"))
    assert [block["input"] for block in one.whole()["content"]] == [{"n": 1}, {"n": 1}]
    assert one.whole()["stop_reason"] == "tool_use"


@pytest.mark.parametrize(
    ("arguments", "read"),
    [
        ("", {}),
        ("{}", {}),
        ('{"a":1}', {"a": 1}),
        ('{"a":', {"arguments": '{"a":'}),
        ("[1]", {"arguments": "[1]"}),
    ],
)
def test_arguments_that_are_no_object_are_kept_as_text(arguments: str, read: Json) -> None:
    one = reply()
    written(one, chunk(tool_calls=[call(0, arguments, id="t", name="one")]), chunk("tool_calls"))
    assert one.whole()["content"][0]["input"] == read


@pytest.mark.parametrize(
    ("finish", "reason"),
    [("stop", "end_turn"), ("length", "max_tokens"), ("content_filter", "refusal")],
)
def test_why_an_answer_ends_is_said_in_anthropics_words(finish: str, reason: str) -> None:
    one = reply()
    written(one, chunk(content="a"), chunk(finish))
    assert one.whole()["stop_reason"] == reason


@pytest.mark.parametrize("finish", [None, "", 1, True, {"a": 1}])
def test_what_is_no_reason_to_end_is_no_end(finish: object) -> None:
    one = reply()
    one.event(msgspec.json.encode({"choices": [{"delta": {}, "finish_reason": finish}]}))
    assert not one.done
    assert one.whole()["stop_reason"] is None


def test_a_stop_sequence_is_told_only_where_the_engine_says_which() -> None:
    silent, telling = reply(("END",)), reply(("END",))
    written(silent, chunk("stop"))
    choice = {"delta": {}, "finish_reason": "stop", "stop_reason": "END"}
    written(telling, msgspec.json.encode({"choices": [choice]}))
    assert (silent.whole()["stop_reason"], silent.whole()["stop_sequence"]) == ("end_turn", None)
    assert telling.whole()["stop_reason"] == "stop_sequence"
    assert telling.whole()["stop_sequence"] == "END"


def test_progress_is_not_written_but_tells_how_long_the_prompt_is() -> None:
    one = reply()
    progress = {"total": 30, "cache": 20, "processed": 25, "time_ms": 1}
    data = msgspec.json.encode({"choices": [], "prompt_progress": progress})
    assert one.event(data) == b""
    (start, *_) = events(one.event(chunk(content="a")))
    assert start["message"]["usage"] == {
        "input_tokens": 10,
        "cache_read_input_tokens": 20,
        "output_tokens": 0,
    }


def test_a_wait_is_a_ping() -> None:
    assert reply().waits("loading\n\nevil") == b'event: ping\ndata: {"type":"ping"}\n\n'


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (413, "request_too_large"),
        (429, "rate_limit_error"),
        (503, "overloaded_error"),
        (529, "overloaded_error"),
        (502, "api_error"),
    ],
)
def test_a_break_is_an_error_event_of_its_kind(status: int, kind: str) -> None:
    (event,) = events(reply().breaks(Problem(status=status, code="x", text="gone", hint="again")))
    assert event == {"type": "error", "error": {"type": kind, "message": "gone; again"}}


def test_an_engines_own_error_is_told_once_and_is_no_end() -> None:
    one = reply()
    one.event(chunk(content="a"))
    error = {"error": {"code": 500, "message": "out of memory", "type": "server_error"}}
    (event,) = events(one.event(msgspec.json.encode(error)))
    assert event["error"] == {"type": "api_error", "message": "out of memory"}
    assert not one.done
    assert one.breaks(Problem(status=502, code="x", text="cut")) == b""


PIECES = st.sampled_from(['{"a":1}', "{}", "{", "}", '"a":', "[1]", " ", "", "x"])
CALLS = st.lists(
    st.builds(
        lambda index, arguments, name, known: (
            call(index, arguments)
            | {"id": known}
            | {"function": {"name": name, "arguments": arguments}}
        ),
        st.integers(0, 2),
        PIECES,
        st.sampled_from(["", "one", "two"]),
        st.sampled_from(["", "t", "u"]),
    ),
    max_size=3,
)
CHUNKS = st.lists(
    st.builds(
        lambda thought, text, calls, finish: chunk(
            finish, reasoning_content=thought, content=text, tool_calls=calls
        ),
        st.sampled_from(["", "hm"]),
        st.sampled_from(["", "a", "\n"]),
        CALLS,
        st.sampled_from([None, None, "stop", "length", "tool_calls"]),
    )
    | st.just(USAGE),
    max_size=8,
)


@given(CHUNKS)
def test_the_stream_adds_up_to_the_whole(chunks: list[bytes]) -> None:
    one = reply()
    assert folded(events(written(one, *chunks))) == one.whole()


LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
)
NAMES = (
    "id choices delta index finish_reason stop_reason content reasoning_content tool_calls "
    "function name arguments usage prompt_tokens completion_tokens prompt_tokens_details "
    "cached_tokens prompt_progress total cache error code message"
).split()
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=6)
    ),
    max_leaves=15,
)
DELTAS = st.fixed_dictionaries(
    {"delta": st.fixed_dictionaries({"content": ANYTHING, "tool_calls": st.lists(ANYTHING)})},
    optional={"finish_reason": ANYTHING, "stop_reason": ANYTHING},
)
SAID = st.fixed_dictionaries({"choices": st.lists(DELTAS | ANYTHING, max_size=2)}) | ANYTHING


@given(st.lists(st.binary(max_size=20) | SAID.map(msgspec.json.encode), max_size=6))
def test_whatever_an_engine_says_the_client_reads_a_message(said: list[bytes]) -> None:
    one = reply(("a",))
    stream = b"".join([one.event(data) for data in said]) + one.waits("x") + one.end()
    read = [event for event in events(stream) if event["type"] not in ("ping", "error")]
    assert folded(read) == msgspec.json.decode(msgspec.json.encode(one.whole()))


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"[" * 100_000, b'{"choices":[{"index":1e999}]}', b"9" * 9_000]
)
def test_what_is_no_json_is_passed_over(data: bytes) -> None:
    one = reply()
    assert one.event(data) == b""
    assert not one.done


@pytest.mark.parametrize("count", [-1, 10**30, True, 1.5, "9", None, []])
def test_a_count_that_cannot_be_is_none(count: object) -> None:
    one = reply()
    usage = {"prompt_tokens": count, "completion_tokens": count, "prompt_tokens_details": count}
    one.event(msgspec.json.encode({"choices": [], "usage": usage}))
    assert set(one.whole()["usage"].values()) == {0}
