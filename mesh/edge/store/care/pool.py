"""Checking parts of a ledger in several processes: a signature is all arithmetic."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from mesh.edge.store import schema
from mesh.edge.store.care.checks import Checked, Checker, Part

# Each takes 40 MB; beyond eight the disk is the slower one.
MAX_PROCESSES: Final = 8
# A process is ready after 0.3 s; that is 5,000 events.
PARTS_FOR_TWO: Final = 20
# Parts handed over at once, and how many such heaps wait for each process: bounded memory.
HEAP: Final = 4
HEAPS_AHEAD: Final = 3

_checker: Checker | None = None  # of a worker process


def check_all(path: Path | None, here: Checker, parts: list[Part]) -> Iterator[Checked]:
    """Every part checked, in the order given; in this process where there are few."""
    count = min(os.cpu_count() or 1, MAX_PROCESSES)
    if path is None or count < 2 or len(parts) < PARTS_FOR_TWO:
        yield from map(here.check, parts)
        return
    done = 0
    try:
        for one in _spread(path, count, parts):
            done += 1
            yield one
    except BrokenProcessPool:  # the system ended one: go on without
        yield from map(here.check, parts[done:])


def _spread(path: Path, count: int, parts: list[Part]) -> Iterator[Checked]:
    heaps: Iterable[list[Part]] = (parts[at : at + HEAP] for at in range(0, len(parts), HEAP))
    waiting: deque[Future[list[Checked]]] = deque()
    # Spawned, for a forked process would share this one's threads' locks and its database.
    with ProcessPoolExecutor(
        count, mp_context=get_context("spawn"), initializer=_begin, initargs=(path,)
    ) as pool:
        heaps = iter(heaps)
        waiting.extend(pool.submit(_check, heap) for heap in islice(heaps, count * HEAPS_AHEAD))
        while waiting:
            found = waiting.popleft().result()
            waiting.extend(pool.submit(_check, heap) for heap in islice(heaps, 1))
            yield from found


def _begin(path: Path) -> None:
    global _checker
    _checker = Checker(schema.read_only(path))


def _check(parts: list[Part]) -> list[Checked]:
    assert _checker is not None
    return [_checker.check(part) for part in parts]
