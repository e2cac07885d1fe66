"""Files of many requests: every bad line is named by its number."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.api.errors import RequestError
from mesh.api.jobs import body_of, parse_job
from mesh.api.lines import MAX_LINES, longest, parse_lines, spec_rows

BAD = {
    "not json": "line 2: ",
    '{"prompt": "a", "messages": [{"role": "user", "content": "x"}]}': "line 2: either a prompt",
    "{}": "line 2: either a prompt or messages",
    '{"prompt": "a", "n": 3}': "line 2: Object contains unknown field `n`",
    '{"prompt": 5}': "line 2: Expected `str`",
    '{"prompt": "a", "max_tokens": 0}': "line 2: Expected `int` >= 1",
    '{"prompt": "a", "id": "x"}': "line 2: id 'x' is that of line 1",
    '{"messages": [{"role": "tool", "content": "x"}]}': "line 2: Invalid enum value 'tool'",
    "[" * 100_000: "line 2: ",
}


@pytest.mark.parametrize("line", list(BAD))
def test_a_line_that_cant_be_asked_is_named_by_its_number(line: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_lines('{"id": "x", "prompt": "a"}\n' + line)
    assert BAD[line] in caught.value.text


def test_empty_lines_are_passed_over_and_numbers_stay_those_of_the_file() -> None:
    rows = spec_rows('\n{"prompt": "a"}\n\n{"id": 9, "prompt": "b", "temperature": 0.5}\r\n')
    assert rows == [
        {"line": 2, "id": 2, "prompt": "a"},
        {"line": 4, "id": 9, "prompt": "b", "sampling": {"temperature": 0.5}},
    ]


def test_a_file_of_too_many_lines_or_of_none_is_refused() -> None:
    with pytest.raises(RequestError, match=f"line {MAX_LINES + 1}: more than"):
        parse_lines('{"prompt": "a"}\n' * (MAX_LINES + 1))
    with pytest.raises(RequestError, match="no line"):
        parse_lines("\n \n")


def test_the_longest_line_of_prompts_and_chats_is_found() -> None:
    chat = '{"messages": [{"role": "user", "content": "' + "x" * 50 + '"}]}'
    assert len(longest(parse_lines('{"prompt": "short"}\n' + chat)).words) == 50


def test_lines_are_in_the_body_and_not_with_a_prompt_a_command_or_a_server() -> None:
    line = '{"prompt": "secret"}'
    assert body_of(parse_job({"model": "m", "lines": line})).lines == line
    for beside in ({"prompt": "x"}, {"serve": True}):
        with pytest.raises(RequestError, match="lines: a job has a prompt, or lines, or serves"):
            parse_job({"model": "m", "lines": line, **beside})
    with pytest.raises(RequestError, match="lines: a command answers no requests"):
        parse_job({"command": ["x"], "lines": line})


@given(st.text())
def test_any_text_is_lines_or_a_refusal(text: str) -> None:
    with contextlib.suppress(RequestError):
        assert parse_lines(text)
