"""Server-sent events: the ledger as it grows, and a job's output until the job ends.

Nothing queues per client: a stream reads on from its cursor (ledger row, file offset) when its
socket has room, so a slow reader costs one chunk and a stuck one is dropped.
"""

import asyncio
import codecs
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec
from aiohttp import ClientConnectionResetError, web

from mesh.edge.http.dashboard.guard import SessionOver, while_open
from mesh.edge.http.guard import HEADERS, MAX_DIGITS, HttpRefusal, refuse_unknown
from mesh.edge.http.ports import ServedNode
from mesh.edge.http.roles import PEER
from mesh.edge.http.standing import StandingWatch
from mesh.edge.jobs.private import words_of
from mesh.ledger.event import Event
from mesh.state.jobs import ENDED, JobView

# Each stream holds a socket and a task; a person has some tabs and `logs -f` open, not 32.
MAX_STREAMS: Final = 32
# Of other members together: in a fleet of 64 each may show all the others' devices.
MAX_PEER_STREAMS: Final = 128
# A member shares one stream of ours among all who look at it there; it locks nobody else out.
MAX_STREAMS_OF_A_PEER: Final = 4
# A client that takes nothing for this long is gone or hostile; it can resume by Last-Event-ID.
WRITE_TIMEOUT_S: Final = 30.0
# Comment lines keep middleboxes from closing a quiet stream and find dead clients.
KEEPALIVE_S: Final = 15.0
# One read of a log: at most this much memory per stream.
LOG_CHUNK_BYTES: Final = 64 * 1024
# How far behind the child's own writes `logs -f` may be.
LOG_POLL_S: Final = 0.1
# Events read from the store between two chances for other requests to run.
EVENT_BATCH: Final = 256


class Streams(dict[asyncio.Task[object], web.Request]):
    """The tasks now streaming to a client, and what each answers."""

    def room_for(self, request: web.Request) -> bool:
        """Whether whoever asks may have one more."""
        peer = request.get(PEER)
        if peer is None:
            return len(self) < MAX_STREAMS
        theirs = sum(one.get(PEER) == peer for one in self.values())
        return len(self) < MAX_PEER_STREAMS and theirs < MAX_STREAMS_OF_A_PEER

    def end_left(self) -> None:
        """End those whose client is gone: a quiet stream would find that out at its next write."""
        for task, request in list(self.items()):
            if request.transport is None or request.transport.is_closing():
                del self[task]
                task.cancel()


STREAMS: Final = web.AppKey("streams", Streams)
NODE: Final[web.AppKey[ServedNode]] = web.AppKey("node", ServedNode)


class Stream:
    """One client's event stream, with back-pressure."""

    def __init__(self, response: web.StreamResponse) -> None:
        self.response: Final = response

    async def send(self, value: object, cursor: int | None = None, kind: str = "") -> None:
        """One SSE message; waits until the socket has room."""
        head = (f"event: {kind}\n" if kind else "") + ("" if cursor is None else f"id: {cursor}\n")
        await self._write(head.encode() + b"data: " + msgspec.json.encode(value) + b"\n\n")

    async def keep_alive(self) -> None:
        """A comment line, which clients ignore."""
        await self._write(b": still here\n\n")

    async def _write(self, data: bytes) -> None:
        async with asyncio.timeout(WRITE_TIMEOUT_S):
            await self.response.write(data)


@asynccontextmanager
async def open_stream(request: web.Request) -> AsyncIterator[Stream]:
    """Admit one stream if there is room; it ends quietly when its client leaves, and for a page
    when its session ends."""
    streams = request.app[STREAMS]
    streams.end_left()
    if not streams.room_for(request):
        text = f"{len(streams)} streams are open"
        raise HttpRefusal(503, "TooManyStreams", text, "close one and try again")
    task: asyncio.Task[object] | None = asyncio.current_task()
    assert task is not None
    streams[task] = request
    response = web.StreamResponse(headers={**HEADERS, "Content-Type": "text/event-stream"})
    try:
        with suppress(ClientConnectionResetError, ConnectionResetError, TimeoutError, SessionOver):
            async with while_open(request):
                await response.prepare(request)
                yield Stream(response)
    finally:
        streams.pop(task, None)


async def end_streams(app: web.Application) -> None:
    """At shutdown: no stream may hold the daemon open."""
    streams = app[STREAMS]
    for task in list(streams):
        task.cancel()


def read_cursor(request: web.Request, name: str) -> int:
    """Where to go on: Last-Event-ID if the client reconnects, else ?name=, else 0."""
    text = request.headers.get("Last-Event-ID") or request.query.get(name) or "0"
    if not text.isascii() or not text.isdigit() or len(text) > MAX_DIGITS:
        raise HttpRefusal(400, "BadCursor", f"{name} must be a cursor this stream gave you")
    return int(text)


async def stream_events(request: web.Request) -> web.StreamResponse:
    """Everything in the ledger after `since`, then what comes, until the client leaves."""
    refuse_unknown(request.query, ("since",))
    cursor = read_cursor(request, "since")
    node = request.app[NODE]
    async with open_stream(request) as stream:
        await _follow_events(node, stream, cursor)
    return stream.response


