"""What a daemon does before it is ready, and how far it is."""

from __future__ import annotations

from typing import Final, final

from mesh.edge.store.care.progress import Abandoned, Progress, Say

OPENS: Final = "opens the ledger"


@final
class Starting:
    """The step under way: told by the thread that works, asked on the loop."""

    def __init__(self) -> None:
        self._now: tuple[str, int, int] = (OPENS, 0, 0)
        self._stopped = False
        self.begun: Final[list[str]] = []

    def step(self, what: str) -> Say:
        """A step begins; what comes back is told how many of its events are done."""
        self._now = (what, 0, 0)
        self.begun.append(what)
        log = Progress(what)

        def say(done: int, count: int) -> None:
            if self._stopped:
                raise Abandoned
            self._now = (what, done, count)
            log(done, count)

        return say

    def stop(self) -> None:
        """End it at the next word of progress; what was not finished is begun again next time."""
        self._stopped = True

    @property
    def stopped(self) -> bool:
        """Whether it should end."""
        return self._stopped

    def text(self) -> str:
        """In one line: "starting: lifts the ledger, 40,000 of 100,000 events"."""
        what, done, count = self._now
        far = f", {done:,} of {count:,} events" if count else ""
        return f"starting: {what}{far}"

    def row(self) -> dict[str, object]:
        """As JSON: the step, and how many of its events are done; `count` is 0 while unknown."""
        what, done, count = self._now
        return {"step": what, "done": done, "count": count}
