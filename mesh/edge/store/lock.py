"""One writer per ledger: an exclusive lock on a file that names who holds it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from mesh.edge.disk import LedgerBusy

if sys.platform == "win32":
    import msvcrt

    def _claim(fd: int) -> None:
        # Far past the text, so that others can still read the number.
        os.lseek(fd, 1 << 20, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        os.lseek(fd, 0, os.SEEK_SET)
else:
    import fcntl

    def _claim(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def lock(path: Path) -> int:
    """Take the lock and return its descriptor; closing it, or dying, lets go of the lock."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _claim(fd)
    except OSError as error:
        pid = _holder(fd)
        os.close(fd)
        raise LedgerBusy(pid) from error
    try:
        os.ftruncate(fd, 0)
        os.write(fd, f"{os.getpid()}\n".encode("ascii"))
    except OSError:
        os.close(fd)
        raise
    return fd


def _holder(fd: int) -> int:
    text = os.pread(fd, 32, 0) if sys.platform != "win32" else os.read(fd, 32)
    digits = text.strip()
    return int(digits) if digits.isdigit() else 0
