"""Which process a pid means: the moment it started, and the boot it belongs to.

Stdlib alone on Linux, so a runner starts fast; psutil elsewhere.
"""

import sys
from pathlib import Path

LINUX: bool = sys.platform == "linux"


def boot_id() -> str:
    """A text that changes at every boot of this machine."""
    if LINUX:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    import psutil

    return str(int(psutil.boot_time()))


def start_ticks(pid: int) -> int:
    """When `pid` started, in the kernel's own unit; 0 if it is gone or a zombie."""
    if LINUX:
        return _linux_ticks(pid)
    return _portable_ticks(pid)


def alive(pid: int, ticks: int, boot: str) -> bool:
    """Whether exactly that process still runs. Elsewhere its start is an instant, which no two
    boots share, and when the machine booted follows a clock that is set."""
    same_boot = not LINUX or boot == boot_id()
    return pid > 0 and ticks > 0 and same_boot and start_ticks(pid) == ticks


def stat_fields(pid: int) -> list[str]:
    """What proc(5) says of a process from its state on: [state, parent, group, ...]; [] if gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return []
    # The name stands in parentheses and may hold any character, so cut at the last one.
    return stat.rpartition(")")[2].split()


def _linux_ticks(pid: int) -> int:
    fields = stat_fields(pid)
    return 0 if not fields or fields[0] in "ZX" else int(fields[19])


def _portable_ticks(pid: int) -> int:
    import psutil

    try:
        process = psutil.Process(pid)
        gone = process.status() == psutil.STATUS_ZOMBIE
        return 0 if gone else int(process.create_time() * 1_000_000)
    except psutil.Error:
        return 0
