"""RunPod's own Python client against our stand-in: `python -m tests.vendors.drive_runpod FOLDER`.

FOLDER is a virtual environment with `runpod`; the client runs in it, and the stand-in here.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.emulators.runpod import RunPodEmulator
from tests.emulators.server import Server

HERE = Path(__file__).parent


async def drive(program: Sequence[str], *after: str) -> int:
    """The exit code of a program that is told the address and the key, and then `after`; 1 where
    it left a pod behind."""
    emulator = RunPodEmulator(random.Random(1))
    async with Server(emulator) as server:
        child = await asyncio.create_subprocess_exec(*program, server.url, emulator.key, *after)
        code = await child.wait()
    left = [one.id for one in emulator.machines.all.values() if one.ended is None]
    if left:
        print(f"left behind: {left}", file=sys.stderr)
    return code or int(bool(left))


if __name__ == "__main__":
    client = [f"{sys.argv[1]}/bin/python", str(HERE / "runpod_client.py")]
    sys.exit(asyncio.run(drive(client)))
