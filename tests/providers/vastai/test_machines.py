"""Vast.ai's machines, from replies written by hand: made, listed, ended, charged."""

from __future__ import annotations

from typing import Any

import pytest

from providers.rental import contract as c
from providers.rental.boot import one_line
from providers.vastai.balance import balance_from
from providers.vastai.charges import charges_from, charges_request
from providers.vastai.creating import MAX_ONSTART, create_request, created_from
from providers.vastai.ending import end_request, ended_from
from providers.vastai.listing import page_from, page_request
from providers.vastai.profile import BASE_URL
from providers.vastai.rises import refuse_request, refused_from, rises_from
from tests.providers.rental.acceptance import order_of

NO_ASK = {
    "success": False,
    "error": "invalid_args",
    "msg": "error 404/3603: no_such_ask Instance type by id 1234567 is not available.",
    "ask_id": 1234567,
}
BAD_KEY = {"success": False, "error": "auth_error", "msg": "Invalid user key"}
ROW: dict[str, Any] = {
    "id": 312,
    "label": "fl-m1-j1e1a1x-6ab14990",
    "actual_status": "running",
    "intended_status": "running",
    "cur_state": "running",
    "next_state": "running",
    "status_msg": "success, running image/ssh",
    "dph_base": 0.8,
    "dph_total": 0.8021,
    "storage_cost": 0.15,
    "storage_total_cost": 0.0021,
    "disk_space": 10.08,
    "public_ipaddr": "192.0.2.45 ",
    "ports": {"22/tcp": [{"HostIp": "0.0.0.0", "HostPort": "20000"}]},
    "ssh_host": "ssh123.vast.ai",
    "ssh_port": 10600,
}
OFFER = c.Offer(
    provider="vastai",
    offer_id="1234567",
    gpu="RTX 4090",
    gpu_count=1,
    memory_bytes=24564 << 20,
    hourly_nusd=402_100_000,
    stopped_hourly_nusd=2_100_000,
    disk_bytes=40 << 30,
)


def reply(body: object, status: int = 200) -> c.Reply:
    return c.Reply(status=status, body=body)


def page(*rows: object, **more: object) -> c.Page | c.Unread:
    body = {"success": True, "instances": list(rows), "total_instances": len(rows), **more}
    return page_from(reply(body))


def row(**changes: object) -> c.Row:
    found = page({**ROW, **changes})
    assert isinstance(found, c.Page)
    return found.rows[0]


# -- made


@pytest.mark.parametrize(
    ("status", "body", "came"),
    [
        (200, {"success": True, "new_contract": 1234568}, c.Made(instance_id="1234568")),
        (200, {"new_contract": "1234568"}, c.Made(instance_id="1234568")),
        (
            400,
            {"success": False, "error": "invalid_price", "new_contract": 7},
            c.Made(instance_id="7", code="invalid_price"),
        ),
        (200, {"success": False, "new_contract": 7}, c.Made(instance_id="7", code="http_200")),
        (502, {"new_contract": 7}, c.Made(instance_id="7", code="http_502")),
        (
            400,
            {"error": {"error": "low_bid", "new_contract": 7}},
            c.Made(instance_id="7", code="low_bid"),
        ),
        (404, NO_ASK, c.Refused(code="no_such_ask", text=str(NO_ASK["msg"]))),
        (200, NO_ASK, c.Refused(code="no_such_ask", text=str(NO_ASK["msg"]))),
        (410, {"error": "no_such_ask"}, c.Refused(code="no_such_ask")),
        (404, BAD_KEY, c.Refused(code="auth_error", text="Invalid user key")),
        (404, "Invalid user key", c.Refused(code="auth_error", text="Invalid user key")),
        (401, "", c.Refused(code="auth_error")),
        (400, {"success": False, "error": "invalid_price"}, c.Refused(code="invalid_price")),
        (402, {"success": False, "error": "what_is_that"}, c.Unclear(code="odd_reply")),
        (200, {"success": True}, c.Unclear(code="odd_reply")),
        (200, {"success": True, "new_contract": None}, c.Unclear(code="odd_reply")),
        (200, {"success": True, "new_contract": True}, c.Unclear(code="odd_reply")),
        (200, None, c.Unclear(code="odd_reply")),
        (404, "<html>nginx</html>", c.Unclear(code="odd_reply")),
        (429, {"detail": "too frequent"}, c.Unclear(code="429")),
        (503, {"success": False, "error": "no_such_ask"}, c.Unclear(code="5xx")),
    ],
)
def test_a_creates_reply_is_read(status: int, body: object, came: c.Created) -> None:
    assert created_from(reply(body, status)) == came


