"""Waiting on conditions, never on time."""

import time
from collections.abc import Callable
from typing import Any

DEADLINE_S = 60  # generous on a shared machine: waiting ends when the condition holds


def wait_until(condition: Callable[[], object], what: str) -> Any:
    """The first true value of `condition`; fails naming `what` after DEADLINE_S."""
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited {DEADLINE_S} s in vain for {what}")
