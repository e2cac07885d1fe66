"""Routes for models: what members with the runner role may fetch, and what a person may ask here.

Nothing is served by a path: only what was found to be a model, by its content id.
"""

import asyncio
import io
import re
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final, final

from aiohttp import ClientConnectionResetError, web

from mesh.api.errors import RequestError
from mesh.edge.http.guard import HEADERS, HttpRefusal, answer, read_body, refuse_unknown, want_text
from mesh.edge.http.roles import PEER, Route
from mesh.edge.models.around import MAX_LISTED, READ_S, by_name
from mesh.edge.models.local import Here
from mesh.edge.models.service import LOOPBACK, Models
from mesh.state.members import RUNNER, VIEWER
from providers.models.hashing import is_digest
from providers.models.identity import QUICK_DIGITS, open_regular, stat_key
from providers.models.limits import Throttle
from providers.models.manifest import Manifest

READ_BYTES: Final = 1 << 20
# Transfers out of this peer at a time; whoever comes later asks again.
MAX_SENDING: Final = 4
# A receiver that takes nothing for this long is gone; it goes on later.
WRITE_TIMEOUT_S: Final = 30.0
_RANGE: Final = re.compile(r"bytes=(\d{1,15})-(\d{1,15})", re.ASCII)
ID: Final = "{id:[0-9a-f]{32}}"


@final
class ModelRoutes:
    """The routes over one peer's models."""

    def __init__(self, models: Models) -> None:
        self._models: Final = models
        self._sending = 0
        self._sent_bytes = 0
        self._readers = ThreadPoolExecutor(MAX_SENDING, thread_name_prefix="models-send")
        self._throttle: Final = Throttle(models.config.models_rate)

    def peer_routes(self) -> list[Route]:
        """What members with the runner role reach: they run what they fetch."""
        return [
            Route("GET", "/v1/models/have", RUNNER, self.get_have),
            Route("GET", f"/v1/models/{ID}/manifest", RUNNER, self.get_manifest),
            Route("GET", f"/v1/models/{ID}/files/{{number}}", RUNNER, self.get_file),
            Route("POST", "/v1/models/fetch", RUNNER, self.post_fetch),
            Route("GET", "/v1/models/fetches/{id}", RUNNER, self.get_fetch),
        ]

    def local_routes(self) -> list[Route]:
        """What a person asks on this machine."""
        return [
            Route("GET", "/v1/models/where", VIEWER, self.get_where),
            Route("GET", "/v1/models/fetches", VIEWER, self.get_fetches),
            Route("GET", "/v1/models/fetches/{id}", VIEWER, self.get_fetch),
            Route("POST", "/v1/models/pull", RUNNER, self.post_pull),
            Route("POST", "/v1/models/push", RUNNER, self.post_push),
            Route("POST", "/v1/models/rm", "", self.post_rm),
        ]

    def close(self) -> None:
        """Read no more."""
        self._readers.shutdown(wait=False, cancel_futures=True)

    # Between peers.

    async def get_have(self, request: web.Request) -> web.Response:
        """The models here: of one content, of one name, or all."""
        refuse_unknown(request.query, ("id", "name"))
        found = await self._asked(request.query.get("id", ""), request.query.get("name", ""))
        rows = [_row(one) for one in found[:MAX_LISTED]]
        return answer({"models": rows, "more": max(0, len(found) - MAX_LISTED)})

    async def _asked(self, model_id: str, name: str) -> list[Here]:
        local = self._models.local
        if model_id:
            _wanted_id(model_id)
            one = await self._models.look(local.by_id, model_id)
            return [] if one is None else [one]
        if name:
            return await self._models.look(local.find_named, name)
        return await self._models.look(local.all)

    async def get_manifest(self, request: web.Request) -> web.Response:
        """The hashes of a model's chunks; 202 with how far it is while they are made."""
        here = await self._here(request)
        said = await asyncio.to_thread(self._models.hashing.ask, here)
        if isinstance(said, Manifest):
            return answer(said.to_json())
        return answer({"hashed_bytes": said, "size_bytes": here.identity.size_bytes}, 202)

    async def get_file(self, request: web.Request) -> web.StreamResponse:
        """A range of one file of a model; 503 while MAX_SENDING others are served."""
        here = await self._here(request)
        await self._refuse_metered(request)
        if self._sending >= MAX_SENDING:
            raise HttpRefusal(503, "Busy", f"{MAX_SENDING} models are being sent", "try again")
        self._sending += 1
        try:
            return await self._send(request, here)
        finally:
            self._sending -= 1

    async def _send(self, request: web.Request, here: Here) -> web.StreamResponse:
        number = _number(request.match_info["number"], len(here.model.parts))
        first, last = _range(request.headers.get("Range", ""), here.keys[number][2])
        file = await self._read(_opened, here, number)
        try:
            response = web.StreamResponse(
                status=206,
                headers={
                    **HEADERS,
                    "Content-Length": str(last + 1 - first),
                    "Content-Range": f"bytes {first}-{last}/{here.keys[number][2]}",
                },
            )
            with suppress(ClientConnectionResetError, ConnectionResetError, TimeoutError):
                await response.prepare(request)
                await self._stream(response, file, first, last + 1 - first)
            return response
        finally:
            file.close()

    async def _stream(
        self, response: web.StreamResponse, file: io.FileIO, offset: int, left: int
    ) -> None:
        file.seek(offset)
        while left:
            data = await self._read(file.read, min(READ_BYTES, left))
            if not data:  # cut short while it was sent: the receiver sees an early end
                raise ConnectionResetError
            left -= len(data)
            self._sent_bytes += len(data)
            async with asyncio.timeout(WRITE_TIMEOUT_S):
                await response.write(data)
            if wait := self._throttle.wait_s(len(data), time.monotonic()):
                await asyncio.sleep(wait)

    async def _read(self, call: Any, *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._readers, call, *args)

    async def post_fetch(self, request: web.Request) -> web.Response:
        """A member pushes a model: fetch it from that member, within our limits; 202."""
        body = await read_body(request)
        refuse_unknown(body, ("model",))
        return answer(await self._models.accept(body.get("model"), request[PEER]), 202)

    async def _refuse_metered(self, request: web.Request) -> None:
        near = (request.remote or "").startswith(LOOPBACK)
        if not near and await self._models.is_metered():
            text = "the line of the machine that has it is metered"
            raise HttpRefusal(409, "Metered", text, 'metered = "no" in its fleet.toml')

    async def _here(self, request: web.Request) -> Here:
        model_id = request.match_info["id"]
        found = await self._models.look(self._models.local.by_id, model_id)
        if found is None:
            raise HttpRefusal(404, "NotHere", f"no model {model_id[:12]} here", "ask who has it")
        return found

    # On this machine.

    async def get_where(self, request: web.Request) -> web.Response:
        """Who has which model, by content: this peer and every member that answers."""
        refuse_unknown(request.query, ("model",))
        ref = request.query.get("model", "")
        models = self._models
        mine = await (models.find(ref) if ref else models.look(models.local.all))
        copies, silent = await models.around.who_has(_query(ref, mine), READ_S)
        rows = [{**_row(one), "peer": "", "path": str(one.model.path)} for one in mine]
        rows += [
            {
                **one.identity.to_json(),
                "keeper": one.keeper,
                "peer": one.member.name,
                "transfer_ms": round(one.transfer_ms),
            }
            for one in copies
        ]
        said = [{"peer": one.member.name, "text": one.text} for one in silent]
        return answer({"models": rows, "silent": said, "notes": list(models.local.notes)})

    async def get_fetches(self, request: web.Request) -> web.Response:
        """Every fetch of this daemon's life, and how much others fetched from it."""
        refuse_unknown(request.query, ())
        return answer({"fetches": self._models.fetches(), "sent_bytes": self._sent_bytes})

    async def get_fetch(self, request: web.Request) -> web.Response:
        """One fetch, here or, for one that was pushed, at the peer it was pushed to."""
        refuse_unknown(request.query, ("peer",))
        model_id, peer = request.match_info["id"], request.query.get("peer", "")
        _wanted_id(model_id)
        if not peer or PEER in request:
            return answer(self._models.fetch(model_id))
        around = self._models.around
        path = f"/v1/models/fetches/{model_id}"
        return answer(await around.ask(around.named(peer), "GET", path))

    async def post_pull(self, request: web.Request) -> web.Response:
        """Bring a model here; 202 with the row of its fetch, 200 where it is here already."""
        body = await read_body(request)
        refuse_unknown(body, ("model", "from", "metered"))
        ref, source = want_text(body, "model"), str(body.get("from") or "")
        row = await self._models.pull(ref, source, metered=body.get("metered") is True)
        return answer(row, 200 if row["state"] == "here" else 202)

    async def post_push(self, request: web.Request) -> web.Response:
        """Ask a member to fetch a model from here; 202 with the row of its fetch there."""
        body = await read_body(request)
        refuse_unknown(body, ("model", "to"))
        return answer(await self._models.push(want_text(body, "model"), want_text(body, "to")), 202)

    async def post_rm(self, request: web.Request) -> web.Response:
        """Remove a model that was fetched, or is named by its path; `look`: only say which."""
        body = await read_body(request)
        refuse_unknown(body, ("model", "look"))
        ref = want_text(body, "model")
        return answer(await self._models.remove(ref, only_look=body.get("look") is True))


