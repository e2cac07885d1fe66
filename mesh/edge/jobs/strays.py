"""What runs on this peer's devices though no lease of its tells of it any more.

A lease, or the job, was signed past a cut: its owner or its home was put out of the fleet. A stray
keeps its devices for itself while it runs. It is ended, unless its home asks for it again soon.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Set
from typing import Final, final

from mesh.state.state import State

Attempt = tuple[str, int]  # job id, number
# A peer that is let in again hears within this time from every home that is up and claims again
# what it had there (it looks every 15 s at the latest, and has its own events to get first).
GRACE_S: Final = 60.0


@final
class Strays:
    """Those of one peer, by since when it could have ended them."""

    def __init__(self) -> None:
        self._since_s: dict[Attempt, float] = {}

    def __contains__(self, key: Attempt) -> bool:
        return key in self._since_s

    def settle(self, found: Iterable[Attempt], *, acts: bool) -> None:
        """These are what there is now. `acts`: this peer's word counts, so that a home may claim
        them again; without it nobody's time begins."""
        now_s = asyncio.get_running_loop().time() if acts else 0.0
        self._since_s = {key: self._since_s.get(key, now_s) for key in found} if acts else {}

    def due(self) -> Set[Attempt]:
        """Those that nobody claimed again in time."""
        if not self._since_s:
            return frozenset()
        until_s = asyncio.get_running_loop().time() - GRACE_S
        return {key for key, since_s in self._since_s.items() if since_s <= until_s}


def is_over(state: State, author: str, key: Attempt) -> bool:
    """Whether the ledger tells of an attempt of this owner's that has ended."""
    if key[0] in state.retired:
        return True
    job = state.jobs.get(key[0])
    mine = () if job is None else job.attempts
    return any((one.number, one.owner) == (key[1], author) and one.ended for one in mine)