@pytest.mark.parametrize("broke", ["timeout", "reset", "unreached"])
def test_no_reply_to_a_create_is_unclear(broke: str) -> None:
    assert created_from(c.Reply(status=0, broke=broke)) == c.Unclear(code=broke)
    assert ended_from(c.Reply(status=0, broke=broke)) == c.Unclear(code=broke)
    found = page_from(c.Reply(status=0, broke=broke))
    assert found == c.Unread(why=broke)


def body_of(order: c.Order) -> dict[str, Any]:
    request = create_request(order, BASE_URL)
    assert isinstance(request, c.Request)
    assert (request.method, request.path) == ("PUT", "/api/v0/asks/1234567/")
    assert isinstance(request.body, dict)
    return request.body


def test_a_create_on_demand_has_no_price_and_leaves_nothing_stopped_behind() -> None:
    body = body_of(order_of(OFFER))
    assert "price" not in body
    assert body["cancel_unavail"] is True
    assert body["disk"] == 43
    assert body["label"].startswith("fl-m1-")
    assert body["env"] == {"-p 22:22": "1"}
    assert body["runtype"] == "ssh_direct"


def test_a_bid_is_what_is_paid_at_most_without_the_disk() -> None:
    spot = c.Offer(**{**{f: getattr(OFFER, f) for f in OFFER.__slots__}, "spot": True})
    assert body_of(order_of(spot))["price"] == 0.4
    assert body_of(order_of(spot, bid_hourly_nusd=502_100_000))["price"] == 0.5
    dear = create_request(order_of(spot, bid_hourly_nusd=10**12), BASE_URL)
    assert isinstance(dear, c.Refused)
    assert dear.code == "invalid_price"


def test_the_boot_script_fits_and_ends_the_machine_with_its_own_key() -> None:
    onstart = body_of(order_of(OFFER))["onstart"]
    assert len(onstart) <= MAX_ONSTART
    assert "https://console.vast.ai/api/v0/instances/$CONTAINER_ID/" in onstart
    assert "Bearer $CONTAINER_API_KEY" in onstart
    assert "-X DELETE" in onstart
    assert len(one_line(onstart)) <= MAX_ONSTART


def test_a_create_that_cannot_be_sent_whole_is_not_sent() -> None:
    long_key = order_of(OFFER)
    long_key = c.Order(
        **{
            **{f: getattr(long_key, f) for f in long_key.__slots__},
            "user_public_key": "ssh-rsa " + "A" * 4000,
        }
    )
    assert isinstance(create_request(long_key, BASE_URL), c.Refused)
    bad = c.Offer(**{**{f: getattr(OFFER, f) for f in OFFER.__slots__}, "offer_id": "7/../8"})
    assert isinstance(create_request(order_of(bad), BASE_URL), c.Refused)


# -- listed


def test_a_machine_that_is_up_is_read_whole() -> None:
    assert row() == c.Row(
        instance_id="312",
        label="fl-m1-j1e1a1x-6ab14990",
        status="up",
        price_nusd=802_100_000,
        rate_nusd=802_100_000,
        ssh=c.SshAt(host="192.0.2.45", port=20000, user="root"),
        note="success, running image/ssh",
    )


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"actual_status": None}, "placing"),
        ({"actual_status": "loading"}, "image"),
        ({"actual_status": "created"}, "container"),
        (
            {"actual_status": "created", "status_msg": "Error: OCI runtime create failed: no gpu"},
            "error",
        ),
        ({"actual_status": "exited"}, "exited"),
        ({"actual_status": "unknown"}, "error"),
        ({"actual_status": "offline"}, "error"),
        ({"actual_status": "a word of tomorrow"}, "error"),
        ({"intended_status": "stopped"}, "stopped"),
        ({"actual_status": None, "cur_state": "stopped", "next_state": "stopped"}, "stopped"),
        ({"cur_state": "stopped"}, "up"),  # about to run again
    ],
)
def test_a_machine_costs_its_disk_alone_until_it_is_up_and_when_it_is_not(
    changes: dict[str, object], status: str
) -> None:
    found = row(**changes)
    assert found.status == status
    assert found.rate_nusd == (802_100_000 if status == "up" else 2_100_000)
    assert (found.ssh is None) == (status != "up")


def test_the_disks_rate_is_taken_from_what_is_there() -> None:
    loading = {"actual_status": "loading", "storage_cost": None}
    assert row(**loading, storage_total_cost=0.003).rate_nusd == 3_000_000
    assert row(**loading, storage_total_cost=None).rate_nusd == 2_100_000  # total less base
    unknown = row(**loading, storage_total_cost=None, dph_base=None)
    assert unknown.rate_nusd == 802_100_000  # unknown is not free
    nothing = row(**loading, storage_total_cost=None, dph_base=None, dph_total=None)
    assert nothing.rate_nusd is None


