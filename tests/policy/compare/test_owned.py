"""What a device costs its owner: by its registration, or by the rate that was set later."""

from fractions import Fraction

import pytest

from mathcore.price import Rate as Registered
from mathcore.units import NUSD
from mesh.policy.compare.owned import Owned, by_registration, rates_set
from mesh.state.facts.money import DeviceRateSet, FxRateSet, TariffBand, TariffSet
from mesh.state.fold import apply
from mesh.state.state import State
from tests.simulation.bills.history import ME, event, ms
from tests.state.job_story import event as registered

NOW = ms("2026-07-14")
YEAR_MS = 8760 * 3_600_000
EVERY_DAY = "0123456"


def band(cents: int, from_min: int = 0, to_min: int = 1440, days: str = EVERY_DAY) -> TariffBand:
    price = cents * NUSD // 100
    return TariffBand(weekdays=days, from_min=from_min, to_min=to_min, price=price)


def tariff(*bands: TariffBand, currency: str = "USD") -> TariffSet:
    return TariffSet(name="home", from_ms=NOW - 1, zone="UTC", currency=currency, bands=bands)


def rate(**changes: object) -> DeviceRateSet:
    fields: dict[str, object] = {
        "from_ms": NOW - 1, "count": 2, "price_micro": 800_000_000, "currency": "USD",
        "bought_ms": NOW - YEAR_MS, "life_months": 60, "tdp_mw": 225_000, "idle_mw": 10_000,
        "tariff": "home", **changes,
    }  # fmt: skip
    return DeviceRateSet(**fields)  # type: ignore[arg-type]


def set_by(*facts: object, now_ms: int = NOW) -> Owned | None:
    """What is known of device "d" after ann said these."""
    state = State()
    kinds = {DeviceRateSet: "device_rate_set", TariffSet: "tariff_set", FxRateSet: "fx_rate_set"}
    for seq, fact in enumerate(facts, 1):
        device = "d" if isinstance(fact, DeviceRateSet) else ""
        apply(state, event(seq, 1000 * seq, kinds[type(fact)], fact, device))  # type: ignore[arg-type, index]
    return rates_set(state, now_ms).get("d")


def test_a_registration_wears_straight_and_says_no_idle_power() -> None:
    found = by_registration(
        Registered(
            price_nusd=1600 * NUSD, resale_nusd=100 * NUSD, lifetime_months=50, watts=450,
            tariff_nusd_per_kwh=NUSD // 5,
        )
    )  # fmt: skip
    assert found.wear_nusd == Fraction(1500 * NUSD * 24, 50 * 730)
    assert (found.load_mw, found.kwh_nusd) == (450_000, NUSD // 5)
    assert found.lacks == ("idle watts",)


def test_what_a_registration_does_not_say_is_unknown() -> None:
    found = by_registration(Registered(lifetime_months=60))
    assert found.lacks == ("price", "watts", "tariff", "idle watts")
    assert found.power_nusd(450_000) == 0


def test_a_rate_is_of_all_units_together() -> None:
    found = set_by(tariff(band(20)), rate())
    assert found is not None
    assert found.price_nusd == 1600 * NUSD
    assert found.wear_nusd == Fraction(1600 * NUSD * 24, 60 * 730)
    assert (found.load_mw, found.idle_mw, found.lacks) == (450_000, 20_000, ())
    assert found.power_nusd(450_000) == 90_000_000


def test_a_kwh_costs_the_mean_of_a_week() -> None:
    night = band(10, 0, 360)
    found = set_by(tariff(night, band(30)), rate())  # a quarter at 10 cents, the rest at 30
    assert found is not None
    assert found.kwh_nusd == 250_000_000
    weekend = set_by(tariff(band(0, days="56"), band(28)), rate())
    assert weekend is not None
    assert weekend.kwh_nusd == 200_000_000


@pytest.mark.parametrize(
    ("facts", "lacks"),
    [
        ((rate(price_micro=None), tariff(band(1))), ("price",)),
        ((rate(life_months=0), tariff(band(1))), ("price",)),
        ((rate(tdp_mw=None, idle_mw=None), tariff(band(1))), ("watts", "idle watts")),
        ((rate(),), ("tariff",)),
        ((rate(tariff=""), tariff(band(1))), ("tariff",)),
        ((rate(), tariff(band(1, 0, 720))), ("tariff",)),  # nobody said what the afternoon costs
        ((rate(), tariff(band(1), currency="EUR")), ("tariff",)),
        ((rate(currency="EUR"), tariff(band(1))), ("price",)),
    ],
)
def test_what_a_rate_leaves_open_is_unknown(
    facts: tuple[object, ...], lacks: tuple[str, ...]
) -> None:
    found = set_by(*facts)
    assert found is not None
    assert found.lacks == lacks


def test_foreign_money_counts_at_its_rate() -> None:
    worth = FxRateSet(currency="EUR", from_ms=NOW - 2 * YEAR_MS, nusd=1_100_000_000)
    found = set_by(worth, rate(currency="EUR"), tariff(band(20), currency="EUR"))
    assert found is not None
    assert (found.price_nusd, found.kwh_nusd) == (1760 * NUSD, 220_000_000)


def test_what_is_written_off_wears_no_more() -> None:
    found = set_by(rate(), tariff(band(1)), now_ms=NOW + 4 * YEAR_MS)
    assert found is not None
    assert (found.wear_nusd, found.lacks) == (0, ())


def test_a_device_that_is_no_more_has_no_rate() -> None:
    assert set_by(rate(count=0)) is None


def test_a_rate_counts_from_its_day_on() -> None:
    assert set_by(rate(), now_ms=NOW - 2) is None


def test_a_rate_that_names_no_tariff_of_its_own_goes_on_with_the_registrations() -> None:
    state = State()
    apply(state, registered("device_registered", 0, ME, "d", name="d", tariff_nusd_per_kwh=300))
    apply(state, event(2, 1000, "device_rate_set", rate(tariff="device d"), "d"))
    assert rates_set(state, NOW)["d"].kwh_nusd == 300