async def _follow_events(node: ServedNode, stream: Stream, cursor: int) -> None:
    # Subscribed before the first read, so nothing falls between history and live.
    async with doorbell(node) as rung:
        while True:
            cursor = await _send_events(node, stream, cursor)
            if not await wait_for(rung, KEEPALIVE_S):
                await stream.keep_alive()


@asynccontextmanager
async def doorbell(node: ServedNode) -> AsyncIterator[asyncio.Event]:
    """An asyncio.Event set at each admitted event; many rings while busy count as one."""
    rung = asyncio.Event()
    events = node.subscribe()

    async def listen() -> None:
        heard = events
        while True:
            async for _ in heard:
                rung.set()
            rung.set()  # so much came at once that we were left out: it is in the ledger
            heard = node.subscribe()

    task = asyncio.create_task(listen())
    await asyncio.sleep(0)  # lets an async generator reach its first wait and register
    try:
        yield rung
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def wait_for(rung: asyncio.Event, seconds: float) -> bool:
    """True if it rang within `seconds`; the bell is ready for the next ring afterwards."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await rung.wait()
            rung.clear()
            return True
    return False


async def _send_events(node: ServedNode, stream: Stream, cursor: int) -> int:
    # In a thread: a client that asks from the beginning would hold the loop, batch after batch.
    while batch := await asyncio.to_thread(_batch, node, cursor):
        for at, value in batch:
            await stream.send(value, at)
            cursor = at
    return cursor


def _batch(node: ServedNode, cursor: int) -> list[tuple[int, dict[str, object]]]:
    return [(at, event_dict(event)) for at, event in node.events(cursor, EVENT_BATCH)]


def event_dict(event: Event) -> dict[str, object]:
    """An event as JSON: the seed's fields and the envelope's."""
    value = msgspec.to_builtins(event)
    assert isinstance(value, dict)
    return value


async def stream_logs(request: web.Request) -> web.StreamResponse:
    """What a job wrote, then what it writes, until it ends."""
    return await _stream_file(request, request.app[NODE].log_path)


async def stream_answer(request: web.Request) -> web.StreamResponse:
    """A model's words alone, as they come, until the job ends."""
    return await _stream_file(request, request.app[NODE].answer_path)


async def _stream_file(
    request: web.Request, path_of: Callable[[JobView], Path]
) -> web.StreamResponse:
    refuse_unknown(request.query, ("history", "since"))
    node, job = request.app[NODE], await known_job(request)
    path = path_of(job)
    offset, size = read_cursor(request, "since"), await asyncio.to_thread(_size, path)
    # Past the end nothing is ever read, and no system seeks as far as a cursor may say.
    offset = size if request.query.get("history") == "0" and not offset else min(offset, size)
    async with open_stream(request) as stream:
        await _follow(node, stream, job, path, offset)
    return stream.response


async def known_job(request: web.Request) -> JobView:
    """The job of the path, if the ledger knows it; never one that could leave the jobs' folder."""
    job_id = request.match_info["id"]
    job = None if "/" in job_id else await request.app[NODE].find_job(job_id)
    if job is None:
        raise HttpRefusal(404, "NotFound", f"no job {job_id[:80]}", "see GET /v1/jobs")
    return job


async def _follow(node: ServedNode, stream: Stream, job: JobView, path: Path, offset: int) -> None:
    decoder, quiet_s = codecs.getincrementaldecoder("utf-8")("replace"), 0.0
    standing = StandingWatch(node, job)
    while True:
        # Asked before the file is read: no tail is lost. Memory may let go of it meanwhile.
        now = node.state.jobs.get(job.job_id)
        if now is None and job.status not in ENDED:
            now = await node.find_job(job.job_id)
        job = now or job
        ended = job.status in ENDED and node.all_here(job.job_id)
        chunk = await asyncio.to_thread(_read, path, offset)
        offset += len(chunk)
        if text := decoder.decode(chunk):
            await stream.send({"text": text}, offset)
            quiet_s = 0.0
        if not chunk and ended:
            return await _send_end(node, stream, job)
        if not chunk and (news := await standing.news()) is not None:
            await stream.send(news, kind="standing")
        if not chunk:
            await asyncio.sleep(LOG_POLL_S)
            quiet_s += LOG_POLL_S
        if quiet_s >= KEEPALIVE_S:
            await stream.keep_alive()
            quiet_s = 0.0


async def _send_end(node: ServedNode, stream: Stream, job: JobView) -> None:
    words = await asyncio.to_thread(words_of, node.home, job.job_id)
    said = {"status": job.status, "reason": job.reason, "text": words or job.text}
    await stream.send(said, kind="end")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _read(path: Path, offset: int) -> bytes:
    """The next chunk; a log not yet written is an empty one."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(LOG_CHUNK_BYTES)
    except FileNotFoundError:
        return b""
