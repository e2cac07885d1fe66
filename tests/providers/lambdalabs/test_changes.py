"""What a launch, a registration of our key and an end ask, and what their replies mean."""

import base64
import subprocess

import pytest

from providers.lambdalabs import ending, launch, ssh_keys
from providers.rental.contract import Accepted, Made, Refused, Reply, Request, Unclear, Unread
from tests.providers.lambdalabs.replies import KEY, LABEL, error, instance, ok, order

CAPACITY = "instance-operations/launch/insufficient-capacity"
UNCLEAR = [
    (Reply(status=0, broke="timeout"), "timeout"),
    (Reply(status=0, broke="reset"), "reset"),
    (Reply(status=0), "unreached"),
    (Reply(status=429), "429"),
    (error(429, "global/quota-exceeded"), "429"),
    (Reply(status=502, body="bad gateway"), "5xx"),
    (error(500, "global/internal-error"), "5xx"),
    (error(503, CAPACITY), "5xx"),
    (Reply(status=200, body=""), "odd_reply"),
    (Reply(status=200, body={"data": {}}), "odd_reply"),
    (Reply(status=400, body="no"), "odd_reply"),
    (error(400, "provider/unhappy"), "odd_reply"),
    (error(400, "global/internal-error"), "odd_reply"),
    (error(200, CAPACITY), "odd_reply"),
    (Reply(status=302, body=""), "odd_reply"),
]


def launched() -> Request:
    asked = launch.request(order(), "our-key")
    assert isinstance(asked, Request)
    return asked


def test_a_launch_names_what_and_where_one_key_and_the_label_twice() -> None:
    asked = launched()
    assert (asked.op, asked.method) == ("create", "POST")
    assert asked.path == "/api/v1/instance-operations/launch"
    assert isinstance(asked.body, dict)
    user_data = asked.body.pop("user_data")
    assert asked.body == {
        "instance_type_name": "gpu_1x_a10",
        "region_name": "us-west-1",
        "ssh_key_names": ["our-key"],
        "name": LABEL,
        "tags": [{"key": "fleet-label", "value": LABEL}],
    }
    assert user_data.startswith("#!/bin/sh\n")


def test_a_machine_lets_our_key_in_as_ubuntu_and_shows_our_host_key() -> None:
    body = launched().body
    assert isinstance(body, dict)
    script = body["user_data"]
    checked = subprocess.run(["sh", "-n"], input=script, text=True, capture_output=True)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert f"K='{KEY}'" in script
    assert "H=$(getent passwd ubuntu | cut -d: -f6)" in script
    assert 'chown -R ubuntu: "$H/.ssh"' in script
    pem = base64.b64encode(order().host_private_key.encode()).decode()
    assert f"echo {pem} | base64 -d > /etc/ssh/fleet_host_key" in script
    assert "HostKey /etc/ssh/fleet_host_key" in script
    assert "while sleep" not in script  # no dead-man: there is no key for one


def test_an_offer_of_no_type_and_region_is_not_launched() -> None:
    from dataclasses import replace

    odd = order(offer=replace(order().offer, offer_id="7319"))
    assert launch.request(odd, "our-key") == Refused(
        code="fleet/odd-offer", text="the offer names no instance type and region"
    )


def test_a_launch_that_names_an_instance_made_it() -> None:
    assert launch.read(ok({"instance_ids": ["b1"]})) == Made(instance_id="b1")
    assert launch.read(ok({"instance_ids": ["b1", "a7"]})) == Made(instance_id="a7")


@pytest.mark.parametrize("ids", [[], [""], [7], ["a b"], None, "b1", ["b1", None]])
def test_a_launch_that_names_none_is_unclear(ids: object) -> None:
    assert launch.read(ok({"instance_ids": ids})) == Unclear(code="odd_reply")


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, CAPACITY),
        (400, "global/quota-exceeded"),
        (400, "global/invalid-parameters"),
        (400, "global/object-does-not-exist"),
        (404, "global/object-does-not-exist"),
        (401, "global/invalid-api-key"),
        (403, "global/account-inactive"),
        (403, "global/invalid-address"),
        (409, "global/conflict"),
    ],
)
def test_a_documented_code_refuses_a_launch(status: int, code: str) -> None:
    assert launch.read(error(status, code)) == Refused(code=code, text="No.")


