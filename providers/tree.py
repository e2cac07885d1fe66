"""All processes of an attempt: those that left its group or session, and those whose parent died.

They are found below one process, its runner. Stdlib alone on Linux, so a runner starts fast; psutil
elsewhere, where who leaves the session and loses its parent is not found.
"""

import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from providers import process

PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
# A signal is delivered within microseconds, and a shell's fork storm ends once its parents are
# stopped; what still moves after so many looks is left to the next call.
LOOKS = 50
BETWEEN_LOOKS_S = 0.002


def adopt_orphans() -> None:
    """From now on a process below us whose parent dies becomes our child (Linux)."""
    if process.LINUX:
        import ctypes

        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def below(root: int) -> dict[int, str]:
    """{pid: state letter of proc(5)} of all that live below `root` or in the session it leads."""
    rows = _linux_rows() if process.LINUX else _portable_rows()
    family = descendants({pid: parent for pid, (_, parent, _) in rows.items()}, root)
    family |= {pid for pid, (_, _, session) in rows.items() if session == root} - {root}
    return {pid: rows[pid][0] for pid in family if pid in rows and rows[pid][0] not in "ZX"}


def stop(root: int) -> bool:
    """SIGSTOP everyone below `root`, also who is born meanwhile; False if some still run."""
    asked: set[int] = set()
    for _ in range(LOOKS):
        # Who waits in the kernel (D), as the parent of a vfork does, stops when it comes back.
        left = {
            pid
            for pid, state in below(root).items()
            if state not in "Tt" and not (state == "D" and pid in asked)
        }
        if not left:
            return True
        _send(left, signal.SIGSTOP)
        asked |= left
        time.sleep(BETWEEN_LOOKS_S)
    return False


def wake(root: int) -> bool:
    """SIGCONT everyone below `root` that is stopped; False if some stay so."""
    for _ in range(LOOKS):
        left = {pid for pid, state in below(root).items() if state == "T"}
        if not left:
            return True
        _send(left, signal.SIGCONT)
        time.sleep(BETWEEN_LOOKS_S)
    return False


def terminate(root: int) -> None:
    """SIGTERM each process below `root` once (many programs take a second one for "die now").

    SIGCONT follows at once: a stopped process hears nothing else.
    """
    family = set(below(root))
    _send(family, signal.SIGTERM)
    _send(family, signal.SIGCONT)


def kill(root: int) -> bool:
    """SIGKILL everyone below `root`, stopped first so that none forks on; False if any is left."""
    for _ in range(LOOKS):
        if not below(root):
            return True
        stop(root)
        _send(set(below(root)), signal.SIGKILL)
        time.sleep(BETWEEN_LOOKS_S)
    return False


def kill_marked(name: str, value: str) -> None:
    """SIGKILL our processes that were started with this variable (Linux; nobody elsewhere)."""
    mark = f"{name}={value}".encode()
    for pid in _pids() if process.LINUX else ():
        with suppress(OSError):
            if mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                _send({pid}, signal.SIGKILL)


def descendants(parents: Mapping[int, int], root: int) -> set[int]:
    """Those under `root` in a table of parents; a circle, read while pids change, does no harm."""
    children: dict[int, list[int]] = {}
    for pid, parent in parents.items():
        children.setdefault(parent, []).append(pid)
    found: set[int] = set()
    waiting = [root]
    while waiting:
        new = {pid for pid in children.get(waiting.pop(), ()) if pid != root} - found
        found |= new
        waiting.extend(new)
    return found


def _send(pids: set[int], number: int) -> None:
    """One that is gone, or another user's, is passed over."""
    for pid in pids - {os.getpid()}:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208


def _linux_rows() -> dict[int, tuple[str, int, int]]:
    """{pid: (state, parent, session)}"""
    found = {pid: process.stat_fields(pid) for pid in _pids()}
    return {pid: (f[0], int(f[1]), int(f[3])) for pid, f in found.items() if f}


def _portable_rows() -> dict[int, tuple[str, int, int]]:
    import psutil

    letters = {psutil.STATUS_STOPPED: "T", psutil.STATUS_ZOMBIE: "Z"}
    found = {}
    for one in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            row = letters.get(one.status(), "S"), one.ppid(), os.getsid(one.pid)
            found[one.pid] = row
    return found
