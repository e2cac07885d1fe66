"""Facts that bills are made from: what hardware and power cost, what was watched and metered, what
others charge, and corrections of all of these.

Amounts are whole numbers: nano-units of a currency, millijoules, milliwatts. What hardware cost is
in millionths: an event holds no integer above 2^53 - 1, and nine million won buy no server. A rate,
a tariff or a currency's worth holds from its `from_ms` until the next of its author.
"""

from typing import Annotated, Final

from mesh.state.facts.fact import Fact, Payload, amount, said

SINCE: Final = "0.6.0"
NANO: Final = "nano-units of the currency"
MICRO: Final = "millionths of the currency"

FromMs = Annotated[int, amount("Holds from then on, UTC", "ms", since=SINCE)]
BegunMs = Annotated[int, amount("Begin of the time it is about, UTC", "ms", since=SINCE)]
EndedMs = Annotated[int, amount("End of that time, UTC", "ms", since=SINCE)]
Currency = Annotated[str, said('Three letters: "EUR"', since=SINCE)]


class TariffBand(Fact, frozen=True, kw_only=True):
    """A price of some minutes of some weekdays, by the clock on the wall of the tariff's zone."""

    weekdays: Annotated[str, said('Digits, Monday is 0: "01234"', since=SINCE)]
    from_min: Annotated[int, amount("From midnight, a multiple of 15", "min", since=SINCE)]
    to_min: Annotated[int, amount("As that; 1440 = the day's end", "min", since=SINCE)]
    price: Annotated[int, amount("Of a kWh", NANO, since=SINCE)]


class TariffSet(Fact, frozen=True, kw_only=True):
    """What power costs by a tariff of the author's; the first band that holds counts. It counts
    from the next quarter-hour on; where no band holds the price is unknown."""

    name: Annotated[str, said("What its author's rates call it", since=SINCE)]
    from_ms: FromMs
    zone: Annotated[str, said('IANA\'s name of its zone: "Europe/Berlin"', since=SINCE)]
    currency: Currency
    bands: Annotated[tuple[TariffBand, ...], said("64 at most, in their order", since=SINCE)]


class FxRateSet(Fact, frozen=True, kw_only=True):
    """What one unit of a currency is worth; it counts from the next quarter-hour on."""

    currency: Currency
    from_ms: FromMs
    nusd: Annotated[int, amount("Of one unit", "nano-USD", since=SINCE)]


class DeviceRateSet(Fact, frozen=True, kw_only=True):
    """What the event's device costs as owned hardware, who owns it and how many units it has.

    All of it takes the place of the last one. Amounts are of one unit. An upgrade is a new rate, at
    the book value and with the months that are left.
    """

    from_ms: FromMs
    owner: Annotated[str, said("Who pays for it; none = its author", since=SINCE)] = ""
    count: Annotated[int, amount("Units; 0 = there is none any more", since=SINCE)]
    price_micro: Annotated[
        int | None, said("Paid for it; missing = unknown", MICRO, since=SINCE)
    ] = None
    resale_micro: Annotated[int, amount("What it brings at its end", MICRO, since=SINCE)] = 0
    currency: Currency
    bought_ms: Annotated[int, amount("When it was bought, UTC", "ms", since=SINCE)]
    life_months: Annotated[
        int, amount("Written off over so long; 0 = unknown", "months", since=SINCE)
    ] = 0
    tdp_mw: Annotated[int | None, said("Drawn under load", "mW", since=SINCE)] = None
    idle_mw: Annotated[int | None, said("Drawn while nobody uses it", "mW", since=SINCE)] = None
    idle_basis: Annotated[str, said('"measured" or "estimated"', since=SINCE)] = "estimated"
    tariff: Annotated[str, said("What its power is bought by; none = unknown", since=SINCE)] = ""
    tariff_by: Annotated[str, said("Whose tariff; none = the author's own", since=SINCE)] = ""


class DeviceWatched(Fact, frozen=True, kw_only=True):
    """The owner's daemon saw the event's device all the while: without a job it was idle."""

    from_ms: BegunMs
    to_ms: EndedMs


class EnergyMetered(Fact, frozen=True, kw_only=True):
    """What all of the event's device drew between two readings of its counter."""

    from_ms: BegunMs
    to_ms: EndedMs
    energy_mj: Annotated[int, amount("That", "mJ", since=SINCE)]


class ChargeRecorded(Fact, frozen=True, kw_only=True):
    """What a meter or an invoice says that the event's device cost; it takes the place of what was
    reckoned for that time. An invoice counts more than a meter."""

    from_ms: BegunMs
    to_ms: EndedMs
    amount_nusd: Annotated[int, said("That; below 0 = a credit", "nano-USD", since=SINCE)]
    basis: Annotated[str, said('"measured" or "invoiced"', since=SINCE)]
    component: Annotated[
        str, said('"rent", "disk", "power" and so on; none = all but wear', since=SINCE)
    ] = ""
    owner: Annotated[str, said("Who paid; none = its author", since=SINCE)] = ""


class Corrected(Fact, frozen=True, kw_only=True):
    """An earlier fact about money, by the same author, was wrong.

    It names what was said first, never a correction; of several the last counts. The fact keeps its
    place in time, and a bill as known before the correction stays as it was.
    """

    seq: Annotated[int, amount("The author's event that was wrong", since=SINCE)]
    event_type: Annotated[str, said("Its type", since=SINCE)]
    fact: Annotated[
        Payload | None, said("What it should have said, all of it; missing = nothing", since=SINCE)
    ] = None


EVENTS: Final[dict[str, tuple[type[Fact], ...]]] = {
    "tariff_set": (TariffSet,),
    "fx_rate_set": (FxRateSet,),
    "device_rate_set": (DeviceRateSet,),
    "device_watched": (DeviceWatched,),
    "energy_metered": (EnergyMetered,),
    "charge_recorded": (ChargeRecorded,),
    "corrected": (Corrected,),
}
