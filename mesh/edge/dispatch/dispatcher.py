"""One peer's part in dispatch: what was decided is carried out, many jobs side by side.

Talking to a peer that does not answer takes seconds; nobody else's job waits for that.
"""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, Protocol, final

from mesh.edge.disk import StoreError
from mesh.edge.dispatch.home import Home
from mesh.edge.dispatch.ports import Ledger
from mesh.policy.commands import (
    AskOwner,
    AtDevice,
    ClaimDevice,
    Command,
    EndJob,
    LoseAttempt,
    PlaceJob,
    WithdrawClaim,
)
from mesh.state.jobs import JobView

# Jobs a home asks about at once: each may wait for a peer, and holds a socket meanwhile.
MAX_AT_ONCE: Final = 64
RETRY_S: Final = 1.0  # pause after a write the disk refused


class Hands(Protocol):
    """Who starts, watches and stops attempts on this peer's devices."""

    async def run(self, command: AtDevice) -> None:
        """Carry out one command."""

    async def fail(self, command: AtDevice, reason: str, words: str) -> None:
        """End an attempt that could not be carried out."""


@final
class Dispatcher:
    """Runs commands: of one job in their order, of many at once. `may_act`: not while this peer
    may sign nothing, or nothing of it counts."""

    def __init__(
        self, ledger: Ledger, home: Home, hands: Hands, may_act: Callable[[], bool]
    ) -> None:
        self._ledger: Final = ledger
        self._home: Final = home
        self._hands: Final = hands
        self._may_act: Final = may_act
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}
        self.closed = False

    def carry_out(self, commands: Iterable[Command]) -> None:
        """Begin what is not under way. Never waits."""
        if self.closed or not self._may_act():
            return
        for command in commands:
            key = _key(command)
            if key in self._tasks or not self._may_begin(command):
                continue
            self._tasks[key] = asyncio.create_task(self._safely(key, command))

    def _may_begin(self, command: Command) -> bool:
        """Whether it is time, and a home does not ask too many at once; hands wait for nobody."""
        if isinstance(command, AtDevice):
            return True
        asking = sum(side == "home" for _, side in self._tasks)
        attempt = 0 if isinstance(command, PlaceJob | EndJob) else command.attempt
        return asking < MAX_AT_ONCE and (
            isinstance(command, EndJob | LoseAttempt) or self._home.due(command.job_id, attempt)
        )

    async def close(self) -> None:
        """Stop what is under way; all of it is safe to repeat."""
        self.closed = True
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def idle(self) -> None:
        """Until nothing is under way."""
        while self._tasks:
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _safely(self, key: tuple[str, str], command: Command) -> None:
        """Neither a full disk nor one job's trouble may stop the others."""
        try:
            await self._do(command)
        except StoreError as error:
            # Nothing was written, so the state is as before and the command comes again.
            print(f"fleet: {error.text}; {error.hint}", file=sys.stderr, flush=True)
            await asyncio.sleep(RETRY_S)
        except Exception as error:
            traceback.print_exc()
            if isinstance(command, AtDevice):
                text = f"{type(error).__name__}: {error}"
                await self._hands.fail(command, "internal", text)
            await asyncio.sleep(RETRY_S)
        finally:
            self._tasks.pop(key, None)

    async def _do(self, command: Command) -> None:
        if isinstance(command, AtDevice):
            await self._hands.run(command)
            return
        job = self._ledger.state.jobs.get(command.job_id)
        if job is not None:
            await self._at_home(command, job)

    def _at_home(self, command: Command, job: JobView) -> Awaitable[None]:
        match command:
            case PlaceJob():
                return self._home.place(job)
            case ClaimDevice():
                return self._home.claim(job, command.attempt)
            case WithdrawClaim():
                return self._home.withdraw(job, command.attempt)
            case AskOwner():
                return self._home.ask_owner(job, command.attempt)
            case LoseAttempt():
                return self._home.lose(job, command.attempt)
            case _:
                return self._home.end(job)


def _key(command: Command) -> tuple[str, str]:
    """What is done one at a time: all that a home does of a job, and with each attempt here."""
    return command.job_id, str(command.attempt) if isinstance(command, AtDevice) else "home"
