"""A ledger by upload: the route behind `fleet import` while the daemon holds the ledger."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec
from aiohttp import web

from mesh.edge.disk import explained
from mesh.edge.http.guard import HttpRefusal, answer, refuse_unknown
from mesh.edge.http.stream import NODE

# Some two million events, a minute of work; more comes in parts.
MAX_IMPORT_BYTES: Final = 1 << 30
CHUNK_BYTES: Final = 1 << 18


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
