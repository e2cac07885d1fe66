"""A request on its way: to the best server, on to the client, and elsewhere where that one fails.

Before the first byte a request is tried once more elsewhere; after it never: the client is told.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Collection,
    Mapping,
)
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Final, Protocol, final

from aiohttp import web

from mesh.api.errors import RequestError
from mesh.edge.gateway.admission import Pass
from mesh.edge.gateway.child import Broken, joined, said_of
from mesh.edge.gateway.fleet import FleetServers
from mesh.edge.gateway.outlet import Outlet
from mesh.edge.gateway.own import COST, Want
from mesh.serving.events import DONE, PROGRESS, EventReader, NoEvents
from mesh.serving.family import PLAIN, Asked, Problem, Reply
from mesh.serving.routing import BLOCK_CHARS, Blocks, Memory, Option, blocks_of, in_order

# A client hears something this often before the first token; what is between them gives up at 10.
NOTE_S: Final = 8.0
MAX_NOTE: Final = 200  # bytes of what is shown of a wait
LOOK_S: Final = 0.2  # how late it is seen that a server is ready
TRIES: Final = 2  # servers asked before the first byte
# A server that was closed under a request has not begun it: that is no try.
MAX_CLOSINGS: Final = 8
# Codes of who did not begin a request, and of who may have.
UNBEGUN: Final = frozenset({"Closing", "NotServed", "Unreachable"})
BROKEN: Final = frozenset({"UpstreamBroken", "Unanswered", "Internal"})
CUT: Final = "the model's server broke off before its end"
# Of an answer "not now" that names no time: in the time of another's short answer.
RETRY_S: Final = 2
_ERROR: Final = b'{"error"'  # an engine's own end of a stream
_PROGRESS: Final = f'"{PROGRESS}"'.encode()


class Starts(Protocol):
    """Who brings servers up where there are none."""

    def waits(self, model: str, context: int) -> AsyncGenerator[str, None]:
        """Have a server of a model come up: says what is waited for, and ends when there is one.

        RequestError where there never will be.
        """


@final
@dataclass(slots=True)
class _Passage:
    """One request's way."""

    asked: Asked
    reply: Reply
    out: Outlet
    blocks: Blocks
    admitted: Pass
    note: str = "waiting"
    heard: bool = False  # a server began to answer; it may not have reached the client


@final
class _Failed(Exception):
    """A server did not begin, or broke off."""

    def __init__(self, option: Option, why: RequestError) -> None:
        super().__init__()
        self.option: Final = option
        self.why: Final = why


