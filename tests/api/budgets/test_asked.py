"""What may be asked of budgets: each field that is wrong is named, with what would do."""

from __future__ import annotations

from typing import Any

import pytest

from mesh.api.budgets.asked import CapAsked, GrantAsked, Pick, parse_cap, parse_grant
from mesh.api.errors import RequestError
from mesh.state.facts.budget import ALL, CLOUD_STOP, PROVIDER, USER
from mesh.state.facts.serving import DAY, MONTH, TOTAL

USD = 10**9


def test_a_cap_is_the_fleets_by_the_month_unless_said_otherwise() -> None:
    assert parse_cap({"amount": "50"}) == CapAsked(
        pick=Pick(), nusd=50 * USD, owned=None, lift=False
    )
    asked = parse_cap(
        {"amount": "$0.25", "per": "day", "user": "ann", "tz": "Europe/Berlin", "owned": "stop"}
    )
    assert asked.pick == Pick(scope=USER, of="ann", per=DAY, zone="Europe/Berlin")
    assert (asked.nusd, asked.owned) == (USD // 4, CLOUD_STOP)
    assert parse_cap({"amount": "0", "owned": "all", "tz": "UTC"}).pick.zone == ""
    assert parse_cap({"amount": "0", "owned": "all"}).owned == ALL


def test_a_lift_has_no_amount() -> None:
    asked = parse_cap({"lift": True, "provider": "vastai", "per": "total"})
    assert (asked.lift, asked.nusd) == (True, None)
    assert asked.pick == Pick(scope=PROVIDER, of="vastai", per=TOTAL)


def test_a_grant_names_a_peer_and_how_many_periods() -> None:
    assert parse_grant({"peer": "ben", "amount": "10", "periods": 3}) == GrantAsked(
        pick=Pick(per=MONTH), peer="ben", nusd=10 * USD, periods=3
    )


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "amount: how many dollars"),
        ({"amount": 50}, "amount: must be a text"),
        ({"amount": "-1"}, "amount: '-1' is not"),
        ({"amount": "1e3"}, "amount: '1e3' is not"),
        ({"amount": "1000001"}, "between $0 and $1,000,000"),
        ({"amount": "x" * 1000}, "is not an amount"),
        ({"amount": "1", "lift": True}, "a budget that is lifted has none"),
        ({"amount": "1", "lift": "yes"}, "lift: 'yes' is not true or false"),
        ({"amount": "1", "per": "week"}, "per: 'week' is no period"),
        ({"amount": "1", "per": ["day"]}, "is no period"),
        ({"amount": "1", "user": "a", "key": "b"}, "user and key: a budget is about one of them"),
        ({"amount": "1", "user": ""}, "user: must be a name"),
        ({"amount": "1", "job": "j\x1b[2J"}, "job: must be a name"),
        ({"amount": "1", "tz": "Mars/Olympus"}, "knows no time zone 'Mars/Olympus'"),
        ({"amount": "1", "tz": "../../etc/passwd"}, "knows no time zone"),
        ({"amount": "1", "tz": 1}, "tz: must be the name"),
        ({"amount": "1", "owned": "mine"}, "owned: 'mine' is no word on own devices"),
        ({"amount": "1", "perr": "day"}, "perr: no such field"),
    ],
)
def test_a_cap_that_will_not_do_is_refused_in_one_line(body: dict[str, Any], says: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_cap(body)
    assert says in caught.value.text
    assert len(caught.value.text) < 200
    assert caught.value.hint


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"peer": "ben"}, "amount: how many dollars"),
        ({"peer": "ben", "amount": "0"}, "is not between $0.000000001"),
        ({"amount": "1"}, "peer: must be a name"),
        ({"peer": "ben", "amount": "1", "periods": 401}, "from 1 to 400"),
        ({"peer": "ben", "amount": "1", "periods": True}, "periods: 'True'"),
        ({"peer": "ben", "amount": "1", "periods": 2, "per": "total"}, "has one period"),
        ({"peer": "ben", "amount": "1", "owned": "all"}, "owned: no such field"),
    ],
)
def test_a_grant_that_will_not_do_is_refused_in_one_line(body: dict[str, Any], says: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_grant(body)
    assert says in caught.value.text
    assert caught.value.hint
