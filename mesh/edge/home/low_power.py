"""On battery, what nobody asked for waits: models are not hashed, and clouds asked hourly.

Whatever a person or a job asks for goes on, and so does everything that keeps a promise: syncing,
rented machines, jobs (which give way by `yield` alone), and the readings that bills rest on.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol, final

from providers.presence.facts import Power

EVERY_S: Final = 30.0  # a plug that is pulled or put in is noticed within this


class Senses(Protocol):
    """The machine itself; `providers.presence.reading.PresenceReader` is one."""

    async def read_power(self) -> Power:
        """Mains or battery."""


@final
class LowPower:
    """One for each daemon; `run` is a task of its loop. Where nobody can tell, nothing rests."""

    def __init__(self, senses: Senses) -> None:
        self._senses: Final = senses
        self._power = Power(on_mains=None, percent=None)

    def rests(self) -> bool:
        """Whether unasked work waits now; from any thread."""
        return self._power.on_mains is False

    def text(self) -> str:
        """Why, for a person; "" where nothing waits."""
        if not self.rests():
            return ""
        left = self._power.percent
        return "on battery" if left is None else f"on battery, {left} % left"

    async def look(self) -> None:
        """Read the machine once."""
        self._power = await self._senses.read_power()

    async def run(self) -> None:
        """Look now and then, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(EVERY_S)
