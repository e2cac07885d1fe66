"""How much of a machine fetching may use: its disk, its line, and the money a line may cost."""

import shutil
import subprocess
from typing import Final, final

from mathcore.units import GIB, show_bytes

# Left free whatever is fetched: a ledger that can't be written stops a peer.
KEEP_FREE_BYTES: Final = 2 * GIB
DEFAULT_DISK_BYTES: Final = 200_000_000_000  # of everything fetched: a few large models
# A line's rate is kept over so long: shorter is choppy, longer lets a burst through.
BURST_S: Final = 0.25
ASK_S: Final = 2.0  # NetworkManager answers in milliseconds, or is broken
# NMMetered: https://networkmanager.dev/docs/api/latest/nm-dbus-types.html
_METERED: Final = {1: True, 3: True, 2: False, 4: False}


def refused_disk(need: int, *, taken: int, limit: int, free: int) -> str:
    """Why so many bytes more may not be fetched; "" where they may.

    `taken` by everything fetched so far, `limit` for all of it, `free` on the disk.
    """
    if taken + need > limit:
        return (
            f"it needs {show_bytes(need)}, models fetched take {show_bytes(taken)} already, and "
            f"may take {show_bytes(limit)}"
        )
    if need + KEEP_FREE_BYTES > free:
        return (
            f"it needs {show_bytes(need)}, the disk has {show_bytes(free)} free, and "
            f"{show_bytes(KEEP_FREE_BYTES)} of that stay so"
        )
    return ""


@final
class Throttle:
    """A line's rate in bytes a second, 0 for none; `now` in seconds of any steady clock."""

    def __init__(self, bytes_per_s: int) -> None:
        self._rate: Final = bytes_per_s
        self._until = 0.0

    def wait_s(self, size: int, now: float) -> float:
        """How long to wait after so many bytes went over the line."""
        if self._rate <= 0:
            return 0.0
        self._until = max(self._until, now - BURST_S) + size / self._rate
        return max(0.0, self._until - now)


def is_metered() -> bool | None:
    """Whether NetworkManager says that this machine's line costs by the byte; None: unknown."""
    program = shutil.which("busctl")
    if program is None:
        return None
    name = "org.freedesktop.NetworkManager"
    where = ["--system", "get-property", name, "/org/freedesktop/NetworkManager", name, "Metered"]
    try:
        said = subprocess.run(
            [program, *where], capture_output=True, text=True, timeout=ASK_S, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return metered_from(said.stdout)


def metered_from(said: str) -> bool | None:
    """What "u 4" of busctl means; None for unknown, and for what is not understood."""
    word = said.split()[-1:] or [""]
    return _METERED.get(int(word[0])) if word[0].isascii() and word[0].isdigit() else None