@pytest.mark.parametrize("price", [None, 0, 0.0, "", -1])
def test_a_machine_that_is_up_and_whose_price_is_not_said_is_not_free(price: object) -> None:
    found = row(dph_total=price)
    assert (found.status, found.price_nusd, found.rate_nusd) == ("up", 0, None)
    assert row(dph_total=price, actual_status="loading").rate_nusd == 2_100_000


@pytest.mark.parametrize("price", [0, -1, None, "x", True])
def test_no_price_is_no_price(price: object) -> None:
    assert row(dph_total=price).price_nusd == 0


def test_ssh_goes_by_the_proxy_where_no_port_is_open_and_nowhere_where_it_is_odd() -> None:
    by_proxy = c.SshAt(host="ssh123.vast.ai", port=10600, user="root")
    for ports in (None, {}, {"22/tcp": []}, {"22/tcp": [{"HostPort": "70000"}]}, "22"):
        assert row(ports=ports).ssh == by_proxy
    assert row(ports=None, ssh_host="-oProxyCommand=x").ssh is None
    assert row(ports=None, ssh_port=0).ssh is None


@pytest.mark.parametrize(
    "odd",
    [{"id": None}, {"id": True}, {"id": 0}, {"label": 7}, {"actual_status": 3}, {"cur_state": []}],
)
def test_a_page_with_one_odd_row_proves_nothing(odd: dict[str, object]) -> None:
    assert page(ROW, {**ROW, **odd}) == c.Unread(why="malformed")


def test_pages_are_followed_by_their_token_and_counted() -> None:
    first = page(ROW, next_token="eyJ2", total_instances=2, instances_found=1)
    assert isinstance(first, c.Page)
    assert (first.after, first.total) == ("eyJ2", 2)
    assert page_request("eyJ2").query["after_token"] == "eyJ2"
    assert page_request("").query["limit"] == "25"
    assert "after_token" not in page_request("").query
    last = page(next_token=None, total_instances=None)
    assert last == c.Page(rows=(), after="", total=None)


@pytest.mark.parametrize(
    "more",
    [
        {"instances_found": 3},
        {"total_instances": 0},
        {"total_instances": "many"},
        {"next_token": 7},
        {"next_token": "x" * 5000},
        {"instances": None},
        {"success": False},
    ],
)
def test_a_page_whose_figures_do_not_match_proves_nothing(more: dict[str, object]) -> None:
    assert isinstance(page(ROW, **more), c.Unread)


def test_a_page_without_machines_leads_nowhere() -> None:
    assert page(next_token="eyJ2") == c.Unread(why="malformed")


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (404, BAD_KEY, "auth"),
        (
            403,
            {"success": False, "error": "auth_error", "msg": "This action requires login."},
            "auth",
        ),
        (401, "no", "auth"),
        (410, {"success": False, "error": "deprecated_endpoint", "msg": "Use v1"}, "retired"),
        (200, {"success": False, "error": "deprecated_endpoint"}, "retired"),
        (410, "", "retired"),
        (200, "", "malformed"),
        (200, {"instances": None}, "malformed"),
        (429, "API requests too frequent: endpoint threshold=1.0", "429"),
        (429, {"error": "search_quota_exceeded"}, "quota"),
        (500, "", "5xx"),
        (302, "", "http_302"),
        (400, {"success": False, "error": "invalid_token"}, "invalid_token"),
    ],
)
def test_why_a_listing_was_not_read(status: int, body: object, why: str) -> None:
    found = page_from(reply(body, status))
    assert isinstance(found, c.Unread)
    assert found.why == why


# -- ended


@pytest.mark.parametrize(
    ("status", "body", "came"),
    [
        (200, {"success": True}, c.Accepted()),
        (404, {"success": False, "error": "no_such_instance"}, c.Accepted(gone=True)),
        (404, {"error": "not_found", "msg": "Instance not found"}, c.Accepted(gone=True)),
        (200, {"success": False, "error": "no_such_instance"}, c.Accepted(gone=True)),
        (404, BAD_KEY, c.Refused(code="auth_error", text="Invalid user key")),
        (403, "no", c.Refused(code="auth_error", text="no")),
        (400, {"error": "invalid_args", "msg": "bad"}, c.Refused(code="invalid_args", text="bad")),
        (200, "", c.Unclear(code="odd_reply")),
        (200, {"success": False}, c.Unclear(code="odd_reply")),
        (410, "", c.Unclear(code="odd_reply")),
        (404, "<html>", c.Unclear(code="odd_reply")),
        (429, "", c.Unclear(code="429")),
        (504, "", c.Unclear(code="5xx")),
    ],
)
def test_an_ends_reply_is_read(status: int, body: object, came: c.Ended) -> None:
    assert ended_from(reply(body, status)) == came


