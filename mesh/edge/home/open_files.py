"""How many files and sockets this process may have open at once."""

from __future__ import annotations

import contextlib
from typing import Final

# All that may be connected at once (mesh/edge/transport) is some 2,500 sockets, each answer of a
# model has another, and the ledger, logs and downloads have some. No more is taken: the processes
# of jobs have the same limit, and some programs go through all the numbers there may be.
MAX_FILES: Final = 8192


def raise_limit() -> None:
    """As many as the system lets this user have, up to MAX_FILES: shells give 256 or 1,024."""
    try:
        import resource
    except ImportError:
        return  # Windows has no such limit
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        with contextlib.suppress(OSError, ValueError):  # macOS allows fewer than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