@final
class Relay:
    """Passes requests on."""

    def __init__(
        self, servers: FleetServers, starts: Starts, name: Callable[[str], str] = str
    ) -> None:
        """`name` says what people call a device."""
        self._servers: Final = servers
        self._starts: Final = starts
        self._name: Final = name
        self.memory: Final = Memory()

    async def loaded(self, model: str) -> None:
        """Until a server of a model can answer; RequestError where none ever will."""
        while not any(option.ready for option in await self._servers.options(model)):
            if next(self._servers.jobs(model), None) is None:
                async with aclosing(self._starts.waits(model, 0)) as notes:
                    async for _ in notes:
                        pass
            await asyncio.sleep(LOOK_S)

    async def answer(
        self, asked: Asked, reply: Reply, out: Outlet, admitted: Pass
    ) -> web.StreamResponse:
        """The client's answer, to its end; what it cost is noted in `admitted`."""
        one = _Passage(asked, reply, out, blocks_of(asked.prefix), admitted)
        tried: dict[str, RequestError] = {}
        async with self._alive(one):
            while True:
                try:
                    option = await self._place(one, tried)
                    return await self._from(one, option)
                except _Failed as failed:
                    tried[failed.option.job_id] = failed.why
                    if one.heard or not _may_try_again(tried.values()):
                        return await self._ends_badly(one, failed.why)
                except RequestError as error:
                    return await self._ends_badly(one, error)

    async def _ends_badly(self, one: _Passage, error: RequestError) -> web.StreamResponse:
        if not one.heard and error.code not in BROKEN and one.admitted.cost_nusd is None:
            one.admitted.cost_nusd = 0  # nothing was begun
        return await one.out.breaks(problem_of(error))

    async def _place(self, one: _Passage, tried: Mapping[str, RequestError]) -> Option:
        """The best server that was not tried; where there is none, one comes up."""
        asked = one.asked
        while True:
            options = await self._servers.options(asked.model)
            self.memory.keep(job.job_id for job in self._servers.jobs())
            left = [option for option in options if option.job_id not in tried]
            found = in_order(
                left,
                self.memory,
                prefix=asked.prefix,
                blocks=one.blocks,
                context=asked.context,
                now_s=time.monotonic(),
            )
            if found:
                return found[0]
            if left:
                raise _too_long(asked, left)
            for why in tried.values():
                if why.code in BROKEN:
                    raise why
            async with aclosing(self._starts.waits(asked.model, asked.context)) as notes:
                async for note in notes:
                    one.note = note

    async def _from(self, one: _Passage, option: Option) -> web.StreamResponse:
        """Everything from one server; _Failed where another one may do better."""
        try:
            return await self._passed(one, option)
        except RequestError as error:
            if error.code not in UNBEGUN | BROKEN:
                raise
            self._servers.forget(option.owner)
            self.memory.failed(option.job_id)
            raise _Failed(option, _told(error, self._name(option.device_id))) from error

    async def _passed(self, one: _Passage, option: Option) -> web.StreamResponse:
        """Everything from one server; RequestError where it does not come, or not to its end."""
        asked, now_s = one.asked, time.monotonic()
        one.out.about = {
            "X-Fleet-Job": option.job_id,
            "X-Fleet-Device": self._name(option.device_id),
        }
        new = len(asked.prefix) - BLOCK_CHARS * self.memory.shared(option.job_id, one.blocks, now_s)
        self.memory.sent(option.job_id, one.blocks, now_s)
        want = Want(
            job_id=option.job_id, path=asked.path, body=asked.body, key_id=one.admitted.key_id
        )
        async with aclosing(self._servers.said(option, want)) as chunks:
            if asked.path in PLAIN:
                return await one.out.is_plain(_without_notes(await joined(chunks)))
            reader, fault = EventReader(), ""
            async for chunk in chunks:
                found = _events(reader, chunk)
                fault = fault or _fault_in(found)
                begins = not one.heard and any(_PROGRESS not in each for each in found)
                data = b"".join(map(one.reply.event, found))
                while reader.notes:
                    _hear(one, reader.notes.pop())
                at_once = option.ready and not option.wait_ms
                if begins and new > 0 and at_once:
                    self.memory.measured(option.job_id, new, 1000 * (time.monotonic() - now_s))
                one.heard = one.heard or begins
                await one.out.send(data)
        if not one.reply.done:
            raise Broken(fault or CUT)
        if one.admitted.cost_nusd is not None:
            await one.out.says(f"{COST}={one.admitted.cost_nusd}")
        return await one.out.ends()

    @asynccontextmanager
    async def _alive(self, one: _Passage) -> AsyncIterator[None]:
        """The client hears something until it has the first token. Most have it so soon that no
        task is begun for that."""
        speaking: list[asyncio.Task[None]] = []

        async def speak() -> None:
            while not one.out.began:
                await one.out.waits(one.note)
                await asyncio.sleep(NOTE_S)

        def begin() -> None:
            speaking.append(asyncio.create_task(speak()))

        timer = asyncio.get_running_loop().call_later(NOTE_S, begin)
        try:
            yield
        finally:
            timer.cancel()
            for task in speaking:
                task.cancel()
            await asyncio.gather(*speaking, return_exceptions=True)


def _told(error: RequestError, device: str) -> RequestError:
    """What a client reads of it: where it was, never a library's words on sockets."""
    if error.code != "Unanswered":
        return error
    return Broken(f"the peer that has {device} broke off, or is not reached")


def _too_long(asked: Asked, options: list[Option]) -> RequestError:
    """No server has room for what a client says it needs; nothing is cut off behind its back."""
    most = max(option.context for option in options)
    text = f"{asked.model[:80]} is served with a context of {most} tokens, not {asked.context}"
    return RequestError("ContextTooSmall", text, "fleet serve it with a larger --context")


def _hear(one: _Passage, note: bytes) -> None:
    """What the owner of a server says beside the answer: why it waits, and what it cost."""
    said = note[:MAX_NOTE].decode(errors="replace")
    word, _, rest = said.partition("=")
    if word == COST and rest.isascii() and rest.isdecimal():
        one.admitted.cost_nusd = int(rest)
    elif said:
        one.note = said


def _events(reader: EventReader, chunk: bytes) -> list[bytes]:
    try:
        return [data for data in reader.feed(chunk) if data != DONE]
    except NoEvents as error:
        raise Broken(f"the model's server sends {error}") from error


def _fault_in(events: list[bytes]) -> str:
    """What an engine says of itself where it ends a stream; "" where it does not."""
    return next((said_of(data) for data in events if data.startswith(_ERROR)), "")


def _without_notes(raw: bytes) -> bytes:
    """A whole answer, without the comments before it."""
    while raw.startswith(b":"):
        raw = raw.partition(b"\n\n")[2]
    return raw


def _may_try_again(tried: Collection[RequestError]) -> bool:
    begun = sum(why.code in BROKEN for why in tried)
    return begun < TRIES and len(tried) - begun < MAX_CLOSINGS


def problem_of(error: RequestError) -> Problem:
    """What a client is told."""
    again_s = getattr(error, "retry_after_s", RETRY_S if error.status == 503 else None)
    return Problem(
        status=error.status,
        code=error.code,
        text=error.text,
        hint=error.hint,
        retry_after_s=again_s if isinstance(again_s, int) else None,
    )
