"""The market as this peer's accounts see it: asked every five minutes, whole offers kept in memory.

What others need of it goes to the ledger as one compact event a refresh.
"""

from __future__ import annotations

import asyncio
import contextlib
import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Final, Protocol, final

from mathcore.market.typical import typical_prices
from mesh.edge.clouds.prices.known import known_quotes
from mesh.edge.disk import StoreError
from mesh.policy.market import (
    REFRESH_MS,
    Refused,
    grouped,
    is_due,
    judged,
    moved_rows,
    typical_by_hardware,
)
from mesh.state.facts.fact import encode
from mesh.state.facts.offers import OfferRow, OffersRefreshed
from mesh.state.market.groups import MAX_GPU_NAME, MAX_ROWS
from mesh.state.market.market import SLOT_MS, Account
from mesh.state.market.quotes import OFFER, Quote
from mesh.state.state import State
from providers.rental.contract import Ask, Offer, Profile, Unread

# How often it is looked whose turn it is.
TURN_S: Final = 10.0
# On battery a price an hour old does, with its age; an account nobody asked yet is asked at once.
RESTING_MS: Final = 3_600_000
# Of one question; some 600 bytes each. The largest market has about as many rentable machines.
MAX_OFFERS: Final = 5_000
# After a refusal the next question waits twice as long, up to an hour: a wrong key, a used-up quota
# or a retired API does not mend itself by being asked.
MAX_BACKOFF_MS: Final = 3_600_000
MAX_TEXT: Final = 200  # of what a provider says, shown to people


class Sells(Protocol):
    """An account that can be asked for offers."""

    @property
    def profile(self) -> Profile:
        """What is known of its provider."""

    async def offers(self, ask: Ask) -> tuple[Offer, ...] | Unread:
        """What can be rented now."""


Emit = Callable[[str, str, dict[str, object]], Awaitable[object]]
Pause = Callable[[float], Awaitable[None]]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Why an account's provider told no prices last time."""

    why: str
    text: str
    since_ms: int
    fails: int


@dataclass(slots=True)
class _Seen:
    """What this process knows of one account."""

    tried_ms: int | None = None
    quotes: tuple[Quote, ...] = ()
    refused: tuple[Refused, ...] = ()
    trouble: Trouble | None = None


