"""A listing is whole and well-formed, or none: it must prove that a machine is not there."""

from typing import Any

import pytest

from providers.lambdalabs.listing import LABEL_TAG, read, request
from providers.rental.contract import Page, Reply, Row, SshAt, Unread
from tests.providers.lambdalabs.replies import LABEL, error, instance, ok


def row(**given: Any) -> Row:
    page = read(ok([instance(**given)]))
    assert isinstance(page, Page)
    return page.rows[0]


def blocked(reason: str) -> dict[str, Any]:
    return {"terminate": {"available": False, "reason_code": reason}}


def test_a_running_machine_says_its_label_price_and_where_it_answers() -> None:
    assert row() == Row(
        instance_id="0920582c7ff041399e34823a0be62549",
        label=LABEL,
        status="up",
        price_nusd=1_290_000_000,
        rate_nusd=1_290_000_000,
        ssh=SshAt(host="198.51.100.2", port=22, user="ubuntu"),
        note="active",
    )


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"status": "booting", "ip": None, "actions": blocked("vm-has-not-launched")}, "placing"),
        ({"status": "booting", "ip": None}, "image"),
        ({"status": "booting"}, "container"),
        ({"status": "active"}, "up"),
        ({"status": "unhealthy"}, "error"),
        ({"status": "preempted"}, "preempted"),
        ({"status": "terminating"}, "terminating"),
        ({"status": "rebuilding", "ip": None}, "placing"),
    ],
)
def test_each_word_of_theirs_is_a_status(given: dict[str, Any], status: str) -> None:
    assert row(**given).status == status


@pytest.mark.parametrize("said", ["active", "unhealthy", "preempted", "terminating", "new-word"])
def test_a_machine_costs_its_price_whatever_its_state(said: str) -> None:
    assert row(status=said).rate_nusd == 1_290_000_000


def test_a_machine_costs_nothing_until_it_has_passed_its_health_checks() -> None:
    one = row(status="booting")
    assert (one.price_nusd, one.rate_nusd) == (1_290_000_000, 0)


@pytest.mark.parametrize("said", ["active", "unhealthy", "terminating"])
@pytest.mark.parametrize("type_of", [None, {}, {"price_cents_per_hour": 0}])
def test_a_machine_whose_price_is_not_said_is_not_free_once_it_has_booted(
    said: str, type_of: object
) -> None:
    one = row(status=said, instance_type=type_of)
    assert (one.price_nusd, one.rate_nusd) == (0, None)
    assert row(status="booting", instance_type=type_of).rate_nusd == 0


def test_a_terminated_machine_is_none() -> None:
    assert read(ok([instance(status="terminated")])) == Page(rows=())


def test_why_it_cannot_be_ended_yet_is_said() -> None:
    note = row(status="booting", actions=blocked("vm-has-not-launched")).note
    assert note == "booting; can't be terminated: vm-has-not-launched"


def test_a_renamed_machine_of_ours_is_known_by_its_tag() -> None:
    tags = [{"key": "other", "value": "x"}, {"key": LABEL_TAG, "value": LABEL}]
    assert row(name="my box", tags=tags).label == LABEL
    assert (
        row(name="my box", tags=[{"key": LABEL_TAG, "value": "nothing of ours"}]).label == "my box"
    )
    assert (
        row(name=LABEL, tags=[{"key": LABEL_TAG, "value": LABEL.replace("7", "8")}]).label == LABEL
    )


def test_a_machine_without_a_name_has_no_label() -> None:
    assert row(name=None).label == ""


@pytest.mark.parametrize("ip", [None, "", "not an address", "198.51.100.2; rm", 7, "198.51.100"])
def test_what_is_no_address_is_nowhere(ip: object) -> None:
    assert row(ip=ip).ssh is None


@pytest.mark.parametrize("price", [None, 0, -1, "free", True, [1], float("nan")])
def test_what_is_no_price_is_none(price: object) -> None:
    assert row(instance_type={"price_cents_per_hour": price}).price_nusd == 0


def test_what_people_read_has_no_control_characters() -> None:
    shown = row(name="a\x1b[31mb\nc", status="boot\x07ing", ip=None)
    assert shown.label == "a [31mb c"
    assert shown.note == "boot ing"


def test_the_next_page_is_asked_for_by_its_token() -> None:
    page = read(ok([instance()], page_token="n2"))
    assert isinstance(page, Page)
    assert page.after == "n2"
    assert dict(request(page.after).query) == {"page_token": "n2"}
    assert dict(request("").query) == {}
    assert read(ok([], page_token=None)) == Page(rows=())


@pytest.mark.parametrize(
    "reply",
    [
        ok([instance(), {}]),
        ok([instance(id=None)]),
        ok([instance(id="a b")]),
        ok([instance(status=None)]),
        ok([instance(), "odd"]),
        ok({}),
        ok(None),
        ok([instance()], page_token=7),
        ok([instance()] * 5001),
        Reply(status=200, body=""),
        Reply(status=200, body=[]),
        Reply(status=200),
        Reply(status=204),
        Reply(status=201, body={"data": []}),
    ],
)
def test_part_of_a_listing_is_no_listing(reply: Reply) -> None:
    found = read(reply)
    assert isinstance(found, Unread)
    assert found.why == "malformed"


def test_an_error_beside_data_is_no_listing() -> None:
    reply = Reply(status=200, body={"data": [], "error": {"code": "global/internal-error"}})
    assert read(reply) == Unread(why="global/internal-error")


def test_a_retired_api_is_said() -> None:
    assert read(Reply(status=410, body=None)) == Unread(why="retired")
    assert read(error(410, "global/not-found", "Gone.")) == Unread(why="retired", text="Gone.")
