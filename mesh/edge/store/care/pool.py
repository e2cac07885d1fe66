"""Checking a ledger in several processes: a signature is all arithmetic."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from mesh.edge.store import schema
from mesh.edge.store.care.checks import Checked, Checker, Part
from mesh.edge.store.reports import Finding

# Each takes 40 MB; beyond eight the disk is the slower one.
MAX_PROCESSES: Final = 8
# A process is ready after 0.3 s; that is 5,000 events.
PARTS_FOR_TWO: Final = 20
# Parts handed over at once, and how many such heaps wait for each process: bounded memory.
HEAP: Final = 4
HEAPS_AHEAD: Final = 3

_checker: Checker | None = None  # of a worker process


def check_all(
    home: Path | None, here: Checker, parts: list[Part], *, snapshot: bool
) -> Iterator[Checked | Finding]:
    """Every part checked, in the order given; in this process where there are few.

    With `snapshot`, the snapshot of the state too, at the end: a finding where it is wrong.
    """
    count = min(os.cpu_count() or 1, MAX_PROCESSES)
    done = 0
    if home is not None and count > 1 and len(parts) >= PARTS_FOR_TWO:
        try:
            for one in _spread(home, count, parts, snapshot=snapshot):
                done += 1
                yield one
        except BrokenProcessPool:  # the system ended one: go on without
            pass
        else:
            return
    yield from map(here.check, parts[done:])
    found = check_snapshot(home) if home is not None and snapshot else None
    if found is not None:
        yield found


def check_snapshot(home: Path) -> Finding | None:
    """What is wrong with the snapshot of the state; None for nothing."""
    from mesh.edge.store import state
    from mesh.edge.store.ledger import Reader

    check = getattr(state, "snapshot_finding", None)
    if check is None:
        return None
    with closing(Reader.open(home)) as reader:
        found: Finding | None = check(reader)
        return found


def _spread(
    home: Path, count: int, parts: list[Part], *, snapshot: bool
) -> Iterator[Checked | Finding]:
    heaps = iter([parts[at : at + HEAP] for at in range(0, len(parts), HEAP)])
    waiting: deque[Future[list[Checked]]] = deque()
    # Spawned, for a forked process would share this one's threads' locks and its database.
    with ProcessPoolExecutor(
        count, mp_context=get_context("spawn"), initializer=_begin, initargs=(home,)
    ) as pool:
        state = pool.submit(check_snapshot, home) if snapshot else None
        waiting.extend(pool.submit(_check, heap) for heap in islice(heaps, count * HEAPS_AHEAD))
        while waiting:
            found = waiting.popleft().result()
            waiting.extend(pool.submit(_check, heap) for heap in islice(heaps, 1))
            yield from found
        wrong = None if state is None else state.result()
        if wrong is not None:
            yield wrong


def _begin(home: Path) -> None:
    global _checker
    _checker = Checker(schema.read_only(home / schema.DATABASE))


def _check(parts: list[Part]) -> list[Checked]:
    assert _checker is not None
    return [_checker.check(part) for part in parts]
