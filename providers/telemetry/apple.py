"""The GPU of a Mac now: what `ioreg` shows any user. Power and clocks need root, so are unknown."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Final, final

import psutil

from providers.probe.apple import apple_gpu, probe_apple, sysctl, working_set
from providers.telemetry.sample import APPLE, Look, Reading

# One ioreg takes some 20 ms of a core: at 1 Hz it would be the dearest part of a reading.
EVERY_S: Final = 5.0
IOREG: Final = ("/usr/sbin/ioreg", "-r", "-d", "1", "-w", "0", "-c", "IOAccelerator")
IOREG_S: Final = 4.0
BUSY: Final = re.compile(r'"Device Utilization %"\s*=\s*(\d+)')


def _ioreg() -> str:
    try:
        done = subprocess.run(IOREG, capture_output=True, text=True, timeout=IOREG_S, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout


@final
class AppleGpu:
    """The one GPU of an Apple chip."""

    def __init__(
        self, said: Callable[[], str] = _ioreg, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._said = said
        self._clock = clock
        self._asked_s = -EVERY_S
        self._busy: int | None = None
        self._there = sys.platform == "darwin" and bool(probe_apple().found)
        self._limit = working_set() if self._there else 0

    def look(self) -> Look:
        """Its reading; nothing where this is no such Mac."""
        if not self._there:
            return Look(source=APPLE)
        if self._clock() - self._asked_s >= EVERY_S:
            self._asked_s, self._busy = self._clock(), busy_percent(self._said())
        memory = psutil.virtual_memory()
        gpu = apple_gpu(memory.total, memory.available, lambda: self._limit, sysctl)
        reading = Reading(
            key=f"{APPLE}:0",
            name=gpu.name,
            memory_bytes=gpu.memory_bytes,
            free_bytes=gpu.free_bytes,
            utilisation_percent=self._busy,
            shares_ram=True,
        )
        return Look(source=APPLE, found=(reading,))


def busy_percent(said: str) -> int | None:
    """How busy the GPU is, of ioreg's text; None where that does not say."""
    found = BUSY.search(said)
    return min(100, int(found.group(1))) if found else None
