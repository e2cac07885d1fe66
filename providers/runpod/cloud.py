"""One RunPod account, as every cloud is asked: each method sends what its module makes of it."""

from __future__ import annotations

from typing import final

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
from providers.runpod.balance import balance_from, balance_request
from providers.runpod.charges import charges_from, charges_request
from providers.runpod.create import create_request, created_from
from providers.runpod.ending import end_request, ended_from
from providers.runpod.listing import page_from, page_request
from providers.runpod.offers import CLOUDS, COUNTS, chosen, offers_from, offers_request
from providers.runpod.profile import PROFILE


@final
class RunPod:
    """Implements `contract.Cloud`; `wire` sends to profile.BASE_URL and adds the key."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    @property
    def profile(self) -> Profile:
        return PROFILE

    async def offers(self, ask: Ask) -> tuple[Offer, ...] | Unread:
        """Two calls for each count of accelerators, one after the other; the first that is not
        answered ends it. There are no spot machines."""
        found: list[Offer] = []
        for count in () if ask.spot else (ask.gpu_count,) if ask.gpu_count else COUNTS:
            before = len(found)
            for cloud in CLOUDS:
                reply = await self._wire.send(offers_request(cloud, count))
                part = offers_from(reply, cloud, count, ask.disk_bytes)
                if isinstance(part, Unread):
                    return part
                found += part
            if len(found) == before:
                break  # no machine has so many, and none has more
        return chosen(tuple(found), ask)

    async def create(self, order: Order) -> Created:
        """Ask once for one pod; an offer of another provider is refused here."""
        request = create_request(order)
        if request is None:
            return Refused(code="no_such_offer", text="the offer is none of RunPod's")
        return created_from(await self._wire.send(request))

    async def page(self, after: str) -> Page | Unread:
        return page_from(await self._wire.send(page_request(after)), after)

    async def terminate(self, instance_id: str) -> Ended:
        return ended_from(await self._wire.send(end_request(instance_id)))

    async def charges(self, instance_id: str, from_ms: int, to_ms: int) -> Charges | Unread:
        reply = await self._wire.send(charges_request(instance_id, from_ms, to_ms))
        return charges_from(reply, instance_id, from_ms, to_ms)

    async def balance(self) -> Balance | Unread:
        return balance_from(await self._wire.send(balance_request()))

    async def rises(self) -> tuple[Rise, ...] | Unread:
        """RunPod asks for none: a price that rose is seen in the listing."""
        return ()

    async def refuse(self, rise: Rise) -> Accepted | Refused | Unclear:
        return Refused(code="no_such_request")
