"""daemon.log, bounded: at MAX_BYTES the daemon begins a new file and keeps the last few.

The daemon's own standard output is the file, so the turn is made here, by putting the new file in
the place of the old one under both streams. Whatever was written before is in the old file,
whatever comes after in the new one. On Windows an open file keeps its name: there the turn is made
when a daemon starts.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

NAME: Final = "daemon.log"
# A quiet month is some kilobytes; a fault that repeats fills this in hours, and its beginning is
# what a person needs. All files together stay below (KEPT + 1) * MAX_BYTES and what is written
# within one look.
MAX_BYTES: Final = 4 * 1024 * 1024
KEPT: Final = 3
LOOK_S: Final = 2.0
STREAMS: Final = (1, 2)  # standard output and standard error


def open_log(home: Path) -> int:
    """A descriptor that appends to the log, private to its owner; one that is full is turned."""
    path = home / NAME
    with contextlib.suppress(OSError):
        if path.stat().st_size > MAX_BYTES:
            _shift(home)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def redirect(home: Path) -> None:
    """This process's output goes to the log from now on."""
    fd = open_log(home)
    for stream in STREAMS:
        os.dup2(fd, stream)
    os.close(fd)


def kept(home: Path) -> list[Path]:
    """The files there are, oldest first."""
    names = [*(f"{NAME}.{number}" for number in range(KEPT, 0, -1)), NAME]
    return [home / name for name in names if (home / name).is_file()]


def turn(home: Path) -> bool:
    """Begin a new file where this process writes to one that is full; whether it did."""
    path, mine = home / NAME, _streams_of(home / NAME)
    if not mine or path.stat().st_size <= MAX_BYTES:
        return False
    draft = home / f".{NAME}.new"
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        _shift(home)
        draft.replace(path)
        for stream in mine:
            os.dup2(fd, stream)
    finally:
        os.close(fd)
        draft.unlink(missing_ok=True)
    return True


async def keep_bounded(home: Path) -> None:
    """Look now and then, for as long as the daemon lives. A disk that refuses is asked again."""
    while True:
        with contextlib.suppress(OSError):
            turn(home)
        await asyncio.sleep(LOOK_S)


def _shift(home: Path) -> None:
    """Each file one number up; the oldest is dropped."""
    for number in range(KEPT, 0, -1):
        older = home / (f"{NAME}.{number - 1}" if number > 1 else NAME)
        if older.exists():
            older.replace(home / f"{NAME}.{number}")


def _streams_of(path: Path) -> list[int]:
    """Those of our streams that are this file: another program's log is not ours to turn."""
    return [stream for stream in STREAMS if _same(stream, path)]


def _same(stream: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(stream), path.stat())
    except OSError:
        return False


def lines_of(home: Path) -> Iterator[str]:
    """Every line that is kept, oldest first."""
    for path in kept(home):
        try:
            file = path.open(encoding="utf-8", errors="replace")
        except FileNotFoundError:  # turned while we read: it has another name
            continue
        with file:
            yield from file
