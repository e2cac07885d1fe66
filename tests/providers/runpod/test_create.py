"""What is sent to make a pod, and what every answer to it means."""

from __future__ import annotations

import shlex
import subprocess
from dataclasses import replace
from typing import Any

import pytest

from providers.rental.contract import Accepted, Made, Refused, Reply, Unclear
from providers.runpod.create import args_of, create_request, created_from
from providers.runpod.ending import end_request, ended_from
from tests.emulators.runpod import pods, rules
from tests.providers.runpod.world import OFFER, order


def problem(status: int, detail: str = "no", **more: Any) -> Reply:
    body = {"title": "Bad", "status": status, "detail": detail, **more}
    return Reply(status=status, body=body)


def sent() -> dict[str, Any]:
    request = create_request(order())
    assert request is not None
    assert (request.op, request.method, request.path) == ("create", "POST", "/v2/pods")
    assert isinstance(request.body, dict)
    return request.body


def test_a_create_names_its_count_cloud_ports_and_label_and_nothing_v2_does_not_know() -> None:
    body = sent()
    assert body["name"] == "fl-m1-j1-6a000000"
    assert body["gpu"] == {"id": "NVIDIA GeForce RTX 4090", "count": 1}
    assert (body["cloud"], body["ports"], body["disk"]) == ("COMMUNITY", ["22/tcp"], 43)
    assert rules.create_errors(body) == []
    assert rules.create_rule(body) == ""


def test_the_arguments_are_one_text_that_a_shell_reads_as_three_words() -> None:
    words = shlex.split(args_of(order()))
    assert words[:2] == ["sh", "-c"]
    assert len(words) == 3
    checked = subprocess.run(["sh", "-n", "-c", words[2]], capture_output=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, b"")
    # A pod lives as long as its first process.
    assert words[2].endswith("; while :; do sleep 3600; done")


def test_the_arguments_hold_a_dead_man_with_the_orders_limits_and_the_pods_own_key() -> None:
    args = args_of(replace(order(), life_ms=7_200_000, lease_ms=1_800_000))
    assert pods.dead_man(args) == (7_200_000, 1_800_000)


def test_an_offer_of_another_provider_is_not_sent() -> None:
    assert create_request(order(offer=replace(OFFER, offer_id="1234567"))) is None


def test_a_201_with_an_id_is_a_pod() -> None:
    assert created_from(Reply(status=201, body={"id": "7h9k2m4n6p"})) == Made(
        instance_id="7h9k2m4n6p"
    )


@pytest.mark.parametrize("body", [None, "", [], {}, {"id": ""}, {"id": 7}, {"id": "../x"}])
def test_a_201_without_an_id_may_have_made_one(body: object) -> None:
    assert created_from(Reply(status=201, body=body)) == Unclear(code="odd_reply")


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "rule_or_capacity"),
        (401, "auth"),
        (402, "balance"),
        (403, "not_allowed"),
        (404, "not_found"),
        (409, "conflict"),
        (422, "invalid"),
    ],
)
def test_a_documented_refusal_made_nothing(status: int, code: str) -> None:
    assert created_from(problem(status, "say \x1b[1mwhy")) == Refused(code=code, text="say [1mwhy")


def test_a_refusal_of_the_schema_names_what_is_wrong() -> None:
    errors = ["$: additional properties 'bid' not allowed", 7, "x"]
    told = created_from(problem(422, "Request validation failed.", errors=errors))
    assert isinstance(told, Refused)
    assert "'bid' not allowed" in told.text


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (Reply(status=0, broke="timeout"), "timeout"),
        (Reply(status=0, broke="reset"), "reset"),
        (Reply(status=0), "unreached"),
        (problem(429), "429"),
        (problem(500), "5xx"),
        (Reply(status=502, body="bad gateway"), "5xx"),
        (problem(410), "retired"),
        (Reply(status=400, body="<html>"), "odd_reply"),
        (Reply(status=403, body={"message": "blocked by a gateway"}), "odd_reply"),
        (problem(418), "odd_reply"),
        (Reply(status=301), "odd_reply"),
    ],
)
def test_everything_else_may_have_made_one(reply: Reply, code: str) -> None:
    assert created_from(reply) == Unclear(code=code)
    assert ended_from(reply) == Unclear(code=code)


def test_an_end_is_taken_by_a_204_alone_and_gone_by_a_404_in_its_own_words() -> None:
    assert ended_from(Reply(status=204)) == Accepted()
    assert ended_from(problem(404, "pod not found")) == Accepted(gone=True)
    assert ended_from(Reply(status=404, body="not found")) == Unclear(code="odd_reply")
    assert ended_from(Reply(status=200, body={"success": True})) == Unclear(code="odd_reply")


def test_a_member_of_a_cluster_is_not_ended_by_itself() -> None:
    assert ended_from(problem(409, "cluster")) == Refused(code="conflict", text="cluster")


def test_an_id_stays_one_part_of_the_path() -> None:
    assert end_request("a/../b").path == "/v2/pods/a%2F..%2Fb"
