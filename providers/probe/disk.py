"""How fast the disk under a folder reads a large file: what loading a model waits for."""

import os
import sys
import tempfile
import time
from pathlib import Path

# Long enough that a drive's first milliseconds do not decide, short enough to write at a start.
FILE_BYTES = 64 * 1024 * 1024
BLOCK_BYTES = 4 * 1024 * 1024


def measure_disk_read(folder: Path, size: int = FILE_BYTES) -> int:
    """Bytes per second of a file of `size` that the page cache has forgotten.

    0 where that cannot be told: no room, no right to write, a system that keeps its cache. Leaves
    nothing behind.
    """
    block = os.urandom(BLOCK_BYTES)  # which no file system stores as a hole or compresses
    try:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            for _ in range(size // BLOCK_BYTES):
                file.write(block)
            os.fsync(file.fileno())
            if not _forget(file.fileno()):
                return 0
            file.seek(0)
            into = bytearray(BLOCK_BYTES)
            begun, read = time.perf_counter(), 0
            while got := file.readinto(into):
                read += got
            spent = time.perf_counter() - begun
    except OSError:
        return 0
    return int(read / spent) if spent > 0 else 0


def _forget(descriptor: int) -> bool:
    """Ask the system to drop the file from its cache, or not to use it; whether it can."""
    if sys.platform == "darwin":
        import fcntl

        fcntl.fcntl(descriptor, fcntl.F_NOCACHE, 1)
        return True
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        return True
    return False
