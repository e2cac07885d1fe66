"""A file of many requests, JSON to a line: text in, checked lines out. Pure.

Each line is {"prompt": …} or {"messages": […]}, with an "id" of its own and what OpenAI's API calls
max_tokens, temperature, top_p, seed, stop and the two penalties, as far as it says them.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, NoReturn, final

import msgspec

from mesh.api.errors import RequestError
from mesh.api.fields import MAX_CONTEXT

# A request's body holds a MiB, and the shortest lines have some 20 bytes. What is more goes better
# as several jobs, which may run on several devices.
MAX_LINES: Final = 20_000
MAX_MESSAGES: Final = 1024  # of one line: a long chat has some hundred
MAX_STOPS: Final = 16  # OpenAI's API takes 4, vLLM any number: each is compared at every token
MAX_ID_CHARS: Final = 256

Text = Annotated[str, msgspec.Meta(max_length=1 << 20)]
LineId = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ID_CHARS)] | int
Stop = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Penalty = Annotated[float, msgspec.Meta(ge=-2, le=2)]
SAMPLING: Final = ("temperature", "top_p", "seed", "stop", "presence_penalty", "frequency_penalty")


@final
class Message(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One turn of a chat."""

    role: Literal["system", "user", "assistant"]
    content: Text


@final
class Line(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """One request; what it leaves out is as the job says, or as the engine has it."""

    id: LineId | None = None
    prompt: Text = ""
    messages: Annotated[list[Message], msgspec.Meta(max_length=MAX_MESSAGES)] = []
    max_tokens: Annotated[int, msgspec.Meta(ge=1, le=MAX_CONTEXT)] | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=100)] | None = None
    top_p: Annotated[float, msgspec.Meta(gt=0, le=1)] | None = None
    seed: Annotated[int, msgspec.Meta(ge=0, lt=1 << 31)] | None = None
    stop: Annotated[list[Stop], msgspec.Meta(max_length=MAX_STOPS)] | Stop | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None

    @property
    def words(self) -> str:
        """All of its text, for counting."""
        return self.prompt or "\n".join(one.content for one in self.messages)


_LINE: Final = msgspec.json.Decoder(Line)


def parse_lines(text: str) -> list[tuple[int, Line]]:
    """Each line with its number in the file, from 1; empty ones are passed over.

    RequestError names the first line that is wrong.
    """
    found: list[tuple[int, Line]] = []
    ids: dict[str | int, int] = {}
    for number, raw in enumerate(text.split("\n"), 1):
        if not raw.strip():
            continue
        if len(found) == MAX_LINES:
            _refuse(number, f"more than {MAX_LINES} lines", "make several jobs of them")
        line = _parsed(number, raw)
        own = number if line.id is None else line.id
        if own in ids:
            _refuse(number, f"id {str(own)[:40]!r} is that of line {ids[own]}", "ids must differ")
        ids[own] = number
        found.append((number, line))
    if not found:
        raise RequestError("BadRequest", "there is no line in it", 'say {"prompt": "…"} in each')
    return found


def _parsed(number: int, raw: str) -> Line:
    try:
        line = _LINE.decode(raw)
    except (msgspec.MsgspecError, RecursionError) as error:
        _refuse(number, str(error)[:200])
    if bool(line.prompt) == bool(line.messages):
        _refuse(number, "either a prompt or messages, not both and not neither")
    return line


def _refuse(
    number: int, text: str, hint: str = 'as {"prompt": "…"} or {"messages": […]}'
) -> NoReturn:
    raise RequestError("BadLine", f"line {number}: {text}", hint)


def longest(lines: list[tuple[int, Line]]) -> Line:
    """The one with the most text: what has room for it has room for all."""
    return max((line for _, line in lines), key=lambda line: len(line.words))


def spec_rows(text: str) -> list[dict[str, object]]:
    """The lines as the engine's supervisor reads them."""
    return [_row(number, line) for number, line in parse_lines(text)]


def _row(number: int, line: Line) -> dict[str, object]:
    row: dict[str, object] = {"line": number, "id": number if line.id is None else line.id}
    if line.max_tokens is not None:
        row["max_tokens"] = line.max_tokens
    if line.messages:
        row["messages"] = [{"role": one.role, "content": one.content} for one in line.messages]
    else:
        row["prompt"] = line.prompt
    chosen = {name: getattr(line, name) for name in SAMPLING}
    sampling = {name: value for name, value in chosen.items() if value is not None}
    return row | ({"sampling": sampling} if sampling else {})
