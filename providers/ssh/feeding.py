"""What goes to a program's stdin and what comes back, at once: for whatever knows SSH."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

from providers.ssh.framing import Answer, Reader
from providers.ssh.limits import STALL_S


async def fed_answer(
    process: Any, reader: Reader, head: bytes, pieces: Iterator[bytes], limit_s: float
) -> Answer | None:
    """The answer; it may come before all was sent, from a script that wants no more."""
    answering = asyncio.ensure_future(answer_of(process, reader))
    try:
        # A host that takes no more has its end sentinel, or its silence, to say it.
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(head)
            while not answering.done() and (data := await asyncio.to_thread(next, pieces, b"")):
                process.stdin.write(data)
                async with asyncio.timeout(STALL_S):
                    await process.stdin.drain()
            process.stdin.write_eof()
        async with asyncio.timeout(limit_s):
            return await answering
    finally:
        answering.cancel()


async def answer_of(process: Any, reader: Reader) -> Answer | None:
    """What a script printed, once its end sentinel came; None where the output ended without."""
    while data := await process.stdout.read(65536):
        answer = reader.take(data)
        if answer is not None:
            return answer
    return None
