"""Random histories of devices, jobs, rentals and calls around dates at which bills go wrong.

The dice are any `random.Random`: a seeded one in `scripts/sim bills`, hypothesis's in tests.
"""

from dataclasses import replace
from datetime import UTC, datetime
from random import Random
from typing import Any

from mathcore.units import DAY_MS, HOUR_MS, NUSD
from mesh.ledger.event import Event
from mesh.state.bills.bill import Bill, bill
from mesh.state.bills.books import NOW, AsKnown, Books
from mesh.state.bills.given import Given, gather
from mesh.state.bills.inputs import Call, Input, Item, Price, Rental, Run, Who
from mesh.state.facts.fact import Fact, encode
from mesh.state.facts.money import (
    ChargeRecorded,
    Corrected,
    DeviceRateSet,
    DeviceWatched,
    EnergyMetered,
    FxRateSet,
    TariffBand,
    TariffSet,
)

QUARTER, MICRO = 900_000, 10**6
ME = "ann"
ZONES = (
    "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "UTC",
    "America/Havana", "Asia/Kathmandu", "Pacific/Chatham", "Africa/Cairo", "America/St_Johns",
)  # fmt: skip
# The days before changes of clocks, leap days, ends of months and of years.
EVES = (
    "2026-03-28", "2026-10-24", "2026-03-07", "2026-10-31", "2026-04-04", "2026-10-03",
    "2024-02-28", "2028-02-28", "2026-02-27", "2026-12-30", "2026-07-14", "2025-03-08",
    "2025-11-01",
)  # fmt: skip


