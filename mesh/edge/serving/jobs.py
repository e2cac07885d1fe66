"""The ledger's jobs that serve a model, found among all its jobs once for each event."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, final

from mesh.state.jobs import SERVER, JobView
from mesh.state.state import State

# All jobs are looked through this often besides: what came before may be believed later. A request
# asks for the servers several times, and ten thousand jobs take a millisecond.
LOOK_S: Final = 0.25


@final
class ServerJobs:
    """All of them, those that ended too."""

    def __init__(self, state: Callable[[], State]) -> None:
        self._state: Final = state
        self._found: list[JobView] = []
        self._seen: State | None = None
        self._events = 0
        self._until_s = 0.0

    def all(self) -> list[JobView]:
        """As of the newest event; not to be changed."""
        state, now_s = self._state(), time.monotonic()
        is_new = state is not self._seen or state.event_count != self._events
        if is_new or now_s >= self._until_s:
            self._seen, self._events, self._until_s = state, state.event_count, now_s + LOOK_S
            self._found = [job for job in list(state.jobs.values()) if job.kind == SERVER]
        return self._found
