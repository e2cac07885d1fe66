"""Pages of pods: what each of RunPod's words means, what each row costs, and what is no listing."""

from __future__ import annotations

from typing import Any

import pytest

from providers.rental.contract import Page, Reply, Row, SshAt, Unread
from providers.runpod.listing import page_from, page_request

DIRECT = {"host": "195.26.233.3", "port": 34446, "username": "root", "command": "ssh …"}


def pod(**changed: Any) -> dict[str, Any]:
    return {
        "id": "7h9k2m4n6p",
        "name": "fl-m1-j1-6a000000",
        "disk": 73,
        "status": "RUNNING",
        "mounts": {},
        "dataCenterId": "US-KS-2",
        "ssh": {"proxy": None, "direct": DIRECT},
        "cost": 0.44,
        "locked": False,
        "runtime": {"uptime": 3600},
        "startedAt": "2026-06-01T12:02:00Z",
        **changed,
    }


def page(*pods: object, after: str = "", **more: object) -> Page | Unread:
    return page_from(Reply(status=200, body={"pods": list(pods), **more}), after)


def row(**changed: Any) -> Row:
    found = page(pod(**changed))
    assert isinstance(found, Page), found
    (one,) = found.rows
    return one


def test_a_running_pod_has_a_label_a_rate_with_its_disk_and_its_own_ssh_port() -> None:
    one = row()
    assert (one.instance_id, one.label, one.status) == ("7h9k2m4n6p", "fl-m1-j1-6a000000", "up")
    # $0.44, and 73 GB at $0.10 a month of 730 hours.
    assert one.price_nusd == one.rate_nusd == 440_000_000 + 10_000_000
    assert one.ssh == SshAt(host="195.26.233.3", port=34446, user="root")


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"status": "PROVISIONING", "dataCenterId": None, "runtime": None}, "placing"),
        ({"status": "PROVISIONING", "runtime": None}, "image"),
        (
            {"status": "PROVISIONING", "dataCenterId": None, "ssh": {"proxy": DIRECT}},
            "image",
        ),
        ({"status": "STARTING", "runtime": None, "startedAt": None}, "image"),
        ({"status": "STARTING", "runtime": None}, "container"),
        ({"status": "RUNNING"}, "up"),
        ({"status": "RUNNING", "runtime": None}, "exited"),
        ({"status": "EXITED", "runtime": None, "cost": 0.0}, "stopped"),
        ({"status": "ERROR", "runtime": None}, "error"),
        ({"status": "MIGRATING", "runtime": None}, "error"),
        ({"status": "MIGRATING"}, "up"),
    ],
)
def test_each_of_its_words_is_one_of_ours(changed: dict[str, Any], status: str) -> None:
    assert row(**changed).status == status


def test_a_runtime_that_is_not_said_is_not_a_dead_container() -> None:
    one = pod()
    del one["runtime"]
    found = page(one)
    assert isinstance(found, Page)
    assert found.rows[0].status == "up"


def test_a_pod_that_was_deleted_is_not_a_row() -> None:
    assert page(pod(status="TERMINATED"), pod(id="other")) == Page(rows=(row(id="other"),))


def test_a_stopped_pod_has_no_price_and_costs_its_volume_twice_over() -> None:
    one = row(status="EXITED", cost=0.0, mounts={"persistent": {"size": 73, "path": "/w"}})
    assert (one.price_nusd, one.rate_nusd) == (0, 20_000_000)
    assert row(status="EXITED", cost=0.0).rate_nusd == 0


def test_a_running_pods_volume_costs_as_its_disk() -> None:
    assert row(mounts={"persistent": {"size": 73}}).rate_nusd == 460_000_000


@pytest.mark.parametrize("cost", [0, -1, None, "x", True, [], float("inf")])
@pytest.mark.parametrize("status", ["PROVISIONING", "STARTING", "RUNNING", "ERROR"])
def test_what_is_no_price_is_none_and_not_free(status: str, cost: object) -> None:
    one = row(cost=cost, status=status)
    assert (one.price_nusd, one.rate_nusd) == (0, None)


@pytest.mark.parametrize(
    "direct",
    [
        None,
        7,
        {**DIRECT, "port": 0},
        {**DIRECT, "port": True},
        {**DIRECT, "port": "34446"},
        {**DIRECT, "port": 65536},
        {**DIRECT, "host": ""},
        {**DIRECT, "host": "-oProxyCommand=x"},
        {**DIRECT, "host": "a b"},
        {**DIRECT, "username": None},
    ],
)
def test_no_address_is_made_of_what_is_none(direct: object) -> None:
    assert row(ssh={"direct": direct}).ssh is None


def test_clusters_members_are_asked_for_and_said_to_be_so() -> None:
    assert page_request("").query == {"includeClusterPods": "true"}
    assert page_request("c1").query == {"includeClusterPods": "true", "cursor": "c1"}
    assert "of cluster c-9" in row(cluster={"id": "c-9", "rank": None}).note


def test_a_listing_may_come_whole_or_in_pages() -> None:
    assert page(pod()) == Page(rows=(row(),))
    assert page(pod(), pagination=None) == Page(rows=(row(),))
    last = page(pod(), pagination={"hasNextPage": False, "nextCursor": None})
    assert last == Page(rows=(row(),))
    more = page(pod(), pagination={"hasNextPage": True, "nextCursor": "c2"}, after="c1")
    assert more == Page(rows=(row(),), after="c2")


@pytest.mark.parametrize(
    "pagination",
    [
        {},
        [],
        "no",
        {"hasNextPage": "false"},
        {"hasNextPage": True},
        {"hasNextPage": True, "nextCursor": ""},
        {"hasNextPage": True, "nextCursor": 3},
        {"hasNextPage": True, "nextCursor": "x" * 3000},
        {"hasNextPage": True, "nextCursor": "c1"},  # the very page that was asked for
    ],
)
def test_pages_whose_end_cannot_be_told_are_no_listing(pagination: object) -> None:
    found = page(pod(), pagination=pagination, after="c1")
    assert isinstance(found, Unread)
    assert found.why == "malformed"


@pytest.mark.parametrize("bad", [None, "text", {}, pod(id=None), pod(id=""), pod(status=None)])
def test_one_row_that_cannot_be_read_spoils_the_page(bad: object) -> None:
    found = page(pod(), bad)
    assert isinstance(found, Unread)
    assert found.why == "malformed"


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (Reply(status=200, body=""), "malformed"),
        (Reply(status=200, body=None), "malformed"),
        (Reply(status=200, body=[]), "malformed"),
        (Reply(status=200, body={"success": False}), "malformed"),
        (Reply(status=200, body={"pods": None}), "malformed"),
        (Reply(status=204), "malformed"),
        (Reply(status=410, body={"title": "Gone", "detail": "retired"}), "retired"),
        (Reply(status=404, body="<html>"), "not_found"),
        (Reply(status=401, body={"title": "Unauthorized"}), "auth"),
        (Reply(status=429), "429"),
        (Reply(status=503, body="x"), "5xx"),
        (Reply(status=0, broke="reset"), "reset"),
    ],
)
def test_what_is_no_listing_proves_nothing_and_says_why(reply: Reply, why: str) -> None:
    found = page_from(reply)
    assert isinstance(found, Unread)
    assert found.why == why


def test_a_retired_api_says_so_in_words() -> None:
    found = page_from(Reply(status=410))
    assert isinstance(found, Unread)
    assert "switched off" in found.text
