"""What a model's server says, line by line, and what a person is told of an answer."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, final

from mesh.api.errors import RequestError
from mesh.cli.hints import as_command

# The words of an error's type in OpenAI's form, as the status it would have come with.
STATUS: Final = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "rate_limit_error": 429,
}
# Of a server that is gone or broke off, what else it says is no word of ours.
GONE: Final = frozenset({"Unreachable", "UpstreamBroken", "Unanswered"})
COST: Final = "cost_nusd"  # a comment that begins so says what the answer cost
MAX_NOTE_CHARS: Final = 200

Message = dict[str, str]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Some of an answer; `thought`: of the reasoning before it."""

    text: str
    thought: bool = False


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What is waited for."""

    text: str


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of an answer when it is over; 0 or "" where nobody said."""

    model: str = ""
    device: str = ""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    tokens: int = 0
    tokens_per_s: float = 0.0
    first_ms: float = 0.0
    duration_ms: float = 0.0
    cost_nusd: int | None = None
    ended: str = ""  # why: stop, length, or what else the engine says


@final
@dataclass(slots=True)
class Hearing:
    """Reads one stream."""

    usage: Mapping[str, Any] = field(default_factory=dict)
    timings: Mapping[str, Any] = field(default_factory=dict)
    cost_nusd: int | None = None
    ended: str = ""
    done: bool = False

    def line(self, raw: str) -> list[Piece | Note]:
        """What one line says; RequestError where it says that there is no answer."""
        text = raw.rstrip("\r\n")
        if text.startswith(":"):
            return self._comment(text[1:].strip())
        name, _, data = text.partition(":")
        if name != "data" or not data.strip():
            return []
        if data.strip() == "[DONE]":
            self.done = True
            return []
        return self._chunk(_object(data))

    def _comment(self, text: str) -> list[Piece | Note]:
        word, _, value = text.partition("=")
        if word == COST:
            self.cost_nusd = int(value) if value.isascii() and value.isdecimal() else None
            return []
        return [Note(text=text[:MAX_NOTE_CHARS])] if text else []

    def _chunk(self, chunk: Mapping[str, Any]) -> list[Piece | Note]:
        if "error" in chunk:
            raise refusal(chunk)
        self.usage = _map(chunk.get("usage")) or self.usage
        self.timings = _map(chunk.get("timings")) or self.timings
        choices = chunk.get("choices")
        first = _map(choices[0]) if isinstance(choices, list) and choices else {}
        self.ended = str(first.get("finish_reason") or self.ended)
        delta = _map(first.get("delta"))
        thought = delta.get("reasoning_content") or delta.get("reasoning")
        said = delta.get("content")
        found = [Piece(text=thought, thought=True)] if isinstance(thought, str) else []
        return [*found, Piece(text=said)] if isinstance(said, str) and said else [*found]

    def facts(self, *, model: str, device: str, first_ms: float, duration_ms: float) -> Facts:
        """What is known at the end; the engine's own times go before ours."""
        tokens = _count(self.usage, "completion_tokens") or _count(self.timings, "predicted_n")
        rate = self.timings.get("predicted_per_second")
        own_s = (duration_ms - first_ms) / 1000
        measured = (tokens - 1) / own_s if tokens > 1 and own_s > 0 else 0.0
        details = _map(self.usage.get("prompt_tokens_details"))
        return Facts(
            model=model,
            device=device,
            prompt_tokens=_count(self.usage, "prompt_tokens"),
            cached_tokens=_count(details, "cached_tokens") or _count(self.timings, "cache_n"),
            tokens=tokens,
            tokens_per_s=float(rate) if isinstance(rate, int | float) else measured,
            first_ms=first_ms,
            duration_ms=duration_ms,
            cost_nusd=self.cost_nusd,
            ended=self.ended,
        )


def refusal(said: Mapping[str, Any], status: int = 0) -> RequestError:
    """The error of a frame or of a refusal, in OpenAI's form or the daemon's own."""
    error = said.get("error")
    found = _map(error) or _map(said)
    text = str(found.get("message") or found.get("text") or error or "the model gives no answer")
    code = str(found.get("code") or "NoAnswer")
    known = 502 if code in GONE else STATUS.get(str(found.get("type")), 503)
    hint = as_command(str(found.get("hint") or ""))
    return RequestError(code, text, hint, status or known)


def summary(facts: Facts) -> str:
    """ "42 tokens, 31.4 tok/s, first after 0.2 s, $0.0001, on rig": one line below an answer."""
    from mathcore.units import show_ms, show_nusd

    parts = [
        counted(facts.tokens, "token") if facts.tokens else "",
        f"{facts.tokens_per_s:.1f} tok/s" if facts.tokens_per_s else "",
        f"first after {show_ms(round(facts.first_ms))}" if facts.first_ms else "",
        show_nusd(facts.cost_nusd) if facts.cost_nusd is not None else "",
        f"on {facts.device}" if facts.device else "",
        "cut at its longest" if facts.ended == "length" else "",
    ]
    return ", ".join(part for part in parts if part)


def counted(count: int, what: str) -> str:
    """ "1 token", "2 tokens"."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def stats(all_facts: list[Facts]) -> list[str]:
    """A conversation in numbers, a line each."""
    if not all_facts:
        return ["nothing was answered yet"]
    from mathcore.units import show_nusd

    last, tokens = all_facts[-1], sum(f.tokens for f in all_facts)
    known = [f.cost_nusd for f in all_facts if f.cost_nusd is not None]
    lines = [
        f"{last.model}: {counted(len(all_facts), 'answer')}, {counted(tokens, 'token')}",
        f"the last: {summary(last) or 'nothing known'}",
    ]
    if last.prompt_tokens:
        kept = f", {last.cached_tokens} of them known before" if last.cached_tokens else ""
        lines.append(f"read for it: {counted(last.prompt_tokens, 'token')}{kept}")
    return [*lines, f"cost so far: {show_nusd(sum(known))}"] if known else lines


def as_json(facts: Facts, answer: str, thoughts: str) -> dict[str, object]:
    """One answer for a program."""
    return {
        "model": facts.model,
        "answer": answer,
        **({"reasoning": thoughts} if thoughts else {}),
        "finish_reason": facts.ended,
        "device": facts.device,
        "usage": {
            "prompt_tokens": facts.prompt_tokens,
            "cached_tokens": facts.cached_tokens,
            "completion_tokens": facts.tokens,
        },
        "tokens_per_s": round(facts.tokens_per_s, 2),
        "first_token_ms": round(facts.first_ms),
        "duration_ms": round(facts.duration_ms),
        "cost_nusd": facts.cost_nusd,
    }


def _object(text: str) -> Mapping[str, Any]:
    try:
        return _map(json.loads(text))
    except (ValueError, RecursionError):
        return {}


def _map(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(found: Mapping[str, Any], name: str) -> int:
    value = found.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
