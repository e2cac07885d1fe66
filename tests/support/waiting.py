"""Waiting on conditions, never on time."""

import time
from collections.abc import Callable
from typing import Any

DEADLINE_S = 60  # generous on a shared machine: waiting ends when the condition holds


def wait_until(condition: Callable[[], object], what: str, within_s: float = DEADLINE_S) -> Any:
    """The first true value of `condition`; fails naming `what` after `within_s`."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited {within_s:g} s in vain for {what}")
