"""A pause, as two empty files in an attempt's folder: `hold` asks for it, `held` says it is so.

Files, not signals: they outlive the daemon that asked, and an empty one needs no block of a full
disk.
"""

import os
import time
from contextlib import suppress
from pathlib import Path

from providers import tree

ASKED = "hold"
HELD = "held"


class Hold:
    """The runner's side: keeps its tree as the file asks, and counts the time it stood still."""

    def __init__(self, job_dir: Path) -> None:
        self.asked = job_dir / ASKED
        self.held = job_dir / HELD
        self._before_s = 0.0
        self._since: float | None = None
        self._said = False

    @property
    def paused_ms(self) -> int:
        """How long the tree stood still in all, by the monotonic clock."""
        now = 0.0 if self._since is None else time.monotonic() - self._since
        return int((self._before_s + now) * 1000)

    def look(self) -> None:
        """Stop or wake the tree if the file came or went."""
        if self.asked.exists():
            if self._since is None:
                self._since = time.monotonic()
            if not self._said and tree.stop(os.getpid()):
                self._say(held=True)
        elif self._since is not None and tree.wake(os.getpid()):
            self.over()

    def over(self) -> None:
        """The tree runs, or has ended: whatever was counted as a pause ends here."""
        if self._since is not None:
            self._before_s += time.monotonic() - self._since
            self._since = None
        self._say(held=False)

    def _say(self, *, held: bool) -> None:
        """On a disk that takes no file, who asked is left to think that it did not work."""
        with suppress(OSError):
            if held:
                self.held.touch(mode=0o600)
            else:
                self.held.unlink(missing_ok=True)
            self._said = held
