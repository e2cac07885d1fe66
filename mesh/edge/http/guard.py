"""Who may ask, how much they may send, when it is their turn, and how every refusal looks: {code,
text, hint}.

Knows no route. The order is fixed: shape of errors, then Host and Origin, then the token.
"""

import asyncio
import hmac
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, final
from urllib.parse import urlsplit

import msgspec
from aiohttp import web
from aiohttp.typedefs import Middleware

from mathcore.catalogue.names import find_named
from mesh.api.errors import RequestError
from mesh.api.flags import MTP
from mesh.api.requests import MAX_BODY_BYTES

# Load balancers and people probe these before they hold the token; they say one word.
OPEN_PATHS: Final = frozenset({"/healthz", "/readyz"})
# Of a whole number in a query: no cursor or offset is longer, and a longer text is not read at all.
MAX_DIGITS: Final = 18
# Names a browser on this machine uses for us; any other Host is DNS rebinding.
LOOPBACK_HOSTS: Final = frozenset({"127.0.0.1", "localhost", "::1"})
# What is not ready is so in seconds or minutes: nobody needs to ask more often than this.
RETRY_AFTER_S: Final = 2
HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}

# Threads hold Python's lock in turn, so more at once finish none sooner; two, so that one that
# takes seconds (ten thousand offers) is not waited for, and the loop's other threads stay free.
AT_ONCE: Final = 2
# A page waits with one question and a script with a few; each holds a socket and its body.
MAX_WAITING: Final = 32
# Of one member, begun or not: it locks no other out.
MAX_QUESTIONS_OF_A_PEER: Final = 4
PEER: Final = web.RequestKey("peer", bytes)  # who asks, on routes that peers reach

Question = Mapping[str, object]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = logging.getLogger("fleet.http")


class HttpRefusal(RequestError):
    """A request the server itself turns away, status first."""

    def __init__(self, status: int, code: str, text: str, hint: str = "") -> None:
        super().__init__(code, text, hint, status)


def answer(value: object, status: int = 200) -> web.Response:
    """One JSON document."""
    return web.Response(
        body=msgspec.json.encode(value),
        status=status,
        content_type="application/json",
        headers=HEADERS,
    )


def refusal(
    status: int, code: str, text: str, hint: str = "", more: Mapping[str, object] | None = None
) -> web.Response:
    """The one shape every error has; `more` stands beside it, for programs."""
    response = answer({"code": code, "text": text, "hint": hint, **(more or {})}, status)
    if status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    if status == 503:
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return response


@web.middleware
async def shape_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever went wrong below into {code, text, hint}; never a traceback to a client."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        return _refuse_http(request, error)
    except Exception as error:
        return _refuse_error(request, error)


def _refuse_http(request: web.Request, error: web.HTTPException) -> web.StreamResponse:
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        response = refusal(
            405, "MethodNotAllowed", f"{request.method} is not offered here", f"use {allowed}"
        )
        response.headers["Allow"] = allowed
        return response
    if error.status == 404:
        return refusal(404, "NoRoute", f"no route {request.path[:200]}", "see GET /v1/status")
    if error.status == 413:
        return _too_large()
    return refusal(error.status, error.reason.replace(" ", ""), error.reason)


def _too_large() -> web.Response:
    return refusal(
        413,
        "TooLarge",
        f"the body is over {MAX_BODY_BYTES} bytes",
        "send a shorter one",
    )


def _refuse_error(request: web.Request, error: Exception) -> web.StreamResponse:
    """Our own errors carry text and hint (RequestError, StoreError …); others are bugs."""
    text = getattr(error, "text", None)
    if isinstance(text, str):
        status = getattr(error, "status", 400)
        code = getattr(error, "code", type(error).__name__)
        return refusal(status, str(code), text, str(getattr(error, "hint", "") or ""))
    log.exception("%s %s failed", request.method, request.path)
    return refusal(
        500,
        "Internal",
        "the daemon could not serve this request",
        "see daemon.log in the state directory",
    )


