"""Sources of where peers are, kept up: one that fails is told once, and tried again."""

from __future__ import annotations

import asyncio
import sys
from typing import Final, Protocol

RETRY_S: Final = 5.0  # what failed may be over: a network that came back, files that were closed


class Source(Protocol):
    """Looks for peers; `state` says how that goes, `fix` what a person can do."""

    state: str
    fix: str

    async def run(self) -> None:
        """Until cancelled."""


async def keep_up(name: str, source: Source) -> None:
    """Run it until cancelled. Whatever it raises ends no daemon: peers are found in other ways."""
    told = set[str]()
    while True:
        try:
            await source.run()
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
            source.state, source.fix = f"failed, and is tried again: {why}", ""
            if type(error).__name__ not in told:
                told.add(type(error).__name__)
                text = f"looking for peers by {name} failed, and is tried again: {why}"
                print(f"fleet: {text}", file=sys.stderr, flush=True)
        await asyncio.sleep(RETRY_S)
