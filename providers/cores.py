"""Processor cores: how many there are, and how many nobody uses now.

Stdlib alone on Linux, for it travels to hosts that have nothing of ours; psutil elsewhere, and the
load average where that is missing too.
"""

import os
import sys
import time
from pathlib import Path

LINUX: bool = sys.platform == "linux"
# Long enough to tell a busy core from a hiccup; a job waits this long once.
IDLE_SAMPLE_S = 0.2
TOPOLOGY = "/sys/devices/system/cpu"


def physical_cores() -> int:
    """Cores, not hyperthreads; the threads where the machine doesn't tell them apart."""
    if LINUX:
        return len(_siblings()) or os.cpu_count() or 1
    try:
        import psutil
    except ImportError:
        return os.cpu_count() or 1
    return psutil.cpu_count(logical=False) or psutil.cpu_count() or 1


def idle_cores() -> int:
    """Cores nobody uses right now, at least one: how many threads an engine may take."""
    return threads_for(physical_cores(), _busy_share(IDLE_SAMPLE_S))


def threads_for(cores: int, busy: float) -> int:
    """Threads for a machine whose share `busy` is taken.

    An engine's threads meet after every operation, so one that shares its core holds up the rest:
    on two cores, both busy with others, llama.cpp made 7 tokens/s with two threads and 432 with one
    (docs/measurements/2026-11-25-busy-machine.md).
    """
    return max(1, min(cores, round(cores * (1 - busy))))


def _siblings() -> set[str]:
    """Each core's list of its threads."""
    found = set[str]()
    for path in Path(TOPOLOGY).glob("cpu[0-9]*/topology"):
        for name in ("core_cpus_list", "thread_siblings_list"):  # the second before Linux 5.4
            try:
                found.add((path / name).read_text().strip())
            except OSError:
                continue
            break
    return found


def _busy_share(seconds: float) -> float:
    """The share of all cores' time that was used, 0 to 1."""
    if LINUX:
        before = _ticks()
        time.sleep(seconds)
        after = _ticks()
        total = after[1] - before[1]
        return (after[0] - before[0]) / total if total > 0 else 0.0
    try:
        import psutil
    except ImportError:
        return min(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    return float(psutil.cpu_percent(seconds)) / 100


def _ticks() -> tuple[int, int]:
    """(busy, all) ticks of all cores since the start; proc(5): guests count as user already."""
    try:
        words = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    except OSError:
        return 0, 0
    ticks = [int(word) for word in words]
    idle = sum(ticks[3:5])  # idle and waiting for a disk
    return sum(ticks) - idle, sum(ticks)
