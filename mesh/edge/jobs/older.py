"""Jobs that ended so long ago that memory holds their ids alone: the ledger is read for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, final

from mesh.state.jobs import JobView
from mesh.state.state import State

# Somebody fetches the files of one old job part by part: each is read from the ledger once.
MAX_KEPT: Final = 64


@final
class OlderJobs:
    """Every job there is. `every_job` folds the whole ledger, as long as that is: it blocks."""

    def __init__(self, state: Callable[[], State], every_job: Callable[[], State]) -> None:
        self._state: Final = state
        self._every_job: Final = every_job
        self._kept: Final[dict[str, JobView]] = {}  # the newest last; an end is for good
        self._reading: Final = asyncio.Lock()

    async def find(self, job_id: str) -> JobView | None:
        """One job; None where there is none."""
        state = self._state()
        if job_id not in state.retired:
            return state.jobs.get(job_id)
        async with self._reading:
            if job_id not in self._kept:
                await self._read(job_id)
        return self._kept.get(job_id)

    async def _read(self, job_id: str) -> None:
        whole = await asyncio.to_thread(self._every_job)
        if job_id in whole.jobs:
            self._kept[job_id] = whole.jobs[job_id]
        if len(self._kept) > MAX_KEPT:
            del self._kept[next(iter(self._kept))]