@pytest.mark.parametrize(("reply", "code"), UNCLEAR)
def test_all_else_leaves_a_launch_unclear(reply: Reply, code: str) -> None:
    assert launch.read(reply) == Unclear(code=code)


def test_an_end_is_asked_for_by_id() -> None:
    asked = ending.request("b1")
    assert (asked.op, asked.method) == ("terminate", "POST")
    assert asked.path == "/api/v1/instance-operations/terminate"
    assert asked.body == {"instance_ids": ["b1"]}


def test_an_end_is_taken_where_the_reply_names_the_machine() -> None:
    said = ok({"terminated_instances": [instance(id="a0"), instance(id="b1")]})
    assert ending.read(said, "b1") == Accepted()
    assert ending.read(said, "c2") == Unclear(code="odd_reply")
    assert ending.read(ok({"terminated_instances": []}), "b1") == Unclear(code="odd_reply")


@pytest.mark.parametrize("status", [400, 404])
def test_a_machine_that_is_not_there_has_ended(status: int) -> None:
    assert ending.read(error(status, "global/object-does-not-exist"), "b1") == Accepted(gone=True)


def test_a_404_of_no_such_code_does_not_say_that_it_has_ended() -> None:
    assert ending.read(Reply(status=404, body="nginx"), "b1") == Unclear(code="odd_reply")


def test_an_end_is_refused_while_it_boots_and_the_reason_is_its_code() -> None:
    said = error(409, "global/conflict", "Instance can't be terminated: vm-has-not-launched.")
    found = ending.read(said, "b1")
    assert isinstance(found, Refused)
    assert found.code == "vm-has-not-launched"
    assert ending.read(error(409, "global/conflict"), "b1") == Refused(
        code="global/conflict", text="No."
    )


@pytest.mark.parametrize(("reply", "code"), UNCLEAR)
def test_all_else_leaves_an_end_unclear(reply: Reply, code: str) -> None:
    assert ending.read(reply, "b1") == Unclear(code=code)


def test_a_key_has_one_name_whoever_registers_it_and_whatever_its_comment() -> None:
    bare = " ".join(KEY.split()[:2])
    assert ssh_keys.name_of(KEY) == ssh_keys.name_of(bare + "  someone@else")
    assert ssh_keys.name_of(KEY) != ssh_keys.name_of(bare + "A")
    assert len(ssh_keys.name_of(KEY)) <= 64
    assert ssh_keys.add(KEY).body == {"name": ssh_keys.name_of(KEY), "public_key": bare}


def test_our_key_is_found_by_its_content_under_any_name() -> None:
    other = {"id": "1", "name": ssh_keys.name_of(KEY), "public_key": "ssh-rsa AAAA"}
    ours = {"id": "2", "name": "ada's laptop", "public_key": KEY.rpartition(" ")[0] + " x"}
    assert ssh_keys.found(ok([other]), KEY) == ""
    assert ssh_keys.found(ok([other, ours, 7, {"public_key": KEY}]), KEY) == "ada's laptop"
    assert ssh_keys.found(Reply(status=429), KEY) == Unread(why="429")


def test_a_key_is_registered_where_the_reply_shows_it() -> None:
    said = {"id": "2", "name": "fleet-1", "public_key": KEY}
    assert ssh_keys.added(ok(said), KEY) == "fleet-1"
    assert ssh_keys.added(ok({**said, "public_key": "ssh-rsa AAAA"}), KEY) == Unclear(
        code="odd_reply"
    )
    assert ssh_keys.added(error(400, "global/duplicate"), KEY) == Refused(
        code="global/duplicate", text="No."
    )
