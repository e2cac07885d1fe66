"""Attempts on an adopted host, as dispatch holds them: what was begun there is noted here first.

The host is the authority on what runs; the note is for our own restart: an attempt that may run is
asked for before anything else is started beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, final

from mesh.edge.ssh.engines import HostEngines
from mesh.edge.ssh.forgotten import NOTE
from providers.attempts import WORK, Given, LeftFile
from providers.base import Handle, Launch, Outcome, ProviderError, Taken
from providers.durable import read_json, write_json
from providers.ssh.attempts import SshAttempts
from providers.ssh.bring.tries import over_cuts


@final
class HostAttempts:
    """One host's attempts on one device. `folder` is where this machine keeps what belongs to one;
    `card` says what shows an engine the card of a number, `lock` what locks that card for every
    peer that reaches the host, `own` what locks the device; `name` is what the host is called."""

    def __init__(
        self,
        host: SshAttempts,
        folder: Callable[[str, int], Path],
        engines: HostEngines | None = None,
        card: Callable[[str], str] = str,
        name: str = "",
        lock: Callable[[str], str] = str,
        own: str = "",
    ) -> None:
        self._host: Final = host
        self._folder: Final = folder
        self._engines: Final = engines
        self._card: Final = card
        self._name: Final = name
        self._lock: Final = lock
        self._own: Final = own

    def begun(self, job_id: str, attempt: int) -> bool:
        """Whether a start was ever tried from here."""
        said = self._said(job_id, attempt)
        return bool(said) and said.get("tried") is not False

    def ran(self, job_id: str, attempt: int) -> bool:
        """Whether the host will say how it went: it said that it has it, or was told that it must
        never begin."""
        return bool(self._said(job_id, attempt).get("started"))

    async def give(self, job_id: str, attempt: int, files: Sequence[Given]) -> str:
        """Bring files to the attempt's folder there, where its command runs."""
        self._say(job_id, attempt, tried=False)
        await over_cuts(lambda: self._host.give(job_id, attempt, files))
        return ""

    async def bring_back(self, job_id: str, attempt: int, path: str) -> None:
        """Fetch a file that it left."""
        await self._host.bring_back(job_id, attempt, path, self._folder(job_id, attempt) / WORK)

    async def left(self, job_id: str, attempt: int, most: int) -> list[LeftFile] | None:
        """The files in its folder there."""
        return await self._host.left(job_id, attempt, most)

    async def start(self, launch: Launch) -> Handle:
        """Start it there, or find it started; what a model's job needs is brought there first.

        Unheard, once a start was tried: it may run. Taken: another peer has one of its cards.
        """
        there, holder = launch, ""
        again = self.begun(launch.job_id, launch.attempt)
        if launch.kind != "command" and self._engines is not None:
            engines = self._engines
            if not again:
                self._say(launch.job_id, launch.attempt, tried=False)
            there, holder = (
                engines.again(launch)
                if again
                else await over_cuts(lambda: engines.ready(launch, self._card))
            )
        if not again:
            self._say(launch.job_id, launch.attempt)
        try:
            handle = await self._host.start(replace(there, locks=self._locks(launch)), holder)
        except Taken:
            self._say(launch.job_id, launch.attempt, tried=False)
            raise
        self._say(launch.job_id, launch.attempt, started=True)
        return handle

    async def poll(self, job_id: str, attempt: int) -> Outcome | None:
        """How it ended; None while it runs, and while the host is not reached."""
        return await self._host.poll(job_id, attempt)

    async def cancel(self, job_id: str, attempt: int) -> None:
        """Ask for its end. Where a start may be on its way, the host is told that it comes too
        late, and will say that it ran for no time."""
        if not self.begun(job_id, attempt):
            return
        self._say(job_id, attempt, started=True)
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

    def _locks(self, launch: Launch) -> tuple[str, ...]:
        """What is locked while it runs: the cards its engine sees, else its device."""
        setup = launch.spec.get("setup")
        cards = setup.get("cards") if isinstance(setup, dict) else None
        if isinstance(cards, list | tuple) and cards:
            return tuple(self._lock(str(one)) for one in cards)
        return (self._own,) if self._own else ()

    def _note(self, job_id: str, attempt: int) -> Path:
        return self._folder(job_id, attempt) / NOTE

    def _said(self, job_id: str, attempt: int) -> dict[str, object]:
        return read_json(self._note(job_id, attempt)) or {}

    def _say(self, job_id: str, attempt: int, *, tried: bool = True, started: bool = False) -> None:
        """Not yet `tried`, something of it lies there already, and is to be forgotten with it."""
        note = self._note(job_id, attempt)
        try:
            note.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_json(note, {"tried": tried, "started": started, "host": self._name})
        except OSError as error:
            text = f"can't note {job_id}: {error}"
            raise ProviderError(text, "free some space") from error
