"""How a job comes in and how it is forgotten: its body on disk first, then its event.

A body without an event is what a crash in between leaves; the next start removes it. An event
without its body is a job that can't start.
"""

import asyncio
import re
import secrets
import shutil
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from mesh.api.bodies import A_COMMAND, base_name
from mesh.api.errors import RequestError
from mesh.api.jobs import JobRequest, body_of, job_fact, parse_job
from mesh.api.rows import peer_name
from mesh.api.serving.keys import find_key
from mesh.api.wire.workfiles import WorkFile
from mesh.edge.jobs.admission import admit
from mesh.edge.jobs.private import drop_request, keep_request, never_started
from mesh.edge.jobs.workdir import pack
from mesh.state.facts.fact import encode
from mesh.state.facts.job import JobAdopted, JobCancelRequested
from mesh.state.peer_id import short_id
from mesh.state.state import State

Emit = Callable[[str, str, dict[str, object]], Awaitable[object]]
OF_A_HOME = re.compile(r"j-([a-z2-7]{10})-")  # how each peer names its own jobs
RANDOM_BYTES = 5  # 40 bits beside the home's own name: a home has a million jobs without a clash


def new_job_id(author: str) -> str:
    """An id that says whose job it is: `j-`, the home's short id, and chance."""
    return f"j-{short_id(author)}-{secrets.token_hex(RANDOM_BYTES)}"


class Intake:
    """The door of one peer's jobs."""

    def __init__(self, home: Path, author: str, state: Callable[[], State], emit: Emit) -> None:
        self._home = home
        self._author = author
        self._state = state
        self._emit = emit
        self._coming: dict[str, asyncio.Event] = {}  # ids whose body is written and event is not

    async def submit(self, spec: Mapping[str, object], device_id: str) -> str:
        """Admit a job; its id. The same job_id again is the same job, also at the same moment."""
        request = parse_job(spec)
        job_id = request.job_id or new_job_id(self._author)
        while job_id in self._coming:
            await self._coming[job_id].wait()
        if self._known(job_id):
            return job_id
        done = self._coming[job_id] = asyncio.Event()
        try:
            await self._take(job_id, request, device_id)
        finally:
            del self._coming[job_id]
            done.set()
        return job_id

    async def cancel(self, job_id: str, primary_id: str) -> None:
        """Ask a job to end; asking twice is once. RequestError for one that has ended already."""
        job = self._state().jobs.get(job_id)
        if job_id in self._state().retired or (job is not None and job.ended):
            how = f": {job.status}" if job is not None else ""
            text = f"job {job_id} has already ended{how}"
            raise RequestError("AlreadyEnded", text, f"fleet job {job_id}", 409)
        if job is None:
            raise RequestError("NotFound", f"no job {job_id!r}", "fleet ps -a lists them", 404)
        if job.status != "cancelling":
            fact = JobCancelRequested(job_id=job_id)
            device_id = job.device_id or primary_id
            await self._emit("job_cancel_requested", device_id, encode(fact))

    async def adopt(self, job_id: str) -> dict[str, object]:
        """Decide for another peer's job from now on; its owner answers us once it has heard."""
        job = self._state().jobs.get(job_id)
        if job is None or job.ended:
            raise RequestError("NotFound", f"no job {job_id!r} goes on", "fleet ps", 404)
        if job.home != self._author:
            fact = JobAdopted(job_id=job_id, epoch=job.epoch + 1)
            await self._emit("job_adopted", job.device_id or "none", encode(fact))
        return {"job_id": job_id, "epoch": self._state().jobs[job_id].epoch}

    async def sweep(self) -> list[str]:
        """Remove the bodies that no event names: the ids of those jobs, which never were."""
        state = self._state()
        try:
            found = await asyncio.to_thread(never_started, self._home)
        except OSError:
            return []  # a folder that cannot be read keeps what is in it
        if state.stale:
            return []  # which jobs are known is being found out
        orphans = [
            job_id
            for job_id in found
            if job_id not in state.jobs
            and job_id not in state.retired
            and job_id not in self._coming
        ]
        for job_id in orphans:
            await asyncio.to_thread(drop_request, self._home, job_id)
        return orphans

    def _known(self, job_id: str) -> bool:
        """Whether it is a job of this home already; RequestError for an id of another home."""
        named = OF_A_HOME.match(job_id)
        if named is not None and named[1] != short_id(self._author):
            raise RequestError(
                "JobExists",
                f"job_id: {job_id} is an id of another peer's job",
                "choose another, or leave it away",
                409,
            )
        state = self._state()
        job = state.jobs.get(job_id)
        if job is not None and job.home != self._author:
            raise RequestError(
                "JobExists",
                f"job {job_id} belongs to peer {peer_name(state, job.home)}",
                "choose another job_id",
                409,
            )
        return job is not None or job_id in state.retired

    async def _take(self, job_id: str, request: JobRequest, device_id: str) -> None:
        key_id = self._key_id(request)
        request = await asyncio.to_thread(admit, self._state(), self._author, request)
        body = body_of(request)
        if request.workdir is not None:
            files = await asyncio.to_thread(self._packed, job_id, request.workdir)
            body = msgspec.structs.replace(body, files=files)
        sealed = await asyncio.to_thread(keep_request, self._home, job_id, body)
        label, size = await asyncio.to_thread(_public, request)
        try:
            fact = job_fact(job_id, request, sealed, label, size, key_id)
            await self._emit("job_submitted", device_id, encode(fact))
        except Exception:  # not where it was cancelled: the event may be on its way to the disk
            await asyncio.to_thread(drop_request, self._home, job_id)
            raise

    def _key_id(self, request: JobRequest) -> str:
        """The key whose budgets the job is for, "" for none; RequestError where it is another
        peer's, or works no more."""
        if request.key is None:
            return ""
        key = find_key(self._state(), request.key)
        if key.author != self._author or not key.works:
            text = f"key: {key.name} is no working key of this peer"
            raise RequestError("BadRequest", text, "fleet keys lists them")
        return key.key_id

    def _packed(self, job_id: str, source: str) -> tuple[WorkFile, ...]:
        try:
            return pack(self._home, job_id, source)
        except RequestError:
            drop_request(self._home, job_id)
            raise


def _public(request: JobRequest) -> tuple[str, int]:
    """(label, size of the model's file): what every peer may know of a request."""
    if request.model is not None:
        with suppress(OSError):
            return base_name(request.model), Path(request.model).stat().st_size
        return base_name(request.model), 0
    return program_name(request.command or (), request.cwd or ""), 0


def program_name(command: list[str] | tuple[str, ...], cwd: str) -> str:
    """The name of a command's program, if it names one: a whole line typed as a word does not."""
    word = command[0] if command else ""
    place = str(Path(cwd, word)) if "/" in word else word
    return base_name(word) if word and shutil.which(place) else A_COMMAND
