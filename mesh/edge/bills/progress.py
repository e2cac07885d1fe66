"""How far bills are that are made for the first time: after an upgrade, or in another zone."""

from __future__ import annotations

from typing import Final, final

from mesh.edge.store.care.progress import Abandoned, Progress

MAKES: Final = "makes the bills"
ADDS: Final = "adds up the bills"
# A bill that is up to date lacks a few events; this many take more than a moment (some 3 s).
LONG_EVENTS: Final = 20_000


@final
class Making:
    """What is being made: told by the thread that does, asked on the loop."""

    def __init__(self) -> None:
        self._text = ""
        self._is_long = False
        self._stopped = False
        self._log = Progress(MAKES)

    def begin(self, left: int) -> None:
        """Bills are brought up to date, which lack so many events."""
        self._text, self._is_long = "", left > LONG_EVENTS
        self._log = Progress(MAKES)

    def events(self, done: int, count: int) -> None:
        """So many events are in; Abandoned where nobody waits for the rest."""
        self._told(f"{MAKES}, {done:,} of {count:,} events")
        self._log(done, count)

    def devices(self, done: int, count: int) -> None:
        """So many devices are added up."""
        self._told(f"{ADDS}, {done:,} of {count:,} devices")

    def end(self) -> None:
        """They are up to date, or failed."""
        self._is_long = False

    def stop(self) -> None:
        """End it at the next word; what is kept by then is gone on with."""
        self._stopped = True

    @property
    def is_long(self) -> bool:
        """Whether who asks now would wait for more than a moment."""
        return self._is_long

    def text(self) -> str:
        """In one line: "not ready: makes the bills, 40,000 of 100,000 events"."""
        return f"not ready: {self._text or MAKES}"

    def _told(self, text: str) -> None:
        if self._stopped:
            raise Abandoned
        self._text = text
