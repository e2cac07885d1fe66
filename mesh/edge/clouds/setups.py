"""What makes a rented machine ready: its asker's command, run there once, before any job.

It runs as a job does, by a name that follows from the rental: whoever asks again after a crash
finds the one that runs, or how it ended. Nothing of it is billed to a job.
"""

from __future__ import annotations

import sys
from typing import Final, Literal, final

from mesh.edge.ssh.hosts import Known
from providers.base import Launch, Outcome, ProviderError, Unheard

# "ended": heard for the first time that it did well; "done" from then on.
Readiness = Literal["runs", "ended", "done", "failed"]
FIRST: Final = 1  # it has one attempt


@final
class Setups:
    """Those of one peer's rented machines."""

    def __init__(self) -> None:
        self._heard: Final[dict[str, Readiness]] = {}  # rental -> how it ended

    async def ready(self, known: Known, rental_id: str, command: str) -> Readiness:
        """Begin it, or hear how it is; "runs", too, while the machine is not reached."""
        heard = self._heard.get(rental_id)
        if heard is not None:
            return heard
        try:
            outcome = await _run(known, f"setup-{rental_id}", command)
        except Unheard:
            return "runs"
        except ProviderError as error:
            return self._failed(known, rental_id, error.text)
        if outcome is None:
            return "runs"
        if outcome.reason != "ok":
            return self._failed(known, rental_id, outcome.text or outcome.reason)
        self._heard[rental_id] = "done"
        return "ended"

    def forget(self, rental_id: str) -> None:
        """The machine is gone."""
        self._heard.pop(rental_id, None)

    def _failed(self, known: Known, rental_id: str, words: str) -> Readiness:
        """Its words may quote what its asker typed: they are in this daemon's log alone."""
        shown = "".join(c for c in words if c.isprintable())
        print(f"fleet: the setup of {known.name} failed: {shown}", file=sys.stderr, flush=True)
        self._heard[rental_id] = "failed"
        return "failed"


async def _run(known: Known, name: str, command: str) -> Outcome | None:
    """Start it, or find it started; None while it runs."""
    argv = ("sh", "-c", command)
    await known.attempts.start(Launch(job_id=name, attempt=FIRST, kind="command", argv=argv))
    return await known.attempts.poll(name, FIRST)
