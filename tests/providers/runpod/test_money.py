"""Charges and the balance, as RunPod says them."""

from __future__ import annotations

from typing import Any

import pytest

from providers.rental.contract import Balance, Charges, Reply, Unread
from providers.runpod.balance import balance_from, balance_request
from providers.runpod.charges import charges_from, charges_request

EIGHT = 1_800_000_000_000  # 2027-01-15T08:00:00Z
HOUR = 3_600_000
MIN = 60_000


def record(hour: int, amount: object, pod: object = "p1") -> dict[str, Any]:
    start = f"2027-01-15T{hour:02}:00:00Z"
    return {"startTime": start, "endTime": "…", "podId": pod, "totalAmount": amount}


def charges(*records: object, **more: object) -> Charges | Unread:
    reply = Reply(status=200, body={"records": list(records), **more})
    return charges_from(reply, "p1", EIGHT + 10 * MIN, EIGHT + 70 * MIN)


def test_the_window_is_asked_for_in_whole_hours() -> None:
    asked = charges_request("p1", EIGHT + 10 * MIN, EIGHT + 70 * MIN)
    assert (asked.method, asked.path) == ("GET", "/v2/billing/pods")
    assert asked.query == {
        "podId": "p1",
        "bucketSize": "hour",
        "startTime": "2027-01-15T08:00:00Z",
        "endTime": "2027-01-15T10:00:00Z",
    }


def test_what_a_pod_cost_is_the_sum_of_its_hours_in_dollars() -> None:
    assert charges(record(8, 0.34589), record(9, "0.11")) == Charges(
        amount_nusd=455_890_000,
        step_nusd=2 * 10_000,
        from_ms=EIGHT,
        to_ms=EIGHT + 2 * HOUR,
        until_ms=EIGHT + 2 * HOUR,
    )


def test_records_of_other_pods_and_other_times_do_not_count() -> None:
    found = charges(
        record(8, 0.25), record(8, 9, pod="p2"), record(7, 9), record(10, 9), record(8, 9, pod=None)
    )
    assert isinstance(found, Charges)
    assert found.amount_nusd == 250_000_000


def test_amounts_that_show_cents_alone_are_within_a_cent_each() -> None:
    found = charges(record(8, 0.3), record(9, 12.34))
    assert isinstance(found, Charges)
    assert found.step_nusd == 2 * 10_000_000


def test_an_amount_of_many_digits_is_exact_to_the_nano_dollar() -> None:
    found = charges(record(8, 0.123456789012345))
    assert isinstance(found, Charges)
    assert (found.amount_nusd, found.step_nusd) == (123_456_789, 1)


@pytest.mark.parametrize(
    "records",
    [(), (record(8, 9, pod="p2"),), (record(8, 9, pod=None),), (record(7, 9), record(10, 9))],
)
def test_no_record_of_a_pod_yet_is_no_bill_of_nothing(records: tuple[object, ...]) -> None:
    assert charges(*records) == Unread(why="not_yet")


def test_a_record_of_nothing_is_a_bill_of_nothing_and_says_how_far_it_reaches() -> None:
    found = charges(record(8, 0))
    assert isinstance(found, Charges)
    assert (found.amount_nusd, found.until_ms) == (0, EIGHT + HOUR)


@pytest.mark.parametrize(
    "bad",
    [
        record(8, None),
        record(8, -0.1),
        record(8, "much"),
        {**record(8, 1), "startTime": None},
        {**record(8, 1), "startTime": "yesterday"},
        {**record(8, 1), "startTime": "2027-01-15T08:00:00"},  # of which zone?
    ],
)
def test_a_record_of_ours_that_cannot_be_read_is_no_answer(bad: object) -> None:
    assert charges(record(8, 1), bad) == Unread(why="malformed")


@pytest.mark.parametrize("body", [None, "", [], {}, {"records": {}}])
def test_a_body_without_records_is_no_answer(body: object) -> None:
    assert charges_from(Reply(status=200, body=body), "p1", 0, 1) == Unread(why="malformed")


def balance(body: object, status: int = 200) -> Balance | Unread:
    return balance_from(Reply(status=status, body=body))


def me(**fields: object) -> dict[str, Any]:
    return {"data": {"myself": fields}}


def test_the_balance_is_asked_of_graphql() -> None:
    asked = balance_request()
    assert (asked.op, asked.method, asked.path) == ("balance", "POST", "/graphql")
    assert "clientBalance" in str(asked.body)


def test_the_balance_is_dollars_and_what_goes_is_dollars_an_hour() -> None:
    found = balance(me(clientBalance=12.5, currentSpendPerHr=0.345))
    assert found == Balance(left_nusd=12_500_000_000, hourly_nusd=345_000_000)
    owed = balance(me(clientBalance=-1, currentSpendPerHr=0))
    assert owed == Balance(left_nusd=-1_000_000_000, hourly_nusd=0)


def test_what_is_not_said_of_a_balance_is_unknown_and_not_zero() -> None:
    assert balance(me(clientBalance=None)) == Balance(left_nusd=None)
    assert balance(me(clientBalance="?", currentSpendPerHr=-2)) == Balance(left_nusd=None)


def error(message: object, **extensions: object) -> dict[str, Any]:
    return {"errors": [{"message": message, "extensions": extensions}], "data": None}


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (error("Unauthorized"), "auth"),
        (error("no", code="UNAUTHENTICATED"), "auth"),
        (error("no", code="INTERNAL_SERVER_ERROR"), "INTERNAL_SERVER_ERROR"),
        ({"errors": [7]}, "malformed"),
        ({"errors": "x"}, "malformed"),
        ({"data": None}, "malformed"),
        ({"data": {"myself": None}}, "malformed"),
        ("", "malformed"),
    ],
)
def test_a_failure_within_a_200_is_no_balance(body: object, why: str) -> None:
    found = balance(body)
    assert isinstance(found, Unread)
    assert found.why == why


def test_graphql_once_it_is_switched_off_is_loud() -> None:
    found = balance(None, status=410)
    assert isinstance(found, Unread)
    assert found.why == "retired"
