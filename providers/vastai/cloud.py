"""Vast.ai as the contract has it: each question one request over the wire, its reply translated."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, final

from providers.rental.contract import (
    Accepted,
    Ask,
    Balance,
    Charges,
    Created,
    Ended,
    Offer,
    Order,
    Page,
    Profile,
    Refused,
    Rise,
    Unclear,
    Unread,
    Wire,
)
from providers.vastai.balance import balance_from, balance_request
from providers.vastai.charges import charges_from, charges_request, next_charges
from providers.vastai.creating import create_request, created_from
from providers.vastai.ending import end_request, ended_from
from providers.vastai.listing import page_from, page_request
from providers.vastai.offers import offers_from, offers_request
from providers.vastai.profile import BASE_URL, PROFILE
from providers.vastai.rises import refuse_request, refused_from, rises_from, rises_request

MAX_CHARGE_PAGES: Final = 8  # 4,000 contracts in the days of one rental are a mistake


@final
class VastAI:
    """One account at Vast.ai (`contract.Cloud`)."""

    def __init__(
        self,
        wire: Wire,
        *,
        base_url: str = BASE_URL,
        pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """`base_url`: where machines end themselves. `pause`: seconds between pages of charges."""
        self._wire, self._base, self._pause = wire, base_url, pause

    @property
    def profile(self) -> Profile:
        """What the core must know."""
        return PROFILE

    async def offers(self, ask: Ask) -> tuple[Offer, ...] | Unread:
        """What can be rented now."""
        return offers_from(await self._wire.send(offers_request(ask)), ask)

    async def create(self, order: Order) -> Created:
        """Ask once for one machine."""
        request = create_request(order, self._base)
        if isinstance(request, Refused):
            return request
        return created_from(await self._wire.send(request))

    async def page(self, after: str) -> Page | Unread:
        """Part of the account's machines."""
        return page_from(await self._wire.send(page_request(after)))

    async def terminate(self, instance_id: str) -> Ended:
        """Ask for a machine's end."""
        request = end_request(instance_id)
        if isinstance(request, Refused):
            return request
        return ended_from(await self._wire.send(request))

    async def charges(self, instance_id: str, from_ms: int, to_ms: int) -> Charges | Unread:
        """What it cost in the whole days UTC around that time."""
        replies = [await self._wire.send(charges_request(from_ms, to_ms))]
        while after := next_charges(replies[-1]):
            if len(replies) == MAX_CHARGE_PAGES:
                return Unread(why="malformed", text="the charges have no end")
            await self._pause(PROFILE.spacing_ms["charges"] / 1000)
            replies.append(await self._wire.send(charges_request(from_ms, to_ms, after)))
        return charges_from(tuple(replies), instance_id, from_ms, to_ms)

    async def balance(self) -> Balance | Unread:
        """What is left."""
        return balance_from(await self._wire.send(balance_request()))

    async def rises(self) -> tuple[Rise, ...] | Unread:
        """Requests to pay more."""
        return rises_from(await self._wire.send(rises_request()))

    async def refuse(self, rise: Rise) -> Accepted | Refused | Unclear:
        """Say no to one."""
        request = refuse_request(rise)
        if isinstance(request, Refused):
            return request
        return refused_from(await self._wire.send(request))
