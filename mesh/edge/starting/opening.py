"""The ledger opened and folded in a thread, while the door says how far it is."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from mesh.edge.disk import StoreError
from mesh.edge.identity import fleet_of
from mesh.edge.starting.progress import Starting
from mesh.edge.store.care.progress import Abandoned
from mesh.edge.store.ledger import Ledger, claim
from mesh.edge.store.state import FOLDS, current_state
from mesh.state.checkpoint import pack
from mesh.state.state import State

# A start within this shows nobody a page of progress.
MOMENT_S: Final = 0.5


async def opened(
    home: Path, archive: str, starting: Starting, tell: Callable[[], Awaitable[None]]
) -> tuple[Ledger, State] | None:
    """The open ledger and its state; None where the start was stopped.

    LedgerBusy where another process writes it, before anybody is told anything. `tell` is awaited
    once this takes more than a moment.
    """
    claimed = claim(home)
    work = asyncio.create_task(asyncio.to_thread(open_home, home, claimed, archive, starting))
    try:
        await asyncio.wait({work}, timeout=MOMENT_S)
        if not work.done():
            await tell()
        return await work
    except Abandoned:
        return None
    finally:
        if not work.done():
            starting.stop()
            await asyncio.wait({work})
            if work.exception() is None:
                work.result()[0].close()


def open_home(home: Path, claimed: int, archive: str, starting: Starting) -> tuple[Ledger, State]:
    """The ledger of `home` in this program's format, and its state; Abandoned where it is stopped.

    A process that dies on the way loses nothing: the old ledger stays until the new one is whole,
    and a state is a cache.
    """
    ledger = Ledger.open_claimed(home, claimed, starting.step)
    try:
        _archive(ledger, archive)
        state = current_state(ledger, fleet_of(home), starting.step)
        if FOLDS in starting.begun:
            _keep(ledger, state)
        if starting.stopped:
            raise Abandoned
        return ledger, state
    except BaseException:
        ledger.close()
        raise


def _archive(ledger: Ledger, folder: str) -> None:
    """Move what is old in the ledger into its folder; without it the rest goes on working."""
    try:
        if folder:
            ledger.archive_to(Path(folder))
    except StoreError as error:
        print(f"fleet: {error.text}; {error.hint}", file=sys.stderr, flush=True)


def _keep(ledger: Ledger, state: State) -> None:
    """So that no reader has to fold all of it again."""
    if state.changed or state.stale or state.event_count != state.cursor:
        return
    with contextlib.suppress(StoreError):  # on a full disk readers take longer
        ledger.put_checkpoint(state.cursor, pack(state))