def test_an_end_is_asked_for_with_an_empty_body_and_a_plain_id() -> None:
    request = end_request("0000071")
    assert isinstance(request, c.Request)
    assert (request.method, request.path, request.body) == (
        "DELETE",
        "/api/v0/instances/0000071/",
        {},
    )
    assert isinstance(end_request("71/../72"), c.Refused)


# -- charged

DAY = 86_400_000


def charge(instance: str, amount: object) -> dict[str, object]:
    return {"type": "instance", "source": f"instance-{instance}", "amount": amount, "items": []}


def charges(*rows: object) -> c.Charges | c.Unread:
    return charges_from((reply({"success": True, "results": list(rows)}),), "12", DAY + 5, DAY + 9)


def test_charges_are_summed_by_the_machine_in_whole_days() -> None:
    found = charges(charge("12", 37.344), charge("123", 5), charge("12", 0.001), "odd")
    assert found == c.Charges(
        amount_nusd=37_345_000_000, step_nusd=1_000_000, from_ms=DAY, to_ms=2 * DAY
    )


def test_a_charge_reaches_to_the_end_of_its_last_day() -> None:
    first = charge("12", 0.5) | {"start": 86_400, "end": 86_400}
    for end, until_ms in ((86_400, 2 * DAY), (172_800.0, 3 * DAY), (200_000, 3 * DAY)):
        found = charges(first, charge("12", 0.5) | {"end": end}, charge("7", 1) | {"end": 10**9})
        assert isinstance(found, c.Charges)
        assert found.until_ms == until_ms


@pytest.mark.parametrize("end", [None, "1", True, -1, 10**12, float("inf"), float("nan")])
def test_where_a_charge_does_not_say_its_end_that_is_not_known(end: object) -> None:
    found = charges(charge("12", 0.5) | {"end": end})
    assert isinstance(found, c.Charges)
    assert found.until_ms is None


def test_no_row_is_no_amount() -> None:
    assert charges(charge("7", 1.0)) == c.Unread(why="not_yet")


@pytest.mark.parametrize("amount", [None, "x", -1, True, [1]])
def test_an_odd_amount_is_no_charge(amount: object) -> None:
    assert charges(charge("12", amount)) == c.Unread(why="malformed")


def test_charges_are_asked_for_from_the_days_begin() -> None:
    query = charges_request(DAY + 5, 2 * DAY).query
    assert '"day": {"gte": 86400, "lte": 172799}' in query["select_filters"]
    assert charges_request(0, DAY, "tok").query["after_token"] == "tok"


# -- balance and requests to pay more


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ({"balance": 0.0, "credit": 12.5}, 12_500_000_000),
        ({"balance": 3.25}, 3_250_000_000),
        ({"balance": -1.5, "credit": None}, -1_500_000_000),
        ({"id": 1}, None),
        ({"balance": "lots"}, None),
    ],
)
def test_the_balance_is_the_credit_where_there_is_one(body: object, left: int | None) -> None:
    assert balance_from(reply(body)) == c.Balance(left_nusd=left)


def rises(**changes: object) -> object:
    one = {
        "pending_price_increase_id": 901,
        "contract_id": 312,
        "new_gpu_costpersec": 0.0002,
        "new_disk_ram_costpersec": None,
        "old_gpu_costpersec": 0.0001,
        "old_disk_ram_costpersec": 0.000001,
        **changes,
    }
    return rises_from(reply({"count": 1, "truncated": False, "pending_price_increases": [one]}))


def test_a_rises_price_is_of_a_second() -> None:
    (rise,) = (rises(),)
    assert rise == (c.Rise(request_id="901", instance_id="312", new_hourly_nusd=723_600_000),)


def test_a_rise_without_a_price_can_still_be_refused() -> None:
    nothing = {f"{age}_{k}_costpersec": None for age in ("new", "old") for k in ("gpu", "disk_ram")}
    assert rises(**nothing) == (c.Rise(request_id="901", instance_id="312", new_hourly_nusd=0),)
    assert rises(contract_id=None) == ()


def test_a_no_names_the_request_and_nothing_else() -> None:
    request = refuse_request(c.Rise(request_id="901", instance_id="312", new_hourly_nusd=1))
    assert isinstance(request, c.Request)
    assert request.body == {"pending_price_increase_id": 901}
    odd = c.Rise(request_id="9x", instance_id="312", new_hourly_nusd=1)
    assert isinstance(refuse_request(odd), c.Refused)


@pytest.mark.parametrize("status", [404, 409])
def test_a_request_that_no_longer_waits_is_gone(status: int) -> None:
    body = {"success": False, "error": "no_pending_price_increase"}
    assert refused_from(reply(body, status)) == c.Accepted(gone=True)
