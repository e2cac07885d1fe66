"""What an owner has offered and nobody has claimed yet. In memory: a restart forgets it safely.

A claim counts only while its offer is held. So an attempt that was refused once is refused for
good, however late and however often the claim arrives.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Final, final

from mesh.api.wire.claims import HOLD_S, Ask

# Holds of one home: it asks for one job on its best devices, and forty jobs at once are many.
MAX_HOLDS_PER_HOME: Final = 256
MAX_HOLDS: Final = 4096


@final
@dataclass(frozen=True, slots=True)
class Hold:
    """One offer: what for, to whom, and until when on the loop's clock."""

    offer_id: str
    home: str
    ask: Ask
    until_s: float


@final
class Holds:
    """All offers that are held now."""

    def __init__(self) -> None:
        self._held: dict[str, Hold] = {}

    def add(self, home: str, ask: Ask, now_s: float) -> Hold | None:
        """Hold a place; the same ask again gets the same one, its time anew. None: too many."""
        self._expire(now_s)
        mine = [one for one in self._held.values() if one.home == home]
        known = next((one for one in mine if one.ask == ask), None)
        if known is None and (len(mine) >= MAX_HOLDS_PER_HOME or len(self._held) >= MAX_HOLDS):
            return None
        offer_id = secrets.token_hex(16) if known is None else known.offer_id
        held = self._held[offer_id] = Hold(offer_id, home, ask, now_s + HOLD_S)
        return held

    def holds(
        self,
        home: str,
        job_id: str,
        attempt: int,
        devices: tuple[str, ...],
        offer_id: str,
        now_s: float,
    ) -> bool:
        """Whether this attempt's offer is held, for these devices and no others."""
        self._expire(now_s)
        held = self._held.get(offer_id)
        if held is None or held.home != home:
            return False
        ask = held.ask
        return (ask.job_id, ask.attempt, ask.devices) == (job_id, attempt, devices)

    def refuse(self, job_id: str, attempt: int) -> None:
        """An attempt was refused: no claim of it that is still on its way may be taken."""
        asked = (job_id, attempt)
        for offer_id, one in list(self._held.items()):
            if (one.ask.job_id, one.ask.attempt) == asked:
                del self._held[offer_id]

    def drop(self, home: str, offer_id: str) -> None:
        """The home took another offer, or this one: it is held no more."""
        held = self._held.get(offer_id)
        if held is not None and held.home == home:
            del self._held[offer_id]

    def _expire(self, now_s: float) -> None:
        for offer_id in [key for key, one in self._held.items() if one.until_s <= now_s]:
            del self._held[offer_id]
