"""Facts of one account made durable: each with the account, its turn, and the provider's time."""

from __future__ import annotations

import sys
import traceback
from typing import TYPE_CHECKING, Any, Final, final

from mesh.api.errors import RequestError
from mesh.edge.clouds.renting.ports import Alarm, Emit
from mesh.edge.disk import StoreError
from mesh.policy.rentals.values import HOST_KEY, Say
from mesh.state.facts.fact import encode
from mesh.state.facts.rental import OF_RENTAL, AccountTaken, RequestEnded
from mesh.state.rentals.account import MAX_EPOCH
from mesh.state.rentals.money import MOST_NUSD
from mesh.state.rentals.rental import MAX_MS, Rental

if TYPE_CHECKING:
    from mesh.edge.clouds.renting.account import Account

# Characters of a text of theirs in a fact: a code, an id, a label.
MAX_TEXT: Final = 400


@final
class Writing:
    """Writes for one account's actor, which lets one write at a time."""

    def __init__(self, actor: Account, emit: Emit, alarm: Alarm) -> None:
        self._actor: Final = actor
        self._emit: Final = emit
        self._alarm: Final = alarm

    async def say(self, say: Say) -> None:
        """Durable when it returns; an alarm is told to a person after that."""
        fields: dict[str, Any] = {key: _clipped(value) for key, value in say.fields.items()}
        if say.kind == "request_ended":
            await self._emit(say.kind, encode(RequestEnded(**fields)))
            return
        now_ms = max(0, min(MAX_MS, self._actor.clock.now()))
        one = self._actor.rental(say.rental_id)
        fact = OF_RENTAL[say.kind](
            provider=self._actor.provider,
            account=self._actor.account,
            rental_id=say.rental_id,
            turn=now_ms if one is None else one.turn(now_ms),
            at_ms=now_ms,
            **fields,
        )
        await self._emit(say.kind, encode(fact))
        if say.kind == "absence_confirmed":
            self._actor.closed(say.rental_id)
        if say.kind == "alarm_raised" or _is_loud(say):
            self._alarm(say.rental_id, str(fields["why"]))

    async def let_go(self, rentals: list[Rental], why: str) -> str:
        """They are to be returned; why that could not be written, "" where it was: a full disk
        keeps no meter running that a person wants stopped."""
        try:
            for one in rentals:
                if one.wanted:
                    await self.say(Say("return_decided", one.rental_id, {"why": why}))
        except (OSError, StoreError) as error:
            return error.text if isinstance(error, StoreError) else str(error)
        return ""

    async def taken(self, peer: str) -> None:
        """A peer has the account from now on."""
        fact = AccountTaken(
            provider=self._actor.provider,
            account=self._actor.account,
            epoch=min(MAX_EPOCH, self._actor.view.owner[0] + 1),
            peer=peer,
        )
        await self._emit("account_taken", encode(fact))


def _is_loud(say: Say) -> bool:
    """Whether a return is told to a person at once."""
    return say.kind == "return_decided" and say.fields.get("why") == HOST_KEY


def _clipped(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool):
        return min(MOST_NUSD, value)  # a price of theirs may be more than an event can hold
    return value[:MAX_TEXT] if isinstance(value, str) else value


def tell(error: Exception) -> None:
    """Say what went wrong: a ledger that can't be written in words, a bug of ours in full."""
    if isinstance(error, StoreError | RequestError):
        print(f"fleet: {error.text}; {error.hint}", file=sys.stderr, flush=True)
    else:
        traceback.print_exception(error)
