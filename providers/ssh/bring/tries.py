"""How often something is tried over a link that breaks, and how long between."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar, final

from providers.base import ProviderError
from providers.ssh.client import Unreached

T = TypeVar("T")
# Cuts with nothing won in between, after which a host counts as away: with the time that six
# connects may take, some two minutes, as long as its last probe counts.
TRIES: Final = 6
FIRST_PAUSE_S: Final = 1.0  # doubled each time


@final
class Tries:
    """The tries that are left; `won` fills them up again."""

    def __init__(self) -> None:
        self.won()

    def won(self) -> None:
        """Something came of the last try."""
        self._left, self._pause_s = TRIES, FIRST_PAUSE_S

    async def after(self, error: ProviderError) -> None:
        """Wait before the next try; raises the error of the last."""
        self._left -= 1
        if not self._left:
            raise error
        await asyncio.sleep(self._pause_s)
        self._pause_s *= 2


async def over_cuts(ask: Callable[[], Awaitable[T]]) -> T:
    """What it comes to; asked again where the host is not reached."""
    tries = Tries()
    while True:
        try:
            return await ask()
        except Unreached as error:
            await tries.after(error)
