"""Where a job stands, told to whoever follows it: once placed, and when its reason changes."""

from __future__ import annotations

import time
from typing import Final, final

from mesh.api.rows import Row, job_row, with_standing
from mesh.edge.http.ports import ServedNode
from mesh.state.jobs import ENDED, JobView

LOOK_S: Final = 1.0  # a reason that lasts shorter than this nobody needs to read
SHOWN: Final = ("status", "devices", "waiting", "waiting_code", "standing", "expected")


@final
class StandingWatch:
    """One job's standing, for one reader."""

    def __init__(self, node: ServedNode, job: JobView) -> None:
        self._node: Final = node
        self._job_id: Final = job.job_id
        self._next_s = 0.0
        self._told: tuple[object, ...] = ()

    async def news(self) -> Row | None:
        """What to tell now; None for nothing new."""
        job, now_s = self._node.state.jobs.get(self._job_id), time.monotonic()
        if now_s < self._next_s or job is None or job.status in ENDED:
            return None
        self._next_s = now_s + LOOK_S
        said = await self._node.standings([job])
        row = with_standing(
            job_row(self._node.state, job, self._node.now()), said.get(self._job_id)
        )
        key = tuple(row[name] for name in ("status", "device_id", "waiting"))
        if key == self._told or not (row["device_id"] or row["waiting_code"]):
            return None
        self._told = key
        return {name: row[name] for name in SHOWN}