@web.middleware
async def check_origin(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse pages of other sites, whether they name us (Origin) or rename us (Host)."""
    if not _is_ours(request.headers.get("Host", "")):
        raise HttpRefusal(
            403,
            "BadHost",
            "this daemon answers to loopback names only",
            "use http://127.0.0.1:PORT",
        )
    origin = request.headers.get("Origin")
    if origin is not None and origin != f"http://{request.headers['Host']}":
        raise HttpRefusal(403, "BadOrigin", "requests from other sites are refused")
    return await handler(request)


def _is_ours(host: str) -> bool:
    """Whether it is a loopback name, alone or with a port that there can be."""
    try:
        said = urlsplit(f"//{host}")
        port = said.port
    except ValueError:
        return False
    return (port is None or port > 0) and said.netloc == host and said.hostname in LOOPBACK_HOSTS


def check_token(token: str, otherwise: Callable[[web.Request], bool]) -> Middleware:
    """The middleware that wants `Authorization: Bearer TOKEN` on all but OPEN_PATHS.

    Without it `otherwise` says whether a request may pass.
    """
    wanted = f"Bearer {token}".encode()

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
        known = request.path in OPEN_PATHS or hmac.compare_digest(given, wanted)
        if not known and not otherwise(request):
            raise HttpRefusal(
                401,
                "Unauthorized",
                "the token is missing or wrong",
                "send Authorization: Bearer with the text of FLEET_HOME/token",
            )
        return await handler(request)

    return check


async def read_body(request: web.Request, most: int = MAX_BODY_BYTES) -> dict[str, object]:
    """The JSON object a client sent, of `most` bytes; an empty body is an empty object."""
    if (request.content_length or 0) > most:
        raise web.HTTPRequestEntityTooLarge(most, request.content_length or 0)
    raw = await request.read()
    if not raw:
        return {}
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError) as error:
        raise HttpRefusal(400, "BadJson", f"the body is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise HttpRefusal(400, "BadJson", "the body must be a JSON object")
    return value


def refuse_unknown(given: Iterable[str], known: Iterable[str]) -> None:
    """Name the first field we would otherwise silently ignore."""
    allowed = sorted(known)
    for name in given:
        if name not in allowed:
            raise HttpRefusal(
                400,
                "UnknownField",
                f"unknown field {name[:80]!r}",
                f"known: {', '.join(allowed) or 'none'}",
            )


def whole(request: web.Request, name: str, default: int) -> int:
    """A whole number of the query, such as a cursor or a number of rows."""
    text = request.query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS):
        raise HttpRefusal(400, "BadField", f"{name} must be a whole number")
    return int(text)


def want_text(body: Mapping[str, object], name: str) -> str:
    """A required, non-empty text field."""
    value = body.get(name)
    if not isinstance(value, str) or not value.strip():
        raise HttpRefusal(400, "BadField", f"{name} must be a non-empty text")
    return value


def by_name(query: dict[str, object]) -> None:
    """Another peer asks about models by name: a path or a URL would be opened on this machine."""
    draft = query.get("draft")
    named = [query.get("model"), None if draft == MTP else draft]
    for name in named:
        if isinstance(name, str) and find_named(name) is None:
            raise HttpRefusal(
                404,
                "UnknownModel",
                f"no model is called {name[:80]!r} here",
                "other peers' files are theirs: fleet models lists the names",
            )
    adapters = query.get("lora")
    files = adapters if isinstance(adapters, list) else []
    if query.get("mmproj") is not None or not all(str(one)[:1].isdigit() for one in files):
        text = "mmproj and lora: another peer's files are its own"
        raise HttpRefusal(404, "NotFound", text, "an adapter's size will do: 160MB")


@final
class Turns:
    """Questions that take this machine's time, in the order they came: AT_ONCE of them at a time.

    A thread that plans can't be stopped, so one is dropped before it starts: a page that moved on
    has closed its connection by then.
    """

    def __init__(self) -> None:
        self._free: Final = asyncio.Semaphore(AT_ONCE)
        self._of_peers = Counter[bytes]()
        self.waiting = 0  # questions that have not begun

    async def take(
        self, request: web.Request, ask: Callable[[Question], dict[str, Any]], question: Question
    ) -> dict[str, Any]:
        """The answer, made in a thread; HttpRefusal where too many wait, or nobody does."""
        with self._counted(request.get(PEER)):
            return await self._take(request, ask, question)

    @contextmanager
    def _counted(self, peer: bytes | None) -> Iterator[None]:
        theirs = 0 if peer is None else self._of_peers[peer]
        if self.waiting >= MAX_WAITING or theirs >= MAX_QUESTIONS_OF_A_PEER:
            text = f"{theirs or self.waiting} questions wait already"
            raise HttpRefusal(503, "TooManyQuestions", text, "ask again in a second")
        if peer is None:
            yield
            return
        self._of_peers[peer] += 1
        try:
            yield
        finally:
            self._of_peers -= Counter({peer: 1})

    async def _take(
        self, request: web.Request, ask: Callable[[Question], dict[str, Any]], question: Question
    ) -> dict[str, Any]:
        self.waiting += 1
        try:
            await self._free.acquire()
        finally:
            self.waiting -= 1
        try:
            if request.transport is None or request.transport.is_closing():
                raise HttpRefusal(503, "Dropped", "whoever asked has left")
            return await asyncio.to_thread(ask, question)
        finally:
            self._free.release()


TURNS: Final = web.AppKey("turns", Turns)
