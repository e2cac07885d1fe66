"""One answer of a model, asked at this machine's address and heard as it comes."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any, Final, final
from urllib.parse import urlsplit

from mesh.api.errors import RequestError
from mesh.cli.exits import UNREACHABLE, Stop
from mesh.cli.serving.chatting import Facts, Hearing, Message, Note, Piece, refusal

# Something is heard every 8 s while a model loads; between two tokens a slow machine may take
# longer, and whoever waits may press Ctrl-C.
SILENT_S: Final = 120.0
MAX_LINE: Final = 1 << 20  # a longer one is no chunk of an answer


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is asked: of which model, after which messages, for how many tokens at most."""

    model: str
    messages: Sequence[Message]
    tokens: int | None = None

    def body(self) -> bytes:
        """As OpenAI's API has it."""
        asked: dict[str, object] = {
            "model": self.model,
            "messages": list(self.messages),
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        asked |= {"max_tokens": self.tokens} if self.tokens else {}
        return json.dumps(asked, ensure_ascii=False).encode(errors="replace")


@final
class Answer:
    """One answer on its way; to be closed in any case, which ends it at the server, too."""

    def __init__(self, url: str, wish: Wish) -> None:
        self._wish: Final = wish
        self._connection: Final = _connection(url)
        self._response: HTTPResponse | None = None
        self._began_s: Final = time.monotonic()
        self._first_s: float | None = None
        self._hearing: Final = Hearing()
        self._device = ""

    def pieces(self) -> Iterator[Piece | Note]:
        """Its pieces, and what is waited for before them; RequestError where there is none."""
        try:
            response = self._opened()
            self._device = response.headers.get("X-Fleet-Device", "")
            yield from self._heard(response)
        except (OSError, HTTPException) as error:
            raise gone(error) from error

    def facts(self) -> Facts:
        """What is known of it so far."""
        now_s = time.monotonic()
        first_s = now_s if self._first_s is None else self._first_s
        return self._hearing.facts(
            model=self._wish.model,
            device=self._device,
            first_ms=1000 * (first_s - self._began_s),
            duration_ms=1000 * (now_s - self._began_s),
        )

    def close(self) -> None:
        """Let go of it; a response may hold the socket alone."""
        self._connection.close()
        if self._response is not None:
            self._response.close()

    def _opened(self) -> HTTPResponse:
        headers = {"Content-Type": "application/json", "X-Fleet-Notes": "1"}
        self._connection.request("POST", "/v1/chat/completions", self._wish.body(), headers)
        self._response = response = self._connection.getresponse()
        if response.status != 200:
            raise refusal(_json(response), response.status)
        return response

    def _heard(self, response: HTTPResponse) -> Iterator[Piece | Note]:
        while raw := response.readline(MAX_LINE):
            for one in self._hearing.line(raw.decode(errors="replace")):
                if isinstance(one, Piece) and self._first_s is None:
                    self._first_s = time.monotonic()
                yield one
            if self._hearing.done:
                return
        text = "the answer broke off before its end"
        raise RequestError("UpstreamBroken", text, "ask once more", 502)


def models_at(url: str) -> dict[str, bool]:
    """What can be asked for at an address, by name: whether it answers at once."""
    connection = _connection(url)
    try:
        connection.request("GET", "/v1/models")
        response = connection.getresponse()
        said = _json(response)
        if response.status != 200:
            raise refusal(said, response.status)
    except (OSError, HTTPException) as error:
        raise gone(error) from error
    finally:
        connection.close()
    return {str(one["id"]): one.get("state") == "loaded" for one in said.get("data", ())}


def _connection(url: str) -> HTTPConnection:
    where = urlsplit(url)
    return HTTPConnection(where.hostname or "", where.port, timeout=SILENT_S)


def _json(response: HTTPResponse) -> dict[str, Any]:
    with suppress(ValueError):
        found = json.loads(response.read())
        return found if isinstance(found, dict) else {}
    return {}


def gone(error: Exception) -> Stop:
    """Nobody is at the address."""
    text = f"the models' address does not answer: {error or type(error).__name__}"
    return Stop(UNREACHABLE, text, "fleet status, then fleet up --detach")
