"""A ledger by upload and download: the routes behind `fleet import` and the dashboard's export."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Final

import msgspec
from aiohttp import ClientConnectionResetError, web

from mesh.edge.disk import explained
from mesh.edge.http.dashboard.guard import broken_off
from mesh.edge.http.guard import HEADERS, HttpRefusal, answer, refuse_unknown
from mesh.edge.http.stream import NODE, WRITE_TIMEOUT_S
from mesh.edge.store.ledger import Reader

# Some two million events, a minute of work; more comes in parts.
MAX_IMPORT_BYTES: Final = 1 << 30
CHUNK_BYTES: Final = 1 << 18
EXPORT: Final = ".export-"
EXPORTING: Final = web.AppKey("exporting", asyncio.Lock)


async def post_import(request: web.Request) -> web.Response:
    """Admit an export's events through the gate; 200 with what became of each line.

    `name` is what errors call the file. The body is the file, streamed to disk, never in memory.
    """
    refuse_unknown(request.query, ("name",))
    if (request.content_length or 0) > MAX_IMPORT_BYTES:
        raise _too_large()
    node = request.app[NODE]
    async with _received(request, node.home) as path:
        report = await node.import_(path, request.query.get("name", "the upload")[:200])
    return answer(msgspec.to_builtins(report))


async def get_export(request: web.Request) -> web.StreamResponse:
    """Every event with its signature, a line each, as `fleet import` takes them.

    One snapshot, in a private file first, so that a slow client holds no transaction open; one at a
    time, for each takes as much of the disk as the ledger.
    """
    refuse_unknown(request.query, ())
    if request.app[EXPORTING].locked():
        raise HttpRefusal(409, "Busy", "an export is under way", "try again once it has ended")
    path = request.app[NODE].home / f"{EXPORT}{secrets.token_hex(8)}"
    async with request.app[EXPORTING]:
        try:
            size_bytes = await asyncio.to_thread(_export, path)
            return await broken_off(request, _sent(request, path, size_bytes))
        finally:
            path.unlink(missing_ok=True)


def _export(path: Path) -> int:
    """Write the file; its bytes. What an export that was cut off left is removed."""
    for old in path.parent.glob(f"*{EXPORT}*"):
        old.unlink(missing_ok=True)
    with closing(Reader.open(path.parent)) as reader:
        reader.export(path)
    return path.stat().st_size


async def _sent(request: web.Request, path: Path, size_bytes: int) -> web.StreamResponse:
    headers = {**HEADERS, "Content-Type": "application/octet-stream"}
    response = web.StreamResponse(headers=headers)
    response.content_length = size_bytes
    await response.prepare(request)
    with path.open("rb") as file, suppress(ClientConnectionResetError, ConnectionResetError):
        while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
            try:
                async with asyncio.timeout(WRITE_TIMEOUT_S):
                    await response.write(chunk)
            except TimeoutError:  # what it has must not look whole
                if request.transport is not None:
                    request.transport.abort()
                break
    return response


@asynccontextmanager
async def _received(request: web.Request, folder: Path) -> AsyncIterator[Path]:
    """The body as a private file that is gone afterwards."""
    path = folder / f".import-{secrets.token_hex(8)}"
    with explained("cannot take the upload in"):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            size = 0
            async for chunk in request.content.iter_chunked(CHUNK_BYTES):
                size += len(chunk)
                if size > MAX_IMPORT_BYTES:
                    raise _too_large()
                with explained("cannot take the upload in"):
                    await asyncio.to_thread(file.write, chunk)
        yield path
    finally:
        path.unlink(missing_ok=True)


def _too_large() -> HttpRefusal:
    text = f"the file is over {MAX_IMPORT_BYTES} bytes"
    return HttpRefusal(413, "TooLarge", text, "split it: each line stands for itself")
