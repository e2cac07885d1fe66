"""What an attempt needs before it starts: its body, its model and its files on this machine."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final, final

import msgspec

from mesh.api.bodies import Body
from mesh.api.errors import RequestError
from mesh.edge.dispatch.ports import ModelFiles
from mesh.edge.jobs.launching import launch_of
from mesh.edge.jobs.private import model_of, request_of
from mesh.edge.jobs.workdir import given, missing, work_of
from mesh.state.fleet import DeviceView
from mesh.state.jobs import AttemptView, JobView
from providers.attempts import Attempts
from providers.base import Launch

Bring = Callable[[JobView, Body], Awaitable[None]]


def is_on_host(device: DeviceView) -> bool:
    """Whether its attempts run on a host that is reached by SSH, not on this machine."""
    return device.facts.transport == "ssh"


@final
class Preparation:
    """One peer's attempts on their way to a start. `bring` fetches a job's files from its home."""

    def __init__(
        self, home: Path, author: str, attempts: Callable[[str], Attempts], models: ModelFiles
    ) -> None:
        self._home: Final = home
        self._author: Final = author
        self._attempts: Final = attempts
        self._models: Final = models
        self.bring: Bring = _nowhere

    async def launch(self, job: JobView, one: AttemptView, devices: Sequence[DeviceView]) -> Launch:
        """How to start it, once all that it needs is on this machine, and its files are there.

        Gone, RequestError or ProviderError where that can't be.
        """
        body = await asyncio.to_thread(request_of, self._home, job)
        work = await self._work(job, one, body)
        path = await self._model_path(job, body)
        away = job.origin != self._author or is_on_host(devices[0])
        # Another machine's folders are nowhere here: there it runs in the attempt's own.
        cwd = "" if away else body.cwd or str(Path.home())
        body = msgspec.structs.replace(body, model=path, cwd=cwd)
        return await asyncio.to_thread(launch_of, job, one, body, devices, work)

    async def _model_path(self, job: JobView, body: Body) -> str:
        """The model's file on this machine: as typed here, else by its content, fetched first."""
        if job.kind == "command":
            return ""
        known = await asyncio.to_thread(model_of, self._home, job.job_id)
        if known is None and job.origin != self._author:
            text = "its home did not say which model it is"
            raise RequestError("NoWeights", text, "send it anew")
        return body.model if known is None else await self._models.path(known)

    async def _work(self, job: JobView, one: AttemptView, body: Body) -> str:
        """The attempt's folder with its files in it; "" for a job that brings none."""
        if not body.files:
            return ""
        where = self._attempts(one.device_id)
        if where.begun(job.job_id, one.number):
            return str(work_of(self._home, job.job_id, one.number))  # it may be at work in it
        if await asyncio.to_thread(missing, self._home, job.job_id, body):
            await self.bring(job, body)
        files = await asyncio.to_thread(given, self._home, job.job_id, body)
        return await where.give(job.job_id, one.number, files)


async def _nowhere(job: JobView, body: Body) -> None:
    """Nobody to fetch from: what is missing stays so."""
