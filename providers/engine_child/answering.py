"""One request to a running engine: asked, streamed, timed, and known to be whole."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, final

from providers.engine import ollama
from providers.engine.dialects import (
    Asked,
    Line,
    Piece,
    error_of,
    ollama_ask,
    ollama_piece,
    openai_ask,
    openai_piece,
    tgi_ask,
    tgi_piece,
)
from providers.engine.setup import Engine, Setup
from providers.engine_child.asking import Cut, Refused, Server

READERS: Final = {"openai": openai_piece, "ollama": ollama_piece, "tgi": tgi_piece}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One whole answer; `*_s` on the monotonic clock. `counted`: the engine said how many tokens
    it made, else they are the pieces that came."""

    line: Line
    text: str = ""
    finish: str = ""
    prompt_tokens: int = 0
    tokens: int = 0
    counted: bool = True
    asked_s: float = 0.0
    first_s: float = 0.0
    last_s: float = 0.0
    error: str = ""


@final
class Asker:
    """Asks one engine. `model` is what it calls the model."""

    def __init__(self, engine: Engine, setup: Setup, server: Server, model: str) -> None:
        self._engine, self._setup, self._server, self._model = engine, setup, server, model

    def ask(self, line: Line, hear: Callable[[str], None] = lambda _: None) -> Reply:
        """The answer; one that was refused has its `error`. Cut where the engine broke off."""
        path, body = self._asked(line)
        begun = time.monotonic()
        try:
            return self._read(line, path, body, hear, begun)
        except Refused as error:
            if error.status >= 500 and error.status != 501:
                raise Cut(error_of(error.data)) from error
            return Reply(line=line, error=error_of(error.data), asked_s=begun)

    def _read(
        self,
        line: Line,
        path: str,
        body: dict[str, object],
        hear: Callable[[str], None],
        begun: float,
    ) -> Reply:
        read, pieces = READERS[self._engine.dialect], list[Piece]()
        first = last = 0.0
        for raw in self._server.stream(path, body):
            piece = read(raw)
            if piece is None:
                continue
            if piece.error:
                return Reply(line=line, error=piece.error, asked_s=begun)
            if piece.text:
                last = time.monotonic()
                first = first or last
                hear(piece.text)
            pieces.append(piece)
        finish = next((one.finish for one in pieces if one.finish), "")
        if not finish:
            raise Cut("the answer broke off")
        said = max((one.tokens for one in pieces), default=0)
        now = time.monotonic()
        return Reply(
            line=line,
            text="".join(one.text for one in pieces),
            finish=finish,
            prompt_tokens=max(one.prompt_tokens for one in pieces),
            tokens=said or sum(1 for one in pieces if one.text),
            counted=bool(said),
            asked_s=begun,
            first_s=first or now,
            last_s=last or now,
        )

    def _asked(self, line: Line) -> Asked:
        match self._engine.dialect:
            case "ollama":
                return ollama_ask(line, self._model, ollama.options(self._setup))
            case "tgi":
                return tgi_ask(line, self._model)
            case _:
                return openai_ask(line, self._model)


def measured(replies: list[Reply]) -> dict[str, object]:
    """Tokens and rates of all replies together, as engine.json says them.

    Rates are over the time in which at least one request was being read, or answered: what runs
    side by side counts once. The first token of each answer belongs to its prompt.
    """
    good = [one for one in replies if not one.error]
    prompted, generated = sum(one.prompt_tokens for one in good), sum(one.tokens for one in good)
    prefill_s = covered_s([(one.asked_s, one.first_s) for one in good])
    decode_s = covered_s([(one.first_s, one.last_s) for one in good])
    later = generated - len(good)
    return {
        "prompt_tokens": prompted,
        "tokens_generated": generated,
        "prefill_ms": int(prefill_s * 1000),
        "decode_ms": int(decode_s * 1000),
        "prefill_mtps": int(prompted * 1000 / prefill_s) if prefill_s > 0 else 0,
        "decode_mtps": int(later * 1000 / decode_s) if decode_s > 0 and later > 0 else 0,
        "counted": all(one.counted for one in good),
    }


def covered_s(spans: list[tuple[float, float]]) -> float:
    """How long at least one of the spans lasted."""
    total, end = 0.0, float("-inf")
    for begin, until in sorted(spans):
        total += max(0.0, until - max(begin, end))
        end = max(end, until)
    return total
