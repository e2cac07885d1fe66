"""The address itself: what tools ask, in the families they speak.

On loopback no key is needed, as tools expect; a key that is sent must not be a revoked one.
"""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Mapping
from typing import Any, Final, final

import msgspec
from aiohttp import web

from mesh.api.errors import RequestError
from mesh.edge.gateway.admission import Admission, Pass
from mesh.edge.gateway.listing import Listing, now_text
from mesh.edge.gateway.outlet import HEADERS, Left, Outlet, refused
from mesh.edge.gateway.relay import Relay, problem_of
from mesh.edge.http.guard import Handler, answer, check_origin
from mesh.serving import anthropic, ollama, ollama_models
from mesh.serving.family import (
    CHAT,
    COMPLETIONS,
    COUNT,
    EMBEDDINGS,
    RESPONSES,
    Asked,
    Body,
    Family,
    Problem,
    want_model,
)
from mesh.serving.openai import Embeddings, Generation, Passed
from mesh.serving.responses import Responses
from mesh.serving.routing import is_called

# A conversation of a million tokens is 4 MB; its pictures and recordings as text some more. Each
# request under way is in memory twice.
MAX_BODY_BYTES: Final = 32 << 20
LONG_BYTES: Final = 1 << 20  # longer ones are read beside the loop, which others wait for
# Requests under way at this address: each has a socket here and one to its server.
MAX_AT_ONCE: Final = 256


