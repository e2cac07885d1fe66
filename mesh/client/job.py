"""One job: wait for it, read what it writes, end it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Final, final

from mesh.cli.client import Daemon, job_url
from mesh.client.errors import FleetError, an_object, field, told
from mesh.client.shown import Answer, as_html, as_text, flat
from mesh.state.jobs import ENDED

# How late the end of a job may be noticed.
POLL_S: Final = 0.2


@final
class Job:
    """A job of the fleet. It is only looked at, so it goes on when the notebook ends."""

    def __init__(self, daemon: Callable[[], Daemon], job_id: str) -> None:
        self._daemon: Final = daemon
        self.id: Final = job_id

    def row(self) -> Answer:
        """Everything known of it now."""
        return Answer(self._ask(""))

    @property
    def status(self) -> str:
        """How it stands now: pending, queued, dispatched, running, paused, cancelling; or its end,
        succeeded, failed, cancelled."""
        return str(field(self._ask(""), "status"))

    def wait(self, timeout_s: float | None = None) -> Job:
        """This job once it has ended, however it did; TimeoutError where that takes longer."""
        until = None if timeout_s is None else time.monotonic() + timeout_s
        while self.status not in ENDED:
            if until is not None and time.monotonic() >= until:
                raise TimeoutError(f"{self.id} has not ended after {timeout_s:g} s")
            time.sleep(POLL_S)
        return self

    def logs(self) -> Iterator[str]:
        """What it wrote, then what it writes, in pieces, until it ends; an engine's log too."""
        return self._stream("logs")

    def words(self) -> Iterator[str]:
        """The model's answer alone, as it comes, until it ends."""
        return self._stream("answer")

    def text(self) -> str:
        """All that a model answered, or a command wrote; waits for the end."""
        return "".join(self.words() if field(self._ask(""), "kind") == "model" else self.logs())

    def result(self, timeout_s: float | None = None) -> str:
        """Its text once it succeeded; FleetError where it ended otherwise."""
        row = self.wait(timeout_s).row()
        if field(row, "status") != "succeeded":
            said = str(row.get("text") or row.get("reason") or "")
            text = f"{self.id} {row['status']}" + (f": {said}" if said else "")
            raise FleetError("JobFailed", text, f"fleet logs {self.id}")
        return self.text()

    def cancel(self) -> None:
        """Ask it to end."""
        with told():
            self._daemon().post(job_url(self.id, "/cancel"))

    def _ask(self, rest: str) -> dict[str, Any]:
        with told():
            return an_object(self._daemon().get(job_url(self.id, rest)))

    def _stream(self, what: str) -> Iterator[str]:
        with told():
            for kind, value in self._daemon().stream(job_url(self.id, f"/{what}")):
                if kind == "message":
                    yield str(field(value, "text"))
                if kind == "end":
                    return
        text = f"the daemon stopped; job {self.id} goes on without it"
        raise FleetError("NoDaemon", text, "fleet up --detach, then ask again")

    def __repr__(self) -> str:
        return f"Job({self.id!r})"

    def _repr_html_(self) -> str:
        return as_html(self._shown())

    def __str__(self) -> str:
        return as_text(self._shown())

    def _shown(self) -> list[dict[str, Any]]:
        row = self.row()
        names = ("job_id", "status", "model", "devices", "waiting", "duration_ms", "cost_nusd")
        return flat([{name: row.get(name) for name in names}])
