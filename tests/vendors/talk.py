"""A vendor's client in a process and an environment of its own, called over its standard input.

It reads a line `{"call": name, "args": […], "kwargs": {…}}` and writes `{"result": …}` or
`{"error": words}`: `client_VENDOR.py` is run by the vendor's Python and knows nothing of ours.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

CALL_S = 60.0
HERE = Path(__file__).parent


class Failed(Exception):
    """The client raised: in its words."""


class Vendor:
    """The client at the other end of a pipe."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def call(self, name: str, *args: object, **kwargs: object) -> Any:
        """What the client gives back; `Failed` where it raises."""
        line = json.dumps({"call": name, "args": args, "kwargs": kwargs}) + "\n"
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(line.encode())
        await stdin.drain()
        answer = json.loads(await asyncio.wait_for(stdout.readline(), CALL_S))
        if "error" in answer:
            raise Failed(answer["error"])
        return answer["result"]

    async def fails(self, name: str, *args: object, **kwargs: object) -> str:
        """The words of a call that must raise."""
        try:
            found = await self.call(name, *args, **kwargs)
        except Failed as error:
            return str(error)
        raise AssertionError(f"{name} gave {found!r}")


@asynccontextmanager
async def vendor(
    name: str, command: list[str], home: Path, environ: Mapping[str, str]
) -> AsyncIterator[Vendor]:
    """`command` runs with nothing of this process's environment but the path to programs."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "HOME": str(home), "NO_PROXY": "*", **environ},
        cwd=home,
        limit=1 << 24,
    )
    try:
        yield Vendor(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


class Report:
    """What was asked of a client, and whether it and the stand-in agree."""

    def __init__(self) -> None:
        self.failed = 0
        self.passed = 0

    async def run(self, what: str, check: Callable[[], Awaitable[object]]) -> None:
        begun = time.monotonic()
        try:
            note = await check()
        except Exception as error:  # whatever a client or a check raises is a failure
            self.failed += 1
            self._say("FAIL", begun, what, f"{type(error).__name__}: {error}"[:500])
        else:
            self.passed += 1
            self._say("ok  ", begun, what, str(note or ""))

    def _say(self, word: str, begun: float, what: str, note: str) -> None:
        print(f"{word} {time.monotonic() - begun:6.2f} s  {what:64} {note}", flush=True)

    def end(self, who: str) -> int:
        """The exit code."""
        print(f"{who}: {self.passed} passed, {self.failed} failed")
        return int(self.failed > 0)
