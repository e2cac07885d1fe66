"""Which processes are whose: our attempts' trees by the files their runners keep.

JOBS/JOB/ATTEMPT/runner.json names the runner and its child. The runner leads a session of its own,
so what the child starts belongs to it, also where a process in between has ended.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final, final

import psutil

from providers import durable
from providers.local import JOB_ID

# Steps from a process up to its runner: shells and launchers make a few, a circle of reused pids
# must end.
MAX_STEPS: Final = 32
# Processes remembered by pid; a machine's GPU has some dozens.
MAX_KNOWN: Final = 4096

Attempt = tuple[str, int]  # (job id, attempt)
NOBODY: Final[Attempt] = ("", 0)


@final
class Owners:
    """Says of a pid which attempt it belongs to and what its program is called."""

    def __init__(self, jobs_dir: Path) -> None:
        self._jobs_dir = jobs_dir
        self._pids: dict[int, Attempt] = {}  # runners' and their children's
        self._known: dict[int, tuple[float, str, Attempt]] = {}

    def watch(self, running: Iterable[Attempt]) -> None:
        """Know these attempts' processes, and no others'."""
        missing = set(running)
        now = {pid: attempt for pid, attempt in self._pids.items() if attempt in missing}
        complete = {one for one in missing if sum(a == one for a in now.values()) == 2}
        for job_id, attempt in missing - complete:
            if not JOB_ID.fullmatch(job_id):
                continue  # others sign any id: none that climbs is read
            for pid in _pids_of(self._jobs_dir / job_id / str(attempt)):
                now[pid] = (job_id, attempt)
        if now != self._pids:
            self._pids = now
            self._known.clear()

    def roots(self) -> dict[int, Attempt]:
        """The runners' and children's pids."""
        return dict(self._pids)

    def who(self, pid: int) -> tuple[str, Attempt]:
        """(program, attempt) of a process; ("", NOBODY) of one that is gone or not ours to see."""
        try:
            process = psutil.Process(pid)
            born = process.create_time()
            known = self._known.get(pid)
            if known is not None and known[0] == born:
                return known[1], known[2]
            program, attempt = process.name(), self._attempt(process)
        except (psutil.Error, OSError):
            return "", NOBODY
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        self._known[pid] = (born, program, attempt)
        return program, attempt

    def _attempt(self, process: psutil.Process) -> Attempt:
        if not self._pids:
            return NOBODY
        if (session := _session(process.pid)) in self._pids:
            return self._pids[session]
        step: psutil.Process | None = process
        for _ in range(MAX_STEPS):
            if step is None:
                break
            if step.pid in self._pids:
                return self._pids[step.pid]
            step = step.parent()
        return NOBODY


def _session(pid: int) -> int:
    """The session's leader; 0 where the system has none or does not say."""
    try:
        return os.getsid(pid)
    except (OSError, AttributeError):
        return 0


def _pids_of(folder: Path) -> list[int]:
    try:
        said = durable.read_json(folder / "runner.json") or {}
    except OSError:
        return []
    pids = [said.get("pid"), said.get("child_pid")]
    return [pid for pid in pids if isinstance(pid, int) and pid > 0]
