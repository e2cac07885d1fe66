"""An unknown price is shown as unknown, and never helps a device up the ranking."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mathcore.api import NUSD, DeviceSpec, Placement, Plan, Query, Rate, find_model, plan, plan_dict
from mathcore.planner.prices import Prices
from mathcore.price import cost_nusd, hourly_nusd, unknown_parts
from mathcore.units import HOUR_MS
from tests.mathcore.fixtures import device

STATED = Rate(price_nusd=1600 * NUSD, lifetime_months=60, watts=450, tariff_nusd_per_kwh=NUSD // 5)


def ask(devices: list[DeviceSpec], **changes: object) -> Plan:
    fields: dict[str, object] = {
        "model": find_model("llama-3-8b"),
        "model_ref": "llama-3-8b",
        "quant": "Q4_K_M",
        **changes,
    }
    return plan(Query(**fields), devices)  # type: ignore[arg-type]


def ranks(answer: Plan) -> list[str]:
    return [placed.device_id for placed in answer.placements]


def test_what_nobody_stated_is_unknown_and_what_is_free_is_not() -> None:
    assert unknown_parts(STATED) == ()
    assert unknown_parts(replace(STATED, price_nusd=None)) == ("price",)
    assert unknown_parts(replace(STATED, watts=None)) == ("power",)
    assert unknown_parts(Rate()) == ("price", "power")
    assert unknown_parts(Rate(price_nusd=0, watts=0)) == ()


def test_a_rent_is_whole() -> None:
    assert unknown_parts(Rate(hourly_nusd=NUSD)) == ()


def test_the_known_parts_are_summed_as_if_the_others_were_nothing() -> None:
    """An hour at 450 W and $0.20 a kWh is $0.09."""
    assert cost_nusd(replace(STATED, price_nusd=None), HOUR_MS) == 90_000_000
    assert cost_nusd(Rate(), HOUR_MS) == 0


def test_a_placement_says_which_parts_of_its_cost_are_unknown() -> None:
    answer = ask([device("a"), device("b", rate=replace(STATED, price_nusd=None))])
    lacks = {placed.device_id: placed.cost_lacks for placed in answer.placements}
    assert lacks == {"a": (), "b": ("price",)}
    rows = plan_dict(answer)["placements"]
    assert isinstance(rows, list)
    assert {row["device_id"]: row["cost_lacks"] for row in rows} == {"a": [], "b": ["price"]}


def test_an_unknown_price_counts_as_the_dearest_known_one_of_the_others() -> None:
    dear, cheap = device("dear", rate=Rate(hourly_nusd=4 * NUSD)), device("cheap")
    silent = device("silent", rate=Rate(watts=450, tariff_nusd_per_kwh=NUSD // 5))
    prices = Prices([dear, cheap, silent])
    assert prices.of([silent]).beside_nusd == 4 * NUSD
    assert prices.of([dear]).beside_nusd == 0
    answer = ask([dear, cheap, silent], objective="cheapest")
    assert ranks(answer) == ["cheap", "dear", "silent"]
    assert [placed.pareto for placed in answer.placements] == [True, False, False]


def test_where_no_price_is_known_the_known_parts_rank() -> None:
    thirsty, frugal = (
        device(name, rate=Rate(watts=watts, tariff_nusd_per_kwh=NUSD // 5))
        for name, watts in (("thirsty", 600), ("frugal", 100))
    )
    assert Prices([thirsty, frugal]).of([thirsty]).beside_nusd == 0
    assert ranks(ask([thirsty, frugal], objective="cheapest")) == ["frugal", "thirsty"]


def test_a_set_lacks_what_any_member_lacks_and_counts_it_once_for_each() -> None:
    members = [device("a", rate=Rate()), device("b", rate=replace(STATED, watts=None))]
    other = device("other", rate=Rate(hourly_nusd=NUSD))
    price = Prices([*members, other]).of(members)
    assert price.lacks == ("price", "power")
    assert price.beside_nusd == 2 * NUSD


def placed_set(answer: Plan) -> Placement:
    return next(placed for placed in answer.placements if placed.members)


def test_a_set_of_devices_without_prices_shows_no_dollar_as_known() -> None:
    pair = [device(name, location="lan", rate=Rate()) for name in ("a", "b")]
    placed = placed_set(ask(pair, model=find_model("llama-2-70b")))
    assert placed.cost_lacks == ("price", "power")
    assert placed.cost_nusd.p50 == 0


CARDS = st.builds(
    lambda n, speed, price, watts: device(
        f"d{n}",
        bandwidth_bytes_per_s=speed * 10**9,
        location="cloud",
        rate=replace(STATED, price_nusd=price * NUSD, watts=watts),
    ),
    st.integers(0, 10**6),
    st.integers(100, 4000),
    st.integers(0, 40_000),
    st.integers(0, 2000),
)


@settings(max_examples=60)
@given(
    st.lists(CARDS, min_size=2, max_size=6, unique_by=lambda c: c.device_id),
    st.sampled_from(["cheapest", "fastest", "balanced"]),
    st.sampled_from([{"price_nusd": None}, {"watts": None}, {"price_nusd": None, "watts": None}]),
    st.integers(0, 5),
)
def test_taking_a_price_away_never_raises_a_rank(
    cards: list[DeviceSpec], objective: str, taken: dict[str, object], which: int
) -> None:
    """Of any device but the dearest, for what is dearer than all that is known cannot be known."""
    dearest = max(cards, key=lambda card: hourly_nusd(card.rate))
    chosen = cards[which % len(cards)]
    if chosen is dearest:
        chosen = next(card for card in cards if card is not dearest)
    silent = replace(chosen, rate=replace(chosen.rate, **taken))  # type: ignore[arg-type]
    changed = [silent if card is chosen else card for card in cards]
    before, after = ask(cards, objective=objective), ask(changed, objective=objective)
    assert ranks(after).index(chosen.device_id) >= ranks(before).index(chosen.device_id)
    stars = {placed.device_id for placed in before.placements if placed.pareto}
    starred = {placed.device_id for placed in after.placements if placed.pareto}
    assert chosen.device_id in stars or chosen.device_id not in starred


@pytest.mark.parametrize("most", [1, NUSD])
def test_a_cap_is_held_against_what_is_known(most: int) -> None:
    """A lower bound above the cap is out; one below it is not known to be."""
    from mathcore.planner.query import Limits

    silent = device("silent", rate=Rate(watts=450, tariff_nusd_per_kwh=NUSD // 5))
    answer = ask([silent], limits=Limits(max_nusd_per_hour=most))
    assert [r.code for r in answer.refusals] == (["PriceAboveCap"] if most == 1 else [])
