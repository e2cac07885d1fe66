"""A machine that holds one model at a time: its daemon reads of little memory, in a mount namespace
of its own, and of less while its engines run."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.interop.stage import children, runners

TOTAL_KIB = 2_000_000
FREE_KIB = 1_350_000  # while nothing runs
OWN_KIB = 200_000  # what an engine takes at most before it has loaded anything
LOOK_S = 0.1
MEMINFO = Path("/proc/meminfo")
SCRIPT = 'mount --bind "$0" /proc/meminfo && exec "$@"'


class SmallMachine:
    """Its memory, as programs in its namespace read it."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "meminfo"
        self._write(0)
        self.prefix = ("unshare", "--mount", "sh", "-c", SCRIPT, str(self.file))
        self.most = 0  # engines that had loaded a model at the same time
        self.fault = self._fault()

    def _fault(self) -> str:
        """Why there can be none here, or ""."""
        try:
            command = [*self.prefix, "grep", "-c", f"{TOTAL_KIB} kB", "/proc/meminfo"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        except OSError as error:
            return f"no mount namespaces here: {error}"
        return "" if done.returncode == 0 else f"no mount namespaces here: {done.stderr.strip()}"

    @contextmanager
    def measured(self, home: Path) -> Iterator[None]:
        """While in the block, what its engines hold is missing from what is free."""
        ends = threading.Event()

        def look() -> None:
            while not ends.wait(LOOK_S):
                held = [_resident_kib(pid) for pid in engines(home)]
                self.most = max(self.most, sum(kib > OWN_KIB for kib in held))
                self._write(sum(held))

        looking = threading.Thread(target=look)
        looking.start()
        try:
            yield
        finally:
            ends.set()
            looking.join()

    def _write(self, held_kib: int) -> None:
        """In one write and at the same length: whoever reads meanwhile reads a whole one."""
        free = max(0, FREE_KIB - held_kib)
        said = {"MemTotal": TOTAL_KIB, "MemFree": free, "MemAvailable": free, "Cached": 0}
        text = MEMINFO.read_text()
        for name, kib in said.items():
            text = re.sub(rf"(?m)^{name}:.*$", f"{name}: {kib:16} kB", text)
        handle = os.open(self.file, os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            os.pwrite(handle, text.encode(), 0)
        finally:
            os.close(handle)


def engines(home: Path) -> list[int]:
    """The programs that compute for a peer."""
    found: list[int] = []
    for runner in runners(home):
        try:
            found += [one for held in children(runner) for one in children(held)]
        except OSError:
            continue  # it ended meanwhile
    return found


def _resident_kib(pid: int) -> int:
    try:
        said = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = re.search(r"VmRSS:\s+(\d+) kB", said)
    return int(found.group(1)) if found else 0
