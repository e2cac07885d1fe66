"""Attempts on an adopted host, as dispatch holds them: what was begun there is noted here first.

The host is the authority on what runs; the note is for our own restart: an attempt that may run is
asked for before anything else is started beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, final

from providers.base import Handle, Launch, Outcome, ProviderError
from providers.durable import read_json, write_json
from providers.ssh.attempts import SshAttempts

NOTE: Final = "host.json"  # beside where a local attempt has its files


@final
class HostAttempts:
    """One host's attempts. `folder` is where this machine keeps what belongs to one."""

    def __init__(self, host: SshAttempts, folder: Callable[[str, int], Path]) -> None:
        self._host: Final = host
        self._folder: Final = folder

    def begun(self, job_id: str, attempt: int) -> bool:
        """Whether a start was ever tried from here."""
        return (self._folder(job_id, attempt) / NOTE).exists()

    def ran(self, job_id: str, attempt: int) -> bool:
        """Whether the host said that it has it: then it will say how it went."""
        return bool((read_json(self._folder(job_id, attempt) / NOTE) or {}).get("started"))

    async def start(self, launch: Launch) -> Handle:
        """Start it there, or find it started."""
        folder = self._folder(launch.job_id, launch.attempt)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not (folder / NOTE).exists():
                write_json(folder / NOTE, {"started": False})
            handle = await self._host.start(launch)
            write_json(folder / NOTE, {"started": True})
        except OSError as error:
            text = f"can't note {launch.job_id}: {error}"
            raise ProviderError(text, "free some space") from error
        return handle

    async def poll(self, job_id: str, attempt: int) -> Outcome | None:
        """How it ended; None while it runs, and while the host is not reached."""
        return await self._host.poll(job_id, attempt)

    async def cancel(self, job_id: str, attempt: int) -> None:
        """Ask for its end."""
        await self._host.cancel(job_id, attempt)

    async def pause(self, job_id: str, attempt: int) -> bool:
        """Stop its tree where it stands."""
        return await self._host.pause(job_id, attempt)

    async def resume(self, job_id: str, attempt: int) -> bool:
        """Let it go on."""
        return await self._host.resume(job_id, attempt)

    async def read(
        self, job_id: str, attempt: int, name: str, offset: int, limit: int
    ) -> tuple[bytes, int]:
        """Part of one of its files, and the file's size."""
        return await self._host.read(job_id, attempt, name, offset, limit)