def _row(one: Here) -> dict[str, object]:
    return {**one.identity.to_json(), "keeper": one.model.keeper}


def _query(ref: str, mine: list[Here]) -> str:
    """The same content elsewhere, where it is here; else whatever is called so."""
    ids = {one.id for one in mine}
    if not ref:
        return ""
    return f"id={ids.pop()}" if len(ids) == 1 else by_name(ref)


def _wanted_id(text: str) -> None:
    if not is_digest(text, QUICK_DIGITS):
        raise HttpRefusal(400, "BadField", f"{text[:40]!r} is no model's id")


def _number(text: str, count: int) -> int:
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else count
    if number >= count:
        raise HttpRefusal(404, "NotHere", f"the model has {count} files", "")
    return number


def _range(text: str, size: int) -> tuple[int, int]:
    """The first and the last byte that are asked for."""
    found = _RANGE.fullmatch(text)
    if found is None or not int(found[1]) <= int(found[2]) < size:
        raise HttpRefusal(416, "BadRange", "ask for Range: bytes=FIRST-LAST inside the file", "")
    return int(found[1]), int(found[2])


def _opened(here: Here, number: int) -> io.FileIO:
    """The file, if it still is the one whose content was named."""
    file = open_regular(here.model.parts[number].path)
    if stat_key(file.fileno()) != here.keys[number]:
        file.close()
        raise RequestError("Changed", f"{here.identity.name} changed on disk", "ask again", 409)
    return file
