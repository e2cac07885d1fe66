"""The offer that a request takes, out of what its account's provider has at that moment."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final, final

from mathcore.market.typical import typical_prices
from mesh.api.market.asked import REPORTED
from mesh.api.rentals.asked import RentAsked
from mesh.edge.clouds.prices.market import MAX_OFFERS, quote_of
from mesh.policy.market import judged, typical_by_hardware
from mesh.policy.rentals.caps import room_nusd
from mesh.policy.rentals.choosing import best_offer
from mesh.policy.rentals.history import Record, records
from mesh.policy.rentals.timers import TOLERANCE
from mesh.state.market.quotes import Quote
from mesh.state.rentals.requests import Request
from mesh.state.state import State
from providers.rental.contract import DEFAULT_DISK_BYTES, Ask, Offer, Unread


@final
class Chooser:
    """One account's (`ports.Offers`). `ask` asks its provider, and waits for its turn; the word of
    `me` on prices goes before the others'."""

    def __init__(
        self,
        account: tuple[str, str],
        state: Callable[[], State],
        now_ms: Callable[[], int],
        me: str = "",
    ) -> None:
        self._account: Final = account
        self._state: Final = state
        self._now_ms: Final = now_ms
        self._me: Final = me
        self.ask: Callable[[Ask], Awaitable[tuple[Offer, ...] | Unread]] = _nobody

    async def choose(self, request: Request, tried: tuple[str, ...]) -> Offer | str:
        """The best for a request, or why there is none."""
        found: tuple[Offer, ...] = ()
        # One that may be taken back will do, and so will any other.
        for spot in (False, True) if request.spot else (False,):
            part = await self.ask(_ask(request, spot=spot))
            if isinstance(part, Unread):
                return f"offers_{part.why}"
            found += part
        state = self._state()
        known = records(state.rentals.every())
        room = room_nusd(state.rentals, request, self._now_ms())
        return best_offer(found, self._refused(found, state), request, tried, known, room)

    def _refused(self, offers: tuple[Offer, ...], state: State) -> Mapping[str, str]:
        """Offers whose prices are not believed, and why."""
        now_ms = self._now_ms()
        quotes = [quote_of(one, self._account, now_ms) for one in offers]
        usual = state.market.usual(self._account[0], now_ms, self._me)
        _, refused = judged(quotes, usual, typical_by_hardware(typical_prices()))
        return {one.quote.offer_id: one.why for one in refused}


def _ask(request: Request, *, spot: bool) -> Ask:
    return Ask(
        spot=spot,
        memory_bytes=request.memory_bytes,
        gpu_count=request.gpu_count,
        disk_bytes=request.disk_bytes or DEFAULT_DISK_BYTES,
        limit=MAX_OFFERS,
    )


async def _nobody(ask: Ask) -> Unread:
    return Unread(why="unreached")


def with_records(
    quotes: tuple[Quote, ...], known: Mapping[tuple[str, str], Record]
) -> tuple[Quote, ...]:
    """With how well and how fast each machine came up, else its provider's."""

    def told(one: Quote) -> Quote:
        record = known.get((one.provider, one.host_id)) or known.get((one.provider, ""))
        if record is None:
            return one
        return replace(
            one,
            boot_ms=record.boot_ms,
            billed_boot_ms=record.billed_boot_ms,
            success_ppm=record.success_ppm,
        )

    return tuple(told(one) for one in quotes)


def reported(asked: RentAsked) -> int:
    """Bytes that an offer must have: makers' sizes, less what drivers keep of them."""
    least = asked.filter.least_bytes
    return 0 if least is None else int(REPORTED * least)


def at_most(one: Quote) -> int:
    """What a machine may cost an hour where nobody said: the price that is shown, with the disk
    that is asked for (`with_disk`), and as much more as prices move within minutes."""
    return one.hourly_nusd * TOLERANCE // 100


def fits(one: Quote, asked: RentAsked, names: Sequence[tuple[str, str]]) -> bool:
    """Whether a quote is of one of the accounts `names`, and what was asked for."""
    wanted = asked.filter
    return (
        (one.provider, one.account) in names
        and (not one.spot or asked.spot)
        and (wanted.max_nusd is None or one.hourly_nusd <= wanted.max_nusd)
        and asked.offer_id in ("", one.offer_id)
        and wanted.takes_gpu(one.gpu, one.gpu_count, one.memory_bytes)
    )
