"""What a home remembers of how its services came up: who waits, and what kept them from it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, final

from mesh.api.errors import RequestError
from mesh.state.jobs import FAILED, RUNNING, JobView

# After a load that failed, doubled each time: whoever asks meanwhile is told why at once.
FIRST_PAUSE_S: Final = 5.0
LAST_PAUSE_S: Final = 300.0
MAX_RETRY_S: Final = 60  # OpenAI's library gives up at once above two minutes


@final
@dataclass(slots=True)
class Loads:
    """One service's."""

    failed: set[str]  # jobs whose failure was counted, or was before we looked
    wanted_until_s: float = 0.0
    pause_s: float = 0.0
    next_s: float = 0.0
    look_s: float = 0.0  # when its servers are looked at next
    why: str = field(default="")  # the last load failed of this

    def fail(self, why: str) -> None:
        """One more did not come up."""
        self.why = why
        self.pause_s = min(LAST_PAUSE_S, 2 * self.pause_s) if self.pause_s else FIRST_PAUSE_S
        self.next_s = time.monotonic() + self.pause_s

    def count(self, jobs: Iterable[JobView], is_ready: Callable[[JobView], bool]) -> None:
        """See what became of its servers."""
        self.failed &= {job.job_id for job in jobs}
        for job in jobs:
            if job.status == FAILED and job.job_id not in self.failed:
                self.failed.add(job.job_id)
                self.fail(job.text or job.reason)
            elif job.status == RUNNING and is_ready(job):
                self.pause_s = 0.0

    def refuse_while_paused(self, model: str) -> None:
        """LoadFailed where it is not tried again yet."""
        left_s = self.next_s - time.monotonic()
        if left_s > 0:
            raise LoadFailed(model, self.why, left_s)


@final
class LoadFailed(RequestError):
    """A model did not come up a moment ago."""

    def __init__(self, model: str, why: str, again_s: float) -> None:
        self.retry_after_s: Final = max(1, min(MAX_RETRY_S, round(again_s)))
        text = f"{model} could not be loaded: {why[:400]}"
        super().__init__("LoadFailed", text, f"it is tried again in {self.retry_after_s} s", 503)