def ms(text: str) -> int:
    """The instant of a date or time, UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000


class History:
    """One to three days of a small fleet: what was signed of money, and what else was done."""

    def __init__(self, dice: Random) -> None:
        self.dice = dice
        self.start = ms(dice.choice(EVES)) + dice.choice((0, 0, dice.randrange(DAY_MS)))
        self.now = self.start + dice.randrange(DAY_MS, 3 * DAY_MS)
        self.said_ms = self.start - DAY_MS
        self.events: list[Event] = []
        self.others: list[Input] = []
        self.rates: list[tuple[int, str, DeviceRateSet]] = []  # (seq, device, fact)
        for n in range(dice.randint(1, 2)):
            self.device(f"d{n}")
        for n in range(dice.choice((0, 1, 1, 2))):
            self.rental(f"r{n}", spans=n + 1)
        for n in range(dice.randint(0, 3)):
            self.call(f"c{n}")
        self.worth(self.start - dice.randrange(DAY_MS))
        if dice.random() < 0.5:
            at = dice.randrange(self.start, self.now)
            just_before = [span[0] - 1 for rows in self.runs().values() for span in rows[0].spans]
            self.worth(dice.choice((at, at // QUARTER * QUARTER, *just_before[:3])))

    # -- what is said

    def say(self, kind: str, fact: Fact, device: str = "", author: str = ME) -> int:
        """One more event; its seq."""
        self.said_ms += self.dice.randrange(1, 10_000)
        self.events.append(event(len(self.events) + 1, self.said_ms, kind, fact, device, author))
        return len(self.events)

    def correct(self, seq: int, kind: str, fact: Fact | None, device: str = "") -> int:
        payload = None if fact is None else encode(fact)
        return self.say("corrected", Corrected(seq=seq, event_type=kind, fact=payload), device)

    def given(self, events: list[Event] | None = None, known: AsKnown = NOW) -> Given:
        books = Books()
        for one in self.events if events is None else events:
            books.add(one)
        return gather([*books.inputs(lambda _author, _device: True, known), *self.others])

    def bill(self, since: int | None = None, known: AsKnown = NOW) -> Bill:
        return bill(self.given(known=known), self.now, since)

    def runs(self) -> dict[str, list[Run]]:
        """By device, as they were said: what gathering makes of them is looked at too."""
        found: dict[str, list[Run]] = {}
        for one in self.others:
            if isinstance(one, Run) and one.spans:
                found.setdefault(one.device, []).append(one)
        return found

    # -- what it is made of

    def between(self) -> tuple[int, int]:
        one, other = sorted(self.dice.randrange(self.start, self.now) for _ in range(2))
        return one, other + 1

    def worth(self, at: int) -> None:
        nusd = self.dice.randrange(NUSD, 2 * NUSD)
        self.say("fx_rate_set", FxRateSet(currency="EUR", from_ms=at, nusd=nusd))

    def device(self, name: str) -> None:
        dice = self.dice
        edge = dice.randrange(1, 95) * 15
        bands = (
            TariffBand(
                weekdays="01234", from_min=edge, to_min=1440, price=dice.randrange(10**8, 5 * 10**8)
            ),
            TariffBand(weekdays="0123456", from_min=0, to_min=1440, price=dice.randrange(10**8)),
        )
        self.say("tariff_set", TariffSet(
            name=f"t{name}", from_ms=self.start - DAY_MS, zone=dice.choice(ZONES[:5]),
            currency="EUR" if dice.random() < 0.4 else "USD", bands=bands,
        ))  # fmt: skip
        bought = dice.choice((self.start - dice.randrange(900 * DAY_MS), self.start - 1000))
        first = self.rate(name, bought, self.start, dice.choice((1, 1, 1, 2, 8)))
        for _ in range(dice.choice((0, 0, 1, 2))):  # in the middle of an hour
            at = dice.randrange(self.start, self.now)
            self.rate(name, bought, at, dice.choice((0, 1, 1, 2, 7)))
        if dice.random() < 0.3:  # said again: the later word counts
            self.rate(name, bought, self.start, dice.choice((1, 2)))
        if dice.random() < 0.2:
            fact = self.rate_fact(name, bought, self.start, self.rates[0][2].count)
            self.correct(first, "device_rate_set", fact, name)
        for _ in range(dice.choice((0, 1, 1, 2))):
            a, b = self.between()
            self.say("device_watched", DeviceWatched(from_ms=a, to_ms=b), name)
        if dice.random() < 0.4:
            a, b = self.between()
            most = min(10**10, 10**9 * (b - a))
            drawn = EnergyMetered(from_ms=a, to_ms=b, energy_mj=dice.randrange(most))
            self.say("energy_metered", drawn, name)
        for n in range(dice.choice((0, 1, 2, 3, 5))):
            self.job(f"{name}j{n}", name)

    def rate(self, name: str, bought: int, at: int, count: int) -> int:
        fact = self.rate_fact(name, bought, at, count)
        seq = self.say("device_rate_set", fact, name)
        self.rates.append((seq, name, fact))
        return seq

    def rate_fact(self, name: str, bought: int, at: int, count: int) -> DeviceRateSet:
        dice = self.dice
        return DeviceRateSet(
            from_ms=at,
            owner=dice.choice(("ann", "bob")),
            count=count,
            price_micro=dice.choice((None, 1600 * MICRO, dice.randrange(10**10), 24 * 10**10 + 1)),
            resale_micro=dice.choice((0, 100 * MICRO)),
            currency="USD",
            bought_ms=bought,
            life_months=dice.choice((60, 60, 36, 0, 1)),
            tdp_mw=dice.choice((None, 450_000)),
            idle_mw=dice.choice((None, 15_000, 21_777)),
            idle_basis=dice.choice(("estimated", "measured")),
            tariff=dice.choice((f"t{name}", f"t{name}", "")),
        )

    def job(self, name: str, device: str) -> None:
        dice = self.dice
        times = sorted(
            {dice.randrange(self.start, self.now) for _ in range(dice.choice((2, 2, 4, 6)))}
        )
        if dice.random() < 0.3:
            times = sorted({at // QUARTER * QUARTER for at in times})
        spans = tuple(zip(times[::2], times[1::2], strict=False))
        phases = (dice.randrange(9999), dice.randrange(99), dice.randrange(99_999))
        who = Who(
            user=dice.choice(("ann", "bob")),
            model="m",
            tokens=(5, 7, dice.randrange(10**6)),
            phases_ms=dice.choice((None, phases)),
        )
        self.others.append(Run(
            job=name, device=device, spans=spans, units=dice.choice((1, 1, 1, 2)),
            reserved_bytes=dice.choice((None, dice.randrange(1, 1 << 36))),
            energy_mj=dice.choice((None, dice.randrange(10**9))), who=who,
        ))  # fmt: skip

    def rental(self, name: str, spans: int) -> None:
        """A machine rented so often one after the other, some with meters and invoices."""
        dice = self.dice
        times = sorted({dice.randrange(self.start, self.now) for _ in range(2 * spans)})
        for n, (a, b) in enumerate(zip(times[::2], times[1::2], strict=False)):
            is_last = 2 * n + 2 >= len(times) - 1
            ended = not is_last or dice.random() < 0.8
            prices = [Price(from_ms=a, hourly_nusd=dice.randrange(10**10))]
            if dice.random() < 0.4:
                again = dice.choice((dice.randrange(10**10), dice.randrange(10**10), None))
                prices.append(Price(from_ms=dice.randrange(a, b) + 1, hourly_nusd=again))
            gone = dice.randrange(b, b + DAY_MS) if ended and dice.random() < 0.5 else None
            self.others.append(Rental(
                device=name, from_ms=a, prices=tuple(prices), to_ms=b if ended else None,
                gone_ms=gone, per_unit=dice.random() < 0.3, count=dice.choice((1, 1, 4)),
                step_ms=dice.choice((1, 1000, 60_000, HOUR_MS)),
                minimum_ms=dice.choice((0, 0, 60_000, HOUR_MS)), disk_gb=dice.choice((0, 40)),
                disk_month_nusd=150_000_000, month_hours=dice.choice((720, 730)),
                for_job=dice.choice(("", f"{name}j0")),
            ))  # fmt: skip
        for n in range(dice.choice((0, 1, 2))):
            self.job(f"{name}j{n}", name)
        for basis in ("measured", "invoiced"):
            if dice.random() < 0.4:
                a, b = self.between()
                charge = ChargeRecorded(
                    from_ms=a, to_ms=b, amount_nusd=dice.randrange(10**11), basis=basis
                )
                self.say("charge_recorded", charge, name)

    def call(self, name: str) -> None:
        dice = self.dice
        items = tuple(
            Item(component=what, quantity=dice.randrange(2_000_000), nusd=dice.randrange(10**11),
                 per=10**6)
            for what in ("prompt", "cached", "generated")
        )  # fmt: skip
        at = dice.randrange(self.start, self.now)
        self.others.append(Call(job=name, device="api", at_ms=at, items=items, owner=ME))


def event(
    seq: int, at_ms: int, kind: str, fact: Fact, device: str = "", author: str = ME, **also: Any
) -> Event:
    """A signed fact, as far as folding looks."""
    made = Event(
        id=f"{author}-{seq}", hash="", timestamp="", device_id=device, event_type=kind,
        payload=encode(fact), author=author, seq=seq, prev="", hlc=f"{at_ms}-0", sig="", v=1,
    )  # fmt: skip
    return replace(made, **also)
