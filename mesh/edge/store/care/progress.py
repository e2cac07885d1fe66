"""How far a long piece of work on a ledger is, said to whoever wants to know."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Final

SAY_EVERY_S: Final = 5.0

Say = Callable[[int, int], None]  # events done, of how many; raises Abandoned to end the work
Steps = Callable[[str], Say]  # a step begins, called so


class Abandoned(Exception):
    """Whoever wanted this work wants it no more."""


class Progress:
    """Says now and then how far a step is, on stderr."""

    def __init__(self, what: str) -> None:
        self._what: Final = what
        self._next = time.monotonic() + SAY_EVERY_S

    def __call__(self, done: int, count: int) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + SAY_EVERY_S
            text = f"fleet: {self._what}: {done:,} of {count:,} events"
            print(text, file=sys.stderr, flush=True)
