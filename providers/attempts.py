"""Where attempts run: what this machine and a host reached by SSH have in common."""

from typing import Protocol

from providers.base import Handle, Launch, Outcome


class Attempts(Protocol):
    """Runs attempts on one host: this machine (providers.here) or one reached by SSH."""

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
