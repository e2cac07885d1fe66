"""How often each fault met each step, over many schedules."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, final

Pair = tuple[str, str]  # fault, step

ENOUGH: Final = 20  # times each fault must have met each step
NAMED: Final = 12  # rare pairs that one line names


@final
class Pairs:
    """Of these faults and steps; `never` says which pairs can't meet, and why."""

    def __init__(
        self, faults: Sequence[str], steps: Sequence[str], never: Mapping[Pair, str]
    ) -> None:
        self._faults, self._steps, self._never = faults, steps, never
        self.hits: Counter[Pair] = Counter()
        self.taken: Counter[str] = Counter()

    def add(self, hits: Counter[Pair], taken: Counter[str]) -> None:
        """What one schedule gave."""
        self.hits.update(hits)
        self.taken.update(taken)

    def shown(self, fault: str, step: str) -> str:
        """Times met; "-" for a pair that can't."""
        return "-" if (fault, step) in self._never else str(self.hits[fault, step])

    def rare(self) -> str:
        """Which pairs met less often than they must, and could."""
        every = [(fault, step) for fault in self._faults for step in self._steps]
        rare = [pair for pair in every if self.hits[pair] < ENOUGH and pair not in self._never]
        names = ", ".join(f"{fault} at {step}" for fault, step in rare[:NAMED])
        return f"{len(rare)} pairs met less than {ENOUGH} times{': ' + names if rare else ''}"