@final
class MarketWatch:
    """Prices of the accounts that this peer has keys for.

    `accounts`: each account's cloud; an account whose key is gone is not in it. `owner`: whose
    account it is by the ledger, "" where nobody said. `emit` writes an event; `me` is this peer's
    key in hex, `about` what its events are about: itself.
    """

    def __init__(
        self,
        *,
        accounts: Callable[[], Mapping[Account, Sells]],
        state: Callable[[], State],
        emit: Emit,
        now_ms: Callable[[], int],
        me: str,
        about: str,
        owner: Callable[[Account], str] = lambda _: "",
        may_sign: Callable[[], bool] = lambda: True,
        pause: Pause = asyncio.sleep,
    ) -> None:
        self._accounts = accounts
        self._state = state
        self._emit = emit
        self._now_ms = now_ms
        self._me = me
        self._about = about
        self._owner = owner
        self._may_sign = may_sign
        self._pause = pause
        self._seen: dict[Account, _Seen] = {}
        self._asking: dict[Account, asyncio.Task[None]] = {}
        self.rests: Callable[[], bool] = lambda: False  # on battery

    async def run(self) -> None:
        """Ask whenever it is this peer's turn, until cancelled."""
        try:
            while True:
                self._begin()
                await self._pause(TURN_S)
        finally:
            tasks = list(self._asking.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def turn(self) -> None:
        """Ask for each account that is due, and wait for what they say."""
        await asyncio.gather(*self._begin())

    def _begin(self) -> list[asyncio.Task[None]]:
        """Ask for each account that is due, beside the others: a provider that is slow, or fails,
        stops no other."""
        due = [
            (account, cloud)
            for account, cloud in self._accounts().items()
            if account not in self._asking and self._is_due(account)
        ]
        for account, cloud in due:
            task = self._asking[account] = asyncio.create_task(self._refreshed(account, cloud))
            task.add_done_callback(partial(self._answered, account))
        return [self._asking[account] for account, _ in due]

    def _answered(self, account: Account, _: asyncio.Task[None]) -> None:
        del self._asking[account]

    async def _refreshed(self, account: Account, cloud: Sells) -> None:
        try:
            await self.refresh(account, cloud)
        except Exception:
            traceback.print_exc()  # a bug of ours: it is asked again when it is due

    def _is_due(self, account: Account) -> bool:
        seen = self._seen.get(account, _Seen())
        trouble, now = seen.trouble, self._now_ms()
        if trouble is not None and 0 <= now - trouble.since_ms < _backoff_ms(trouble.fails):
            return False
        tried = seen.tried_ms
        if self.rests() and tried is not None and 0 <= now - tried < RESTING_MS:
            return False
        latest = self._state().market.latest().get(account)
        return is_due(
            now_ms=now,
            me=self._me,
            owner=self._owner(account),
            tried_ms=seen.tried_ms,
            seen_ms=None if latest is None else latest.seen_ms,
            seen_by="" if latest is None else latest.author,
        )

    async def refresh(self, account: Account, cloud: Sells) -> None:
        """Ask one account's provider now, and tell the ledger what there is to tell."""
        seen = self._seen.setdefault(account, _Seen())
        seen.tried_ms = self._now_ms()
        found = await self._ask(cloud)
        now = self._now_ms()
        if isinstance(found, Unread):
            fails = 1 if seen.trouble is None else seen.trouble.fails + 1
            text = _shown(found.text, MAX_TEXT)
            seen.trouble = Trouble(why=found.why, text=text, since_ms=now, fails=fails)
            return
        quotes = [quote_of(one, account, now) for one in found if one.available]
        usual = self._state().market.usual(account[0], now, self._me)
        seen.trouble = None
        seen.quotes, seen.refused = judged(quotes, usual, typical_by_hardware(typical_prices()))
        await self._tell(account, seen, now)

    async def _ask(self, cloud: Sells) -> tuple[Offer, ...] | Unread:
        """On-demand machines, then those that may be taken back, where there are any."""
        asks = [Ask(limit=MAX_OFFERS)]
        if cloud.profile.has_spot:
            asks.append(Ask(spot=True, limit=MAX_OFFERS))
        found: list[Offer] = []
        for n, ask in enumerate(asks):
            if n:
                await self._pause(cloud.profile.spacing_ms.get("offers", 0) / 1000)
            answer = await cloud.offers(ask)
            if isinstance(answer, Unread):
                return answer
            found += answer[:MAX_OFFERS]
        return tuple(found)

    async def _tell(self, account: Account, seen: _Seen, now: int) -> None:
        """One event: every kind at first and then every six hours, else the kinds that moved."""
        if not self._may_sign():
            return
        groups = grouped(seen.quotes)
        told = self._state().market.own(self._me, account)
        moved = moved_rows(told.rows(), groups.rows)
        fact = OffersRefreshed(
            provider=account[0],
            account=account[1],
            refreshed_ms=now,
            offers=len(seen.quotes) - groups.left_out,
            refused=len(seen.refused),
            left_out=groups.left_out,
            rows=groups.rows,
        )
        # The last whole one is what stays of a slot; and where most has moved it is no longer.
        is_new_slot = told.last is None or told.last.key[0] // SLOT_MS != now // SLOT_MS
        fits = len(told.moved) + len(moved) <= MAX_ROWS
        if not is_new_slot and fits and 2 * len(moved) <= len(groups.rows):
            fact = _part(fact, moved)
        with contextlib.suppress(StoreError):  # a full disk takes no events; prices are still known
            await self._emit("offers_refreshed", self._about, encode(fact))

    @property
    def offers(self) -> tuple[Quote, ...]:
        """Every offer that this peer's accounts can take, as of their last refresh."""
        held = self._accounts()
        seen = list(self._seen.items())  # plans ask in threads of their own
        return tuple(quote for name, one in seen if name in held for quote in one.quotes)

    @property
    def refused(self) -> tuple[Refused, ...]:
        """Offers whose prices nobody should see, and why."""
        return tuple(one for seen in self._seen.values() for one in seen.refused)

    @property
    def troubles(self) -> dict[Account, Trouble]:
        """Accounts whose provider told no prices last time."""
        found = {name: seen.trouble for name, seen in self._seen.items()}
        return {name: one for name, one in found.items() if one is not None}

    def known(self) -> tuple[Quote, ...]:
        """Every price this peer knows, of each provider the best it has."""
        return known_quotes(self._state(), self._now_ms(), self.offers)


def _part(fact: OffersRefreshed, moved: tuple[OfferRow, ...]) -> OffersRefreshed:
    """The same refresh, by what moved since the author's events before."""
    return OffersRefreshed(
        provider=fact.provider,
        account=fact.account,
        refreshed_ms=fact.refreshed_ms,
        partial=True,
        rows=moved,
    )


def quote_of(one: Offer, account: Account, now_ms: int) -> Quote:
    """An offer as a price among others; text of a provider's loses what is not to be printed."""
    return Quote(
        source=OFFER,
        provider=account[0],
        account=account[1],
        offer_id=one.offer_id,
        gpu=_shown(one.gpu.encode("ascii", "ignore").decode(), MAX_GPU_NAME),
        gpu_count=one.gpu_count,
        memory_bytes=one.memory_bytes,
        hourly_nusd=one.hourly_nusd,
        at_ms=now_ms,
        spot=one.spot,
        region=_shown(one.region, MAX_GPU_NAME),
        stopped_hourly_nusd=one.stopped_hourly_nusd,
        ingress_nusd_per_gb=one.ingress_nusd_per_gb,
        egress_nusd_per_gb=one.egress_nusd_per_gb,
        disk_bytes=one.disk_bytes,
        disk_hourly_nusd_per_gb=one.disk_hourly_nusd_per_gb,
        ram_bytes=one.ram_bytes,
        vcpus=one.vcpus,
        network_bps=one.network_bps,
        host_id=_shown(one.host_id, MAX_GPU_NAME),
        reliability_ppm=one.reliability_ppm,
    )


@lru_cache(4096)  # thousands of offers have the same few GPUs and places
def _shown(text: str, most: int) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * most]).split())[:most]


def _backoff_ms(fails: int) -> int:
    return min(MAX_BACKOFF_MS, REFRESH_MS << min(fails - 1, 8))
