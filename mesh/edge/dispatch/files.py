"""Files of commands on their way between peers: what a home gave, to the owner; what is left, back.

Both are asked for in parts, by hash: what comes is kept only if it is what was named.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar, final

import msgspec

from mesh.api.bodies import Body
from mesh.api.errors import RequestError
from mesh.api.wire.workfiles import (
    HASH_BYTES,
    MAX_LISTED,
    MAX_PATH_CHARS,
    FilePart,
    Left,
    LeftFiles,
    WorkFile,
    safe_path,
)
from mesh.edge.disk import explained
from mesh.edge.dispatch.ports import Ledger
from mesh.edge.dispatch.remote import Call
from mesh.edge.jobs.older import OlderJobs
from mesh.edge.jobs.private import FILES, folder_of
from mesh.edge.jobs.workdir import blob_part, left_part, missing
from mesh.edge.store.state import load_state
from mesh.state.jobs import JobView
from providers.attempts import Attempts
from providers.base import ProviderError
from providers.durable import private_file

# Files fetched at once: enough to hide a link's delay, few enough for a small machine.
AT_ONCE: Final = 4
# Answers of a home that is asked for a file and is not there; the attempt fails after them.
TRIES: Final = 5
PAUSE_S: Final = 1.0
T = TypeVar("T")


@final
class JobFiles:
    """One peer's part in it, as home and as owner. `call` asks another peer, `attempts` says where
    a device's attempts run."""

    def __init__(
        self, home: Path, ledger: Ledger, call: Call, attempts: Callable[[str], Attempts]
    ) -> None:
        self._home, self._ledger, self._call = home, ledger, call
        self._attempts = attempts
        older = OlderJobs(lambda: ledger.state, lambda: load_state(home, every_job=True))
        self.find: Final = older.find
        self._coming: dict[tuple[str, int, str], asyncio.Task[None]] = {}

    async def bring(self, job: JobView, body: Body) -> None:
        """Fetch what this machine lacks of a job's files; RequestError where its home has none."""
        lacking = await asyncio.to_thread(missing, self._home, job.job_id, body)
        contents = {one.hash: one for one in lacking}
        gate = asyncio.Semaphore(AT_ONCE)

        async def one_of(file: WorkFile) -> None:
            async with gate:
                await self._fetch(job, file)

        await asyncio.gather(*(one_of(file) for file in contents.values()))

    async def _fetch(self, job: JobView, file: WorkFile) -> None:
        store = folder_of(self._home, job.job_id) / FILES
        draft = store / f".{file.hash}"
        with explained("cannot keep a job's files"):
            store.mkdir(mode=0o700, parents=True, exist_ok=True)
            draft.unlink(missing_ok=True)
        made, at = hashlib.blake2b(digest_size=HASH_BYTES), 0
        while at < file.size or not at:
            data = await self._part(job, file, at)
            made.update(data)
            await asyncio.to_thread(_append, draft, data)
            at += len(data)
            if not data or at > file.size:
                break
        if at != file.size or made.hexdigest() != file.hash:
            draft.unlink(missing_ok=True)
            raise RequestError("BadAnswer", "a file came that is not the one named", "", 502)
        draft.replace(store / file.hash)

    async def _part(self, job: JobView, file: WorkFile, at: int) -> bytes:
        path = f"/v1/jobs/{job.job_id}/files/{file.hash}?offset={at}"
        key = bytes.fromhex(job.origin or job.home)
        for left in reversed(range(TRIES)):
            try:
                return base64.b64decode(
                    _read(await self._call(key, "GET", path, None), FilePart).data
                )
            except RequestError as error:
                if not left or error.code in ("NotFound", "NotTrusted", "BadAnswer"):
                    raise
                await asyncio.sleep(PAUSE_S)
        raise AssertionError("unreachable")

    async def given(self, who: str, job_id: str, digest: str, offset: int) -> FilePart:
        """Some of a file that a job of ours brings, for the owner of its device alone."""
        job = self._ledger.state.jobs.get(job_id)
        owners = {one.owner for one in job.attempts if one.open} if job is not None else set()
        if job is None or self._ledger.author not in (job.home, job.origin) or who not in owners:
            raise RequestError("NotTrusted", "a job's files go to its device's owner", "", 403)
        return await asyncio.to_thread(blob_part, self._home, job_id, digest, offset)

    async def left(self, who: str, job_id: str, attempt: int, path: str, offset: int) -> FilePart:
        """Some of a file that an attempt left here, for the job's home alone."""
        return await self._left(await self._of_home(who, job_id), attempt, path, offset)

    async def _of_home(self, who: str, job_id: str) -> JobView:
        """A job that is somebody's own; NotTrusted for any other."""
        job = await self.find(job_id)
        if job is None or who not in (job.home, job.origin):
            raise RequestError("NotTrusted", "what a job left belongs to its home", "", 403)
        return job

    async def _left(self, job: JobView, attempt: int, path: str, offset: int) -> FilePart:
        """Some of a file of an attempt on a device of ours, from its host where that is another.

        What is read from its start on is read anew; its rest is of the same reading.
        """
        one = next((one for one in job.attempts if one.number == attempt), None)
        if one is not None and not offset:
            await self._bring_back(one.device_id, (job.job_id, attempt, safe_path(path)))
        return await asyncio.to_thread(left_part, self._home, job.job_id, attempt, path, offset)

    async def _bring_back(self, device_id: str, wanted: tuple[str, int, str]) -> None:
        """One at a time of each file; who asks again before it is here waits for the same."""
        task = self._coming.get(wanted)
        if task is None:
            task = asyncio.create_task(self._attempts(device_id).bring_back(*wanted))
            self._coming[wanted] = task
            task.add_done_callback(lambda _: self._coming.pop(wanted, None))
        with heard():
            await asyncio.shield(task)

    async def listed(self, job_id: str) -> LeftFiles:
        """What a job of this peer's left, wherever it ran."""
        job = await self.find(job_id)
        if job is None or not job.attempt:
            return LeftFiles(files=[], more=False, kept=True)
        if job.owner == self._ledger.author:
            return await self._list(job, job.attempt)
        url = f"/v1/claims/{job_id}/{job.attempt}/listing"
        return _read(await self._call(bytes.fromhex(job.owner), "GET", url, None), LeftFiles)

    async def list_left(self, who: str, job_id: str, attempt: int) -> LeftFiles:
        """What an attempt left here, for the job's home alone."""
        return await self._list(await self._of_home(who, job_id), attempt)

    async def _list(self, job: JobView, attempt: int) -> LeftFiles:
        one = next((one for one in job.attempts if one.number == attempt), None)
        if one is None:
            return LeftFiles(files=[], more=False, kept=False)
        with heard():
            found = await self._attempts(one.device_id).left(job.job_id, attempt, MAX_LISTED + 1)
        if found is None:
            return LeftFiles(files=[], more=False, kept=False)
        # A path that nobody can ask for is not named, either.
        named = [row for row in found[:MAX_LISTED] if len(row.path) <= MAX_PATH_CHARS]
        files = [Left(path=row.path, size_bytes=row.size_bytes) for row in named]
        return LeftFiles(files=files, more=len(files) < len(found), kept=True)

    async def get(self, job_id: str, path: str, offset: int) -> FilePart:
        """Some of a file that a job of this peer's left, wherever it ran."""
        job = await self.find(job_id)
        if job is None or not job.attempt:
            raise RequestError("NotFound", f"job {job_id[:80]} ran nowhere yet", "fleet ps", 404)
        if job.owner == self._ledger.author:
            return await self._left(job, job.attempt, path, offset)
        from urllib.parse import quote

        url = f"/v1/claims/{job_id}/{job.attempt}/files?offset={offset}&path={quote(path, safe='')}"
        return _read(await self._call(bytes.fromhex(job.owner), "GET", url, None), FilePart)


@contextmanager
def heard() -> Iterator[None]:
    """What goes wrong at a device's host, as an answer."""
    try:
        yield
    except ProviderError as error:
        code = error.code or "Unreadable"
        raise RequestError(code, error.text, error.hint, 503) from error


def _read(said: object, kind: type[T]) -> T:
    """Another peer's answer, checked: it may say anything."""
    try:
        return msgspec.convert(said, kind)
    except msgspec.ValidationError as error:
        text = "the peer's answer is not understood"
        raise RequestError("BadAnswer", text, "see fleet doctor", 502) from error


def _append(path: Path, data: bytes) -> None:
    with (
        explained("cannot keep a job's files"),
        os.fdopen(private_file(path, os.O_APPEND), "ab") as file,
    ):
        file.write(data)
