"""Attempts of this machine that can be made to give way, and a person who is not there."""

import os
import signal
from pathlib import Path

from mesh.policy.yielding import RunningAttempt
from providers import durable, local, process
from providers.base import Handle
from providers.presence.facts import Power, Presence, by_idle

AWAY_MS = 3_600_000


class StandInSenses:
    """Stands in for the sources of presence and power: says what a test sets."""

    def __init__(self, *, present: bool) -> None:
        self.presence: Presence = by_idle("stand-in", 0 if present else AWAY_MS)
        self.power = Power(on_mains=True, percent=None)
        self.reads = 0

    async def read_presence(self) -> Presence:
        self.reads += 1
        return self.presence

    async def read_power(self) -> Power:
        return self.power


class LocalYields:
    """Real attempts under real runners, all preemptible and on one device; no ledger."""

    def __init__(self, handles: dict[str, Handle], device_id: str = "dev-ab12-gpu0") -> None:
        self.handles = handles
        self.device_id = device_id
        self.paused_for: dict[str, str] = {}

    def running(self) -> list[RunningAttempt]:
        return [self._attempt(job_id) for job_id in self.handles]

    def _attempt(self, job_id: str) -> RunningAttempt:
        code = self.paused_for.get(job_id, "")
        return RunningAttempt(
            job_id=job_id,
            attempt=1,
            devices=(self.device_id,),
            preemptible=True,
            state="paused" if code else "running",
            paused_for=code,
        )

    def waiting(self) -> frozenset[str]:
        return frozenset()

    async def pause(self, job_id: str, attempt: int, code: str, text: str) -> bool:
        done = await local.pause(self.handles[job_id])
        if done:
            self.paused_for[job_id] = code
        return done

    async def resume(self, job_id: str, attempt: int, code: str, text: str) -> bool:
        self.paused_for.pop(job_id, None)
        return await local.resume(self.handles[job_id])

    async def stop(self, job_id: str, attempt: int, code: str, text: str) -> None:
        await local.cancel(self.handles[job_id])


def kill_attempts(jobs_dir: Path) -> None:
    """Whatever was started below this folder is dead afterwards."""
    for path in jobs_dir.glob("*/*/runner.json"):
        runner = durable.read_json(path) or {}
        for name, born in (("child_pid", "child_ticks"), ("pid", "start_ticks")):
            pid, ticks = int(str(runner[name])), int(str(runner[born]))
            if process.alive(pid, ticks, str(runner["boot_id"])):
                os.kill(pid, signal.SIGKILL)
