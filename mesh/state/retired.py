"""Older ended jobs: which ids they had, eight bytes each, and how many ended how.

A home's events about a job that is gone from memory must not make a job of it again, also after
millions of them. Ids that carry their home's short id are kept as hashes by home: nobody else can
speak for them. Other ids (a client's own, those of older versions) are kept whole, with their home.
"""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from mesh.state.peer_id import is_named_for

# Hashes in a set before they become a sorted run: a set takes ten times the memory.
RUN: Final = 4096
Moment = tuple[int, int, int]  # clock, its counter, number in a chain


@dataclass(slots=True)
class Hashes:
    """A set of 8-byte hashes: sorted runs, each twice as long as the next or more, and the rest."""

    runs: list[bytes] = field(default_factory=list)
    fresh: set[int] = field(default_factory=set)

    def add(self, value: int) -> None:
        self.fresh.add(value)
        if len(self.fresh) < RUN:
            return
        run, self.fresh = array("Q", sorted(self.fresh)), set()
        while self.runs and len(self.runs[-1]) < 2 * len(run) * run.itemsize:
            run = array("Q", sorted([*run, *array("Q", self.runs.pop())]))
        self.runs.append(run.tobytes())

    def __contains__(self, value: int) -> bool:
        if value in self.fresh:
            return True
        for run in self.runs:
            view = memoryview(run).cast("Q")
            at = bisect_left(view, value)
            if at < len(view) and view[at] == value:
                return True
        return False

    def every(self) -> list[int]:
        """All of them, sorted."""
        return sorted([*self.fresh, *(one for run in self.runs for one in array("Q", run))])


@dataclass(slots=True)
class Home:
    """What remains of one home's older jobs beside their bills."""

    ids: Hashes = field(default_factory=Hashes)
    plain: dict[str, str] = field(default_factory=dict)  # ids kept whole, and how they ended
    counts: dict[str, int] = field(default_factory=dict)  # how many ended how
    until: Moment = (0, 0, 0)  # no older job of it ended later in its chain
    others: set[str] = field(default_factory=set)  # who else spoke of one of them


@dataclass(slots=True)
class Retired:
    """All older ended jobs, by home."""

    homes: dict[str, Home] = field(default_factory=dict)

    def add(self, job_id: str, status: str, home: str, at: Moment, others: set[str]) -> None:
        """A job leaves memory; `others` are those who spoke of it beside its home."""
        kept = self.homes.setdefault(home, Home())
        if is_named_for(home, job_id):
            kept.ids.add(_hash(job_id))
        else:
            kept.plain[job_id] = status
        kept.counts[status] = kept.counts.get(status, 0) + 1
        kept.until = max(kept.until, at)
        kept.others |= others

    def home(self, job_id: str) -> str | None:
        """Whose older job an id was; None for no such job."""
        for author, kept in self.homes.items():
            if job_id in kept.plain:
                return author
            if is_named_for(author, job_id):
                return author if _hash(job_id) in kept.ids else None
        return None

    def __contains__(self, job_id: str) -> bool:
        return self.home(job_id) is not None

    def __bool__(self) -> bool:
        return bool(self.homes)

    def statuses(self) -> Iterator[tuple[str, int]]:
        """(status, how many ended so), of each home."""
        for kept in self.homes.values():
            yield from kept.counts.items()

    def count(self, home: str) -> int:
        """How many older jobs a home has."""
        return sum(self.homes[home].counts.values()) if home in self.homes else 0

    def named_by(self, author: str) -> bool:
        """Whether somebody spoke of another home's older job, or somebody else of its own."""
        own = self.homes.get(author)
        return bool(own and own.others) or any(author in one.others for one in self.homes.values())


def _hash(job_id: str) -> int:
    return int.from_bytes(hashlib.blake2b(job_id.encode(), digest_size=8).digest(), "little")
