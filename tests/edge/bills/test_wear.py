"""A device wears once: whatever is registered of it, it never costs more than it is worth."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mathcore.units import HOUR_MS, NUSD
from mesh.edge.bills.desk import SqlDesk
from mesh.edge.bills.gathering import Gatherer, Watch
from mesh.ledger.event import Event
from mesh.state.bills.bill import bill
from mesh.state.bills.given import Given, gather
from mesh.state.bills.inputs import MONTH_HOURS
from mesh.state.bills.lines import total
from mesh.state.runs.making import PaidKnown, hardware
from mesh.state.runs.rows import PaidRow
from tests.edge.bills.story import Peer
from tests.state.job_story import ANA, T0, chained, event

MONTH_MS = MONTH_HOURS * HOUR_MS
END_MS = T0 + 120 * MONTH_MS


def registered(at: int, dollars: int = 1460, months: int = 2, **also: int) -> Event:
    priced = {"price_nusd": dollars * NUSD, "lifetime_months": months, **also}
    return event("device_registered", at, device="d0", name="d0", **priced)


def removed(at: int) -> Event:
    return event("device_removed", at, device="d0", reason="moved")


def cost(*events: Event) -> int:
    """All of its wear, to the end of its life."""
    peer = Peer(chained(list(events)), "UTC")
    peer.advance(len(events), 1)
    gatherer = Gatherer(SqlDesk(peer.db), peer.state, END_MS, Watch())
    (one,) = gatherer.devices()
    return worn(gatherer.inputs(one, 0).given)


def worn(inputs: Given) -> int:
    """Lines are cut where anything changes alone, for years have many quarter-hours."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mesh.state.bills.cells.QUARTER_MS", END_MS)
        patch.setattr("mesh.state.bills.cells.quarter", lambda _: 0)
        return total(bill(inputs, END_MS).lines)


def test_a_device_that_was_gone_for_an_hour_is_not_bought_again() -> None:
    gone = removed(100 * HOUR_MS), registered(101 * HOUR_MS)
    assert cost(registered(0), *gone) == 1459 * NUSD, "all but that hour"


@pytest.mark.parametrize("months", [1, 3, 12])
def test_what_is_left_of_a_device_wears_in_what_is_left_of_another_life(months: int) -> None:
    assert cost(registered(0), registered(100 * HOUR_MS, months=months)) == 1460 * NUSD


@pytest.mark.parametrize(("dollars", "total_"), [(1000, 1000), (2000, 2000), (50, 100)])
def test_a_price_that_was_mistyped_is_put_right(dollars: int, total_: int) -> None:
    assert cost(registered(0), registered(100 * HOUR_MS, dollars)) == total_ * NUSD


def test_a_life_that_is_over_by_now_leaves_nothing_and_a_longer_one_the_rest() -> None:
    shorter = registered(MONTH_MS + HOUR_MS, months=1)
    assert cost(registered(0), shorter) == 731 * NUSD
    assert cost(registered(0), shorter, registered(2 * MONTH_MS, months=4)) == 1460 * NUSD


def test_a_resale_that_is_said_later_is_never_worn_off() -> None:
    assert cost(registered(0), registered(HOUR_MS, resale_nusd=460 * NUSD)) == 1000 * NUSD


def test_a_device_wears_from_when_its_price_was_first_said() -> None:
    first = event("device_registered", 0, device="d0", name="d0")
    unsaid = event("device_registered", 300 * HOUR_MS, device="d0", name="d0")
    priced = registered(200 * HOUR_MS), unsaid, registered(400 * HOUR_MS)
    assert cost(first, *priced) == 1360 * NUSD, "but for the time without a price"


@settings(max_examples=150)
@given(dice=st.randoms(use_true_random=False))
def test_wear_never_adds_up_to_more_than_the_dearest_price_less_the_least_resale(
    dice: Random,
) -> None:
    at, rows = T0, []
    for _ in range(dice.randint(1, 8)):
        row = PaidRow(
            price_nusd=dice.choice((0, 10, 1000, 1460)) * NUSD,
            resale_nusd=dice.choice((0, 5, 900)) * NUSD,
            lifetime_months=dice.choice((0, 1, 2, 6)),
        )
        row = PaidRow(gone=True) if dice.random() < 0.3 else row
        rows.append(PaidKnown(device="d", owner=ANA, from_ms=at, row=row))
        at += dice.randrange(1, 2 * MONTH_MS // 4)
    stated = [one.row for one in rows if one.row.price_nusd]
    most = max((row.price_nusd for row in stated), default=0)
    least = min((row.resale_nusd for row in stated), default=0)
    assert 0 <= worn(gather(hardware(rows))) <= max(0, most - least)
