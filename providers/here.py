"""Attempts on this machine: `providers.local` by job and attempt, for whoever holds the folder."""

import asyncio
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final, final

from providers import local
from providers.attempts import WORK, Given, LeftFile
from providers.base import Handle, Launch, Outcome, ProviderError


@final
class LocalAttempts:
    """Runs attempts under `jobs_dir`, each in a folder of its own."""

    def __init__(self, jobs_dir: Path) -> None:
        self._jobs_dir: Final = jobs_dir

    def folder(self, job_id: str, attempt: int) -> Path:
        """Where an attempt keeps its log, its claim and its result."""
        return local.job_dir(self._jobs_dir, job_id, attempt)

    def begun(self, job_id: str, attempt: int) -> bool:
        """Whether a start was ever tried: it may run, whatever else is known."""
        return (self.folder(job_id, attempt) / "launch.json").exists()

    def running(self) -> list[tuple[str, int]]:
        """Every attempt whose runner lives, by its folder: whatever anybody remembers of it."""
        claims = self._jobs_dir.glob("*/*/runner.json")
        folders = [one.parent for one in claims if one.parent.name.isdecimal()]
        return [(one.parent.name, int(one.name)) for one in folders if local.adopt(one)]

    async def give(self, job_id: str, attempt: int, files: Sequence[Given]) -> str:
        """Copy files into the attempt's own folder; where that is."""
        return await asyncio.to_thread(_laid_out, self.folder(job_id, attempt) / WORK, files)

    async def bring_back(self, job_id: str, attempt: int, path: str) -> None:
        """It is here already."""

    async def left(self, job_id: str, attempt: int, most: int) -> list[LeftFile] | None:
        """The files in its folder."""
        return await asyncio.to_thread(_left, self.folder(job_id, attempt), most)

    async def start(self, launch: Launch) -> Handle:
        """Start, or find it started."""
        return await local.start(launch, self._jobs_dir)

    async def poll(self, job_id: str, attempt: int) -> Outcome | None:
        """How it ended; None while it runs, and where it never did."""
        return await asyncio.to_thread(local.poll, self.folder(job_id, attempt))

    async def cancel(self, job_id: str, attempt: int) -> None:
        """Ask it to end; where its runner is still coming up, it never begins."""
        folder = self.folder(job_id, attempt)
        if await asyncio.to_thread(local.void, folder):
            return
        handle = await asyncio.to_thread(local.adopt, folder)
        if handle is not None:
            await local.cancel(handle)

    async def pause(self, job_id: str, attempt: int) -> bool:
        """Stop its tree where it stands."""
        handle = await asyncio.to_thread(local.adopt, self.folder(job_id, attempt))
        return handle is not None and await local.pause(handle)

    async def resume(self, job_id: str, attempt: int) -> bool:
        """Let it go on."""
        handle = await asyncio.to_thread(local.adopt, self.folder(job_id, attempt))
        return handle is not None and await local.resume(handle)

    def ran(self, job_id: str, attempt: int) -> bool:
        """Whether a runner ever claimed it: then its result says how it went."""
        return (self.folder(job_id, attempt) / "runner.json").exists()

    async def read(
        self, job_id: str, attempt: int, name: str, offset: int, limit: int
    ) -> tuple[bytes, int]:
        """Part of one of its files, and the file's size; nothing of one not there."""
        return await asyncio.to_thread(_part, self.folder(job_id, attempt) / name, offset, limit)


def _laid_out(work: Path, files: Sequence[Given]) -> str:
    try:
        for one in files:
            path = work / one.path
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            shutil.copyfile(one.source, path)
            path.chmod(0o700 if one.executable else 0o600)
    except OSError as error:
        text = f"cannot lay out the job's files: {error.strerror}"
        raise ProviderError(text, "free some space") from error
    return str(work)


def _left(folder: Path, most: int) -> list[LeftFile] | None:
    return list(islice(_plain_files(folder / WORK), most)) if folder.is_dir() else None


def _plain_files(work: Path) -> Iterator[LeftFile]:
    for root, folders, names in os.walk(work):
        folders.sort()
        for name in sorted(names):
            path = Path(root, name)
            with suppress(OSError):  # gone meanwhile
                known = path.lstat()
                if stat.S_ISREG(known.st_mode):
                    yield LeftFile(path=_shown(path.relative_to(work)), size_bytes=known.st_size)


def _shown(path: Path) -> str:
    """A path as text; the bytes of a name that is none are replaced."""
    return os.fsencode(path).decode("utf-8", "replace")


def _part(path: Path, offset: int, limit: int) -> tuple[bytes, int]:
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(min(offset, size))
            return file.read(limit), size
    except FileNotFoundError:
        return b"", 0
