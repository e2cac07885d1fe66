"""What devices cost at one moment: as their owners said of money, else as they registered.

Plans, jobs, requests and budgets ask here, so that what they count is what bills tell later: the
rate, the band of the tariff and the currency of that moment, for a device that works.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, final

from mathcore.price import Rate as Price
from mathcore.units import HOUR_MS, NUSD
from mesh.state.bills.books import PRICES
from mesh.state.bills.given import Given, gather, latest
from mesh.state.bills.inputs import MONTH_HOURS, Rate, Tariff
from mesh.state.bills.owned import loss_nusd
from mesh.state.bills.power import kwh_price
from mesh.state.fleet import DeviceView, rate
from mesh.state.runs.making import PaidKnown, flat_name, hardware
from mesh.state.runs.reading import paid_row
from mesh.state.state import State

MW: Final = 1000  # milliwatts in a watt


@final
class InForce:
    """What holds at `now_ms`. To be made once for a question, and asked for each device.

    A device's owner alone says what it costs; tariffs and currencies are of no device.
    """

    def __init__(self, state: State, now_ms: int) -> None:
        self._devices: Final = state.devices
        self._now_ms: Final = now_ms

        def believed(author: str, device: str) -> bool:
            return not device or state.owner(device) in ("", author)

        self._given: Final = gather(state.books.inputs(believed, shelves=PRICES))

    def devices(self) -> list[str]:
        """The devices of which a rate was said, whenever it begins."""
        return list(self._given.rates)

    def said(self, device: str) -> tuple[Given, Rate] | None:
        """The rate that holds, and what it is reckoned by; None before the first was said."""
        found = latest(self._given.rates.get(device, ()), self._now_ms)
        if found is None:
            return None
        view = self._devices.get(device)
        if view is None or found.tariff != flat_name(view.owner, device):
            return self._given, found
        flat = gather([*_registered(view), *self._given.tariffs.get(found.tariff, ())])
        return replace(self._given, tariffs=flat.tariffs), found

    def price(self, view: DeviceView) -> Price:
        """How a device is paid for. What nobody said of it is unknown, as bills have it.

        A rent that was registered counts before what is said of an owned device.
        """
        registered = rate(view)
        said = None if registered.hourly_nusd > 0 else self.said(view.device_id)
        return registered if said is None else _price(*said, self._now_ms)


def _registered(view: DeviceView) -> list[Tariff]:
    """What power costs by a registration: a rate may go on with it."""
    row = paid_row(view.facts)
    known = PaidKnown(device=view.device_id, owner=view.owner, from_ms=0, row=row)
    return [one for one in hardware([known]) if isinstance(one, Tariff)]


def _price(given: Given, rate: Rate, now_ms: int) -> Price:
    """All units of a rate together, at one moment. Of none nobody knows what a job there costs."""
    if rate.count <= 0:
        return Price(source="said")
    loss, worth = loss_nusd(given, rate), given.worth(rate.currency, rate.bought_ms)
    if rate.price is None or loss is None or worth is None:
        paid, lost = None, 0
    else:
        paid, lost = rate.price * worth // NUSD * rate.count, loss * rate.count
    power = kwh_price(given, rate, now_ms)
    is_known = power is not None and rate.tdp_mw is not None
    return Price(
        price_nusd=paid,
        resale_nusd=0 if paid is None else paid - lost,
        lifetime_months=rate.life_months or 0 if _wears(rate, now_ms) else 0,
        tariff_nusd_per_kwh=power.price // NUSD if power is not None else 0,
        watts=-(-(rate.tdp_mw or 0) * rate.count // MW) if is_known else None,
        source="said",
    )


def _wears(rate: Rate, now_ms: int) -> bool:
    """Whether it was bought and is not written off yet."""
    life_ms = (rate.life_months or 0) * MONTH_HOURS * HOUR_MS
    return 0 <= now_ms - rate.bought_ms < life_ms