@final
class Gateway:
    """The routes of one peer's address. `needs_key`: whether who asks must send one."""

    def __init__(self, relay: Relay, listing: Listing, admission: Admission) -> None:
        self._relay: Final = relay
        self._listing: Final = listing
        self._admission: Final = admission
        self._at_once = 0

    def app(self, *, needs_key: bool = False) -> web.Application:
        """All of it, for this machine's own tools; `needs_key`: for others', who must send one."""
        guards = [self._check_key] if needs_key else [check_origin]
        app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[_shaped, *guards])
        app.add_routes([web.post(path, self._asks(one)) for path, one in self._families().items()])
        app.add_routes(
            [
                web.get("/", _hello),
                web.get("/v1/models", self._models),
                web.get("/v1/models/{name:.+}", self._model),
                web.post(
                    "/v1/messages/count_tokens", _refused_as(anthropic.Messages(), self._count)
                ),
                web.get("/api/version", _version),
                web.get("/api/tags", self._tags),
                web.get("/api/ps", self._running),
                web.post("/api/show", _refused_as(ollama.OllamaChat(now_text), self._show)),
                web.post("/api/embed", self._embeds(old=False)),
                web.post("/api/embeddings", self._embeds(old=True)),
                *[web.route("*", path, _not_here(one)) for path, one in NOT_HERE.items()],
            ]
        )
        return app

    @web.middleware
    async def _check_key(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self._admission.key(secret_of(request.headers), needed=True)
        return await handler(request)

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """A chat in OpenAI's form, for a server that has looked at who asks."""
        try:
            return await self._asks(Generation(CHAT))(request)
        except Left:
            return web.Response()  # nobody reads it

    def _families(self) -> dict[str, Family]:
        return {
            CHAT: Generation(CHAT),
            COMPLETIONS: Generation(COMPLETIONS),
            EMBEDDINGS: Embeddings(),
            RESPONSES: Responses(now_s=lambda: int(time.time())),
            "/v1/messages": anthropic.Messages(),
            "/api/chat": ollama.OllamaChat(now_text),
            "/api/generate": ollama.OllamaGenerate(now_text),
        }

    # Asking

    def _asks(self, family: Family) -> Handler:
        async def asked(request: web.Request) -> web.StreamResponse:
            body = await read_json(request)
            if request.path.startswith("/api/") and ollama.is_load(body):
                return await self._load(request, body)
            return await self._pass(request, family, family.read(body))

        return _refused_as(family, asked)

    async def _pass(
        self, request: web.Request, family: Family, asked: Asked, *, retold: bool = False
    ) -> web.StreamResponse:
        """An answer, to its end."""
        key = self._admission.key(secret_of(request.headers), needed=False)
        if self._at_once >= MAX_AT_ONCE:
            raise RequestError("Busy", f"{MAX_AT_ONCE} requests are under way here", "", 503)
        admitted: Pass | None = None
        self._at_once += 1
        try:
            admitted = await self._admission.begin(key, asked)
            reply = asked.reply()
            out = Outlet(request, family, asked, reply, retold=retold)
            return await self._relay.answer(asked, reply, out, admitted)
        finally:
            self._at_once -= 1
            if admitted is not None:
                admitted.end()

    async def _plain(self, request: web.Request, family: Family, asked: Asked) -> Body:
        """An answer that is no stream, to be told in another way."""
        response = await self._pass(request, family, asked, retold=True)
        raw = response.body if isinstance(response, web.Response) else None
        if response.status != 200 or not isinstance(raw, bytes):
            raise _Said(response)
        return _object(raw)

    # Listing

    async def _models(self, request: web.Request) -> web.Response:
        return answer({"object": "list", "data": await self._listing.openai()})

    async def _model(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        for one in await self._listing.openai():
            if is_called(name, one["id"]):
                return answer(one)
        text, hint = f"no model is called {name[:80]!r} here", "GET /v1/models lists them"
        raise RequestError("UnknownModel", text, hint, 404)

    async def _tags(self, request: web.Request) -> web.Response:
        return answer(ollama_models.tags(await self._listing.ollama()))

    async def _running(self, request: web.Request) -> web.Response:
        return answer(ollama_models.running(await self._listing.ollama()))

    async def _show(self, request: web.Request) -> web.Response:
        name = ollama_models.shown_name(await read_json(request))
        for one in await self._listing.ollama():
            if is_called(name, one.name):
                return answer(ollama_models.show(one))
        raise RequestError("UnknownModel", f"model '{name[:80]}' not found", "", 404)

    # What is told in another way

    async def _load(self, request: web.Request, body: Mapping[str, Any]) -> web.StreamResponse:
        """Ollama's way to have a model loaded: a request without a prompt."""
        model, chat = want_model(body), request.path.endswith("chat")
        if ollama.is_unload(body):
            return answer(ollama.loaded(model, now_text(), chat=chat, unload=True))
        self._admission.key(secret_of(request.headers), needed=False)
        await self._relay.loaded(ollama.plain_name(model))
        return answer(ollama.loaded(model, now_text(), chat=chat))

    def _embeds(self, *, old: bool) -> Handler:
        family = ollama_models.OllamaEmbed(old=old)

        async def embeds(request: web.Request) -> web.StreamResponse:
            asked = family.read(await read_json(request))
            found = await self._plain(request, family, asked)
            return answer(ollama_models.embedded(found, asked.model, old=old))

        return _refused_as(family, embeds)

    async def _count(self, request: web.Request) -> web.StreamResponse:
        """How many tokens a request of Anthropic's has."""
        body = await read_json(request)
        asked = Asked(
            model=want_model(body),
            path=COUNT,
            body=anthropic.count_body(body),
            stream=False,
            reply=lambda: Passed(chat=True, wants_usage=True),
        )
        found = await self._plain(request, anthropic.Messages(), asked)
        return answer(anthropic.counted(found))


@final
class _Said(Exception):
    """The client has its answer already, or will have this one."""

    def __init__(self, response: web.StreamResponse) -> None:
        super().__init__()
        self.response: Final = response


NOT_HERE: Final = ollama_models.NOT_HERE


def _refused_as(family: Family, work: Handler) -> Handler:
    """What is refused on the way is refused in a family's own shape."""

    async def handler(request: web.Request) -> web.StreamResponse:
        try:
            return await work(request)
        except _Said as said:
            return said.response
        except RequestError as error:
            return refused(family, problem_of(error))

    return handler


def _object(raw: bytes) -> Body:
    """An engine's answer; RequestError where it is none."""
    try:
        found = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError) as error:
        raise RequestError("BadAnswer", "the engine's answer is not JSON", "", 502) from error
    return found if isinstance(found, dict) else {}


def _not_here(problem: Problem) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        return refused(ollama.OllamaChat(now_text), problem)

    return handler


async def _hello(request: web.Request) -> web.Response:
    """Tools look whether Ollama is here by this sentence."""
    return web.Response(text=ollama_models.RUNNING, headers=HEADERS)


async def _version(request: web.Request) -> web.Response:
    return answer(ollama_models.version())


@web.middleware
async def _shaped(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Whatever is refused before its body is read is refused as its path's family would."""
    family = _family_of(request.path)
    try:
        return await handler(request)
    except Left:
        return web.Response()  # nobody reads it
    except RequestError as error:
        return refused(family, problem_of(error))
    except web.HTTPException as error:
        text = f"a request of more than {MAX_BODY_BYTES >> 20} MiB" if error.status == 413 else ""
        reason = error.reason
        text = text or f"{request.method} {request.path[:200]}: {reason}"
        known = Problem(status=error.status, code=reason.replace(" ", ""), text=text)
        return refused(family, known)
    except Exception:
        traceback.print_exc()
        text, hint = "the daemon could not serve this request", "see daemon.log"
        return refused(family, Problem(status=500, code="Internal", text=text, hint=hint))


def _family_of(path: str) -> Family:
    """Whose clients ask at a path."""
    if path.startswith("/api/"):
        return ollama.OllamaChat(now_text)
    return anthropic.Messages() if path.startswith("/v1/messages") else Generation(CHAT)


async def read_json(request: web.Request) -> Mapping[str, Any]:
    """The object a client sent."""
    raw = await request.read()
    try:
        long = len(raw) > LONG_BYTES
        decode = msgspec.json.decode
        body = await asyncio.to_thread(decode, raw) if long else decode(raw)
    except (msgspec.DecodeError, RecursionError) as error:
        raise RequestError("BadJson", f"the body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise RequestError("BadJson", "the body must be a JSON object")
    return body


def secret_of(headers: Mapping[str, str]) -> str:
    """The key a client sends, as OpenAI's and Anthropic's libraries do."""
    scheme, _, given = headers.get("Authorization", "").partition(" ")
    return given.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "").strip()
