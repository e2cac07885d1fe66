"""What a job writes on another peer, brought home as it grows: the log and the answer.

The home's copy goes on where it ended, after a cut link or a restart, and stays when the owner
forgets the job.
"""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, final

from mesh.api.errors import RequestError
from mesh.api.wire.claims import MAX_PART_BYTES, Part
from mesh.edge.disk import StoreError, explained
from mesh.edge.dispatch.ports import Ledger, Peers
from mesh.edge.jobs.private import folder_of
from mesh.state.jobs import AttemptView, JobView
from providers.durable import private_file
from providers.engine.llamacpp import ANSWER_FILE

LOG_FILE: Final = "log.txt"
FILES: Final = (ANSWER_FILE, LOG_FILE)
DONE_FILE: Final = "brought"  # all of it is here
OWNER_FILE: Final = "brought_from"  # whose these copies are
WAIT_S: Final = 15.0  # an owner holds a question so long while nothing new comes
PAUSE_S: Final = 2.0  # after an owner that did not answer
# Of one file of one job: a disk is not filled by what another peer says a job wrote.
MAX_FILE_BYTES: Final = 1 << 30


@final
class Mirror:
    """One home's copies of what its jobs write elsewhere."""

    def __init__(
        self,
        home: Path,
        ledger: Ledger,
        peers: Peers,
        writes_here: Callable[[str], bool] = lambda _: True,
    ) -> None:
        """`writes_here`: whether what runs on a device of ours writes on this machine."""
        self._home: Final = home
        self._writes_here: Final = writes_here
        self._ledger: Final = ledger
        self._peers: Final = peers
        # (job, attempt, owner) of which all is here: asked ten times a second
        self._whole: set[tuple[str, int, str]] = set()
        self._tasks: dict[tuple[str, int], asyncio.Task[None]] = {}

    def follow(self, jobs: list[JobView]) -> None:
        """Bring what jobs of ours write elsewhere, from when they started until all is here."""
        for job in jobs:
            key = (job.job_id, job.attempt)
            if job.home != self._ledger.author:
                continue
            if job.started_ms and key not in self._tasks and not self.is_here(job):
                self._tasks[key] = asyncio.create_task(self._follow(*key))

    def is_here(self, job: JobView) -> bool:
        """Whether all that a job wrote is on this machine, or none of it was elsewhere."""
        ours = job.owner in ("", self._ledger.author) and self._writes_here(job.device_id)
        if ours or not job.started_ms:
            return True
        key = (job.job_id, job.attempt, job.owner)
        if key not in self._whole and _is_whole(self._folder(*key[:2]), job.owner):
            self._whole.add(key)
        return key in self._whole

    def hopes(self, job: JobView) -> bool:
        """Whether more of it may come soon: its owner is reached, and it is being brought."""
        return (job.job_id, job.attempt) in self._tasks and self._peers.reachable(job.owner)

    async def close(self) -> None:
        """Stop; it goes on from there."""
        for task in list(self._tasks.values()):
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _folder(self, job_id: str, attempt: int) -> Path:
        return folder_of(self._home, job_id) / str(attempt)

    async def _follow(self, job_id: str, attempt: int) -> None:
        try:
            while (one := self._find(job_id, attempt)) is not None:
                try:
                    if await self._bring(job_id, one):
                        return
                except RequestError as error:
                    if error.code == "NotFound" and one.ended:
                        return  # its owner forgot it before all of it was here
                    await asyncio.sleep(PAUSE_S)
                except StoreError:  # a full disk: the copy goes on where it ends
                    await asyncio.sleep(PAUSE_S)
        finally:
            self._tasks.pop((job_id, attempt), None)

    def _find(self, job_id: str, attempt: int) -> AttemptView | None:
        job = self._ledger.state.jobs.get(job_id)
        found = () if job is None else job.attempts
        return next((one for one in found if one.number == attempt), None)

    async def _bring(self, job_id: str, one: AttemptView) -> bool:
        """Fetch what is new of each file; True once nothing more can come."""
        folder = self._folder(job_id, one.number)
        await asyncio.to_thread(_begin, folder, one.owner)
        owner, over = self._peers.owner(one.owner), True
        for name in FILES:
            size = await asyncio.to_thread(_size, folder / name)
            wait_s = WAIT_S if name == FILES[0] else 0.0
            said = await owner.output(self._ledger.author, job_id, one.number, name, size, wait_s)
            over = await asyncio.to_thread(_append, folder / name, size, said) and over
        if over:
            await asyncio.to_thread(_mark, folder)
        return over


def _is_whole(folder: Path, owner: str) -> bool:
    return (folder / DONE_FILE).exists() and _owner(folder) in ("", owner)


def _owner(folder: Path) -> str:
    """Whose copies lie there; "" where nobody said, as before this was noted."""
    try:
        return (folder / OWNER_FILE).read_text()
    except FileNotFoundError:
        return ""


def _begin(folder: Path, owner: str) -> None:
    """The copies there are this owner's, or there are none. A home that was put out and let in
    again may have sent an attempt of this number to somebody else before."""
    if _owner(folder) == owner:
        return
    with explained("cannot keep a job's output"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in (DONE_FILE, *FILES):
            (folder / name).unlink(missing_ok=True)
        with os.fdopen(private_file(folder / OWNER_FILE, os.O_TRUNC), "w") as file:
            file.write(owner)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _append(path: Path, size: int, said: Part) -> bool:
    """Write a part where the copy ends; True where that was the last."""
    try:
        data = base64.b64decode(said.data, validate=True)[:MAX_PART_BYTES]
    except ValueError as error:
        raise RequestError("BadAnswer", "a part came that is not one", "", 502) from error
    room = max(0, MAX_FILE_BYTES - size)
    with explained("cannot keep a job's output"):
        if data[:room]:
            with os.fdopen(private_file(path, os.O_APPEND), "ab") as file:
                file.write(data[:room])
    return said.over and (size + len(data) >= said.size or len(data) >= room)


def _mark(folder: Path) -> None:
    """Note that all is here, once it is there after a power cut too."""
    with explained("cannot keep a job's output"):
        for name in FILES:
            _flush(folder / name)
        os.close(private_file(folder / DONE_FILE, 0))


def _flush(path: Path) -> None:
    if path.exists():
        with path.open("rb+") as file:
            os.fsync(file.fileno())
