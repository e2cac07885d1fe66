"""Where attempts run: what this machine and a host reached by SSH have in common."""

from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, final

from providers.base import Handle, Launch, Outcome

WORK = "work"  # below an attempt's folder: where its files are, and what it leaves


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A file for an attempt: where its content is here, and its path below the attempt's folder,
    which the caller checked. `hash` is the content's, of 64 hexadecimal digits."""

    path: str
    source: Path
    hash: str
    size: int
    executable: bool = False


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LeftFile:
    """A file below an attempt's folder; `path` is as the host says, whatever it be."""

    path: str
    size_bytes: int


class Attempts(Protocol):
    """Runs attempts on one host: this machine (providers.here) or one reached by SSH."""

    async def give(self, job_id: str, attempt: int, files: Sequence[Given]) -> str:
        """Lay files out for an attempt that has not begun; the folder it is to run in, "" where it
        does so by itself. May be done again after a failure."""

    def bring_back(self, job_id: str, attempt: int, path: str) -> Coroutine[Any, Any, None]:
        """See that a file which an attempt left in that folder is in its folder here, as of now, or
        that none is. `path` is checked as `Given.path` is."""

    def left(
        self, job_id: str, attempt: int, most: int
    ) -> Coroutine[Any, Any, list[LeftFile] | None]:
        """The files in that folder, up to `most` of them, none where the attempt was given no
        folder; None where all of the attempt is gone. Links are not followed, and none is named."""

    async def start(self, launch: Launch) -> Handle:
        """Start, or find it started: at most one run ever per (job_id, attempt), whoever asks.

        Unheard: nobody knows whether it runs; any other ProviderError: why it can't.
        """

    async def poll(self, job_id: str, attempt: int) -> Outcome | None:
        """How it ended. None: it has not, it never began, or its host is not reached."""

    async def cancel(self, job_id: str, attempt: int) -> None:
        """End the whole tree, 12 s later at the latest; returns at once.

        A start that was tried and has not come up yet never does: then it `ran` for no time.
        """

    async def pause(self, job_id: str, attempt: int) -> bool:
        """Stop the tree where it stands, memory kept; False where that can't be."""

    async def resume(self, job_id: str, attempt: int) -> bool:
        """Let it go on; False where it has ended."""

    def begun(self, job_id: str, attempt: int) -> bool:
        """Whether a start was ever tried from here: it may run, whatever else is known."""

    def ran(self, job_id: str, attempt: int) -> bool:
        """Whether it surely ran or runs: then `poll` will say how it went."""

    async def read(
        self, job_id: str, attempt: int, name: str, offset: int, limit: int
    ) -> tuple[bytes, int]:
        """Part of one of its files (log.txt, answer.txt), and the file's size."""
