"""What a device costs now: of an hour the same as the bill tells of it later."""

from __future__ import annotations

from typing import Any

import pytest

from mathcore.price import Rate as Price
from mathcore.price import cost_nusd, hourly_nusd, unknown_parts
from mathcore.units import HOUR_MS, NUSD
from mesh.state.bills.bill import bill
from mesh.state.bills.given import gather
from mesh.state.bills.in_force import InForce
from mesh.state.bills.inputs import Run
from mesh.state.bills.lines import POWER, WEAR, Line
from mesh.state.facts.money import DeviceRateSet, FxRateSet, TariffBand, TariffSet
from mesh.state.fleet import rate as registered
from mesh.state.fold import apply
from mesh.state.runs.making import WHOLE, PaidKnown, hardware
from mesh.state.runs.reading import paid_row
from mesh.state.state import State
from tests.simulation.bills.history import ME, event, ms
from tests.state.job_story import event as said

NOW = ms("2026-07-14") + 12 * HOUR_MS  # a Tuesday
YEAR_MS = 8760 * HOUR_MS
KINDS = {DeviceRateSet: "device_rate_set", TariffSet: "tariff_set", FxRateSet: "fx_rate_set"}
Fact = DeviceRateSet | TariffSet | FxRateSet


def rate(**changes: object) -> DeviceRateSet:
    fields: dict[str, object] = {
        "from_ms": NOW - HOUR_MS, "count": 1, "price_micro": 1_600_000_000, "currency": "USD",
        "bought_ms": NOW - YEAR_MS, "life_months": 60, "tdp_mw": 450_000, "idle_mw": 10_000,
        "resale_micro": 200_000_000, "tariff": "home", **changes,
    }  # fmt: skip
    return DeviceRateSet(**fields)  # type: ignore[arg-type]


def band(cents: int, from_min: int = 0, to_min: int = 1440, days: str = "0123456") -> TariffBand:
    return TariffBand(weekdays=days, from_min=from_min, to_min=to_min, price=cents * NUSD // 100)


def tariff(*bands: TariffBand, currency: str = "USD") -> TariffSet:
    at = NOW - HOUR_MS
    return TariffSet(name="home", from_ms=at, zone="UTC", currency=currency, bands=bands)


def fleet(*facts: Fact, author: str = ME, **registered: Any) -> State:
    """A device "d" of ann's, and what somebody said after that."""
    state = State()
    known = {"name": "d", "kind": "gpu", "count": 1, "watts": 100, "price_nusd": 500 * NUSD}
    given = {**known, "lifetime_months": 60, "tariff_nusd_per_kwh": NUSD // 10, **registered}
    apply(state, said("device_registered", -5 * YEAR_MS, ME, "d", **given))
    for seq, fact in enumerate(facts, 2):
        device = "d" if isinstance(fact, DeviceRateSet) else ""
        apply(state, event(seq, NOW - HOUR_MS, KINDS[type(fact)], fact, device, author))
    return state


def now(state: State, at_ms: int = NOW) -> Price:
    return InForce(state, at_ms).price(state.devices["d"])


def billed(state: State) -> list[Line]:
    """The lines of a job that has the device for the hour from NOW on."""
    view = state.devices["d"]
    inputs = state.books.inputs(lambda author, device: author == ME)
    known = PaidKnown(device="d", owner=ME, from_ms=NOW - 2 * HOUR_MS, row=paid_row(view.facts))
    ran = Run(job="j", device="d", spans=((NOW, NOW + HOUR_MS),), units=WHOLE)
    lines = bill(gather([*hardware([known]), *inputs, ran]), NOW + HOUR_MS, NOW).lines
    return [one for one in lines if one.part == "j"]


EURO = FxRateSet(currency="EUR", from_ms=NOW - 2 * YEAR_MS, nusd=1_100_000_000)


@pytest.mark.parametrize(
    "facts",
    [
        (),
        (rate(), tariff(band(30))),
        (rate(count=4), tariff(band(30))),
        (rate(currency="EUR"), tariff(band(30), currency="EUR"), EURO),
        (rate(), tariff(band(11, 0, 720), band(37, 720, 1440))),
        (rate(), tariff(band(50, days="56"), band(20))),
        (rate(price_micro=100_000_000), tariff(band(30))),  # it brings more than it cost
        (rate(bought_ms=NOW - 6 * YEAR_MS), tariff(band(30))),  # written off
        (rate(bought_ms=NOW + YEAR_MS), tariff(band(30))),  # not there yet
        (rate(from_ms=NOW + YEAR_MS), tariff(band(30))),  # true from next year on
        (rate(tariff="device d"),),  # power as the registration has it
        (rate(price_micro=0), tariff(band(0))),
        (rate(), rate(price_micro=3_000_000_000), tariff(band(30))),  # the later word
    ],
)
def test_an_hour_costs_what_its_bill_tells(facts: tuple[Fact, ...]) -> None:
    state = fleet(*facts)
    lines = billed(state)
    assert unknown_parts(now(state)) == ()
    assert all(one.nusd is not None for one in lines)
    told = sum(one.nusd or 0 for one in lines)
    assert cost_nusd(now(state), HOUR_MS) == pytest.approx(told, abs=len(lines))


@pytest.mark.parametrize(
    ("facts", "unknown"),
    [
        ((rate(price_micro=None), tariff(band(30))), {WEAR}),
        ((rate(life_months=0), tariff(band(30))), {WEAR}),
        ((rate(currency="EUR"), tariff(band(30))), {WEAR}),
        ((rate(tdp_mw=None), tariff(band(30))), {POWER}),
        ((rate(),), {POWER}),
        ((rate(tariff=""), tariff(band(30))), {POWER}),
        ((rate(), tariff(band(30, 0, 720))), {POWER}),  # nobody said what the afternoon costs
        ((rate(price_micro=None, tdp_mw=None), tariff(band(30))), {WEAR, POWER}),
    ],
)
def test_what_the_bill_does_not_know_is_unknown_now(
    facts: tuple[Fact, ...], unknown: set[str]
) -> None:
    state = fleet(*facts)
    lines = billed(state)
    assert {one.component for one in lines if one.nusd is None} == unknown
    names = {WEAR: "price", POWER: "power"}
    assert set(unknown_parts(now(state))) == {names[one] for one in unknown}
    told = sum(one.nusd or 0 for one in lines)
    assert hourly_nusd(now(state)) == pytest.approx(told, abs=len(lines)), "known parts count"


def test_of_a_device_that_is_no_more_nobody_knows_what_a_job_costs() -> None:
    assert unknown_parts(now(fleet(rate(count=0), tariff(band(30))))) == ("price", "power")


def test_nobody_but_its_owner_says_what_a_device_costs() -> None:
    state = fleet(rate(), tariff(band(30)), author="bob")
    assert now(state) == registered(state.devices["d"])


def test_a_rent_that_was_registered_counts_before_what_is_said_of_an_owned_device() -> None:
    state = fleet(rate(), tariff(band(30)), hourly_nusd=NUSD)
    assert hourly_nusd(now(state)) == NUSD


def test_a_draw_of_half_a_watt_is_a_whole_one_never_none() -> None:
    assert now(fleet(rate(tdp_mw=500), tariff(band(30)))).watts == 1


def test_where_nothing_was_said_no_device_is_looked_at() -> None:
    assert InForce(fleet(), NOW).devices() == []
