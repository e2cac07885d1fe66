"""Where in the protocol a fault strikes: faults wait for a step, and pairs that met are counted.

A fault that strikes at any moment mostly strikes between steps, where it is harmless. Each schedule
arms a few pairs instead; the next peer that comes to the step after so many others is struck.
"""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

# What peers do that another peer or the disk sees; several times a second each, or a few times a
# schedule (the second tuple).
OFTEN: Final = ("hello", "heads", "pull", "batch", "tail", "commit", "fold")
SELDOM: Final = ("greeting", "snapshot", "refold", "statement", "start", "heard", "relay")
STEPS: Final = OFTEN + SELDOM

Strike = Callable[[object, str], bool]  # does the fault to a peer; False where it can't


@dataclass(slots=True)
class Armed:
    """One fault that waits for its step; `left` more of them pass unharmed."""

    step: str
    fault: str
    left: int
    strike: Strike


@dataclass(slots=True)
class Steps:
    """What is armed in one schedule, how often each step was taken and each pair hit."""

    armed: list[Armed] = field(default_factory=list)
    taken: Counter[str] = field(default_factory=Counter)
    hits: Counter[tuple[str, str]] = field(default_factory=Counter)

    def arm(self, rng: random.Random, step: str, fault: str, strike: Strike) -> None:
        """Let a fault wait for a step."""
        left = rng.randrange(40) if step in OFTEN else rng.randrange(4)
        self.armed.append(Armed(step, fault, left, strike))

    def at(self, peer: object, step: str) -> None:
        """A peer takes a step; whatever waited for it strikes. May raise a Crash."""
        self.taken[step] += 1
        for one in [one for one in self.armed if one.step == step]:
            if one.left:
                one.left -= 1
                continue
            self.armed.remove(one)
            self.hits[one.fault, step] += 1  # before it: a crash does not come back
            if not one.strike(peer, step):
                self.hits[one.fault, step] -= 1
                self.armed.append(one)

    def disarm(self) -> None:
        """No more faults."""
        self.armed.clear()
