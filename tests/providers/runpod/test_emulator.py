"""What RunPod's documents say that its API does, of the stand-in: beyond what our adapter asks."""

from __future__ import annotations

import base64
import random
from typing import Any

import pytest

from providers.rental.contract import Reply
from tests.emulators.base import Asked
from tests.emulators.runpod import RunPodEmulator, pods, rules
from tests.providers.runpod.world import MIN, START

BODY: dict[str, Any] = {
    "name": "n",
    "image": "i",
    "gpu": {"id": "NVIDIA L4", "count": 1},
    "disk": 10,
    "ports": ["22/tcp"],
}


class Client:
    """Asks one stand-in."""

    def __init__(self) -> None:
        self.emulator = RunPodEmulator(random.Random(1))
        self.now = START

    def ask(self, method: str, path: str, body: object = None, **query: str) -> Reply:
        headers = {"authorization": f"Bearer {self.emulator.key}"}
        asked = Asked(method=method, path=path, query=query, headers=headers, body=body)
        return self.emulator.handle(self.now, asked)

    def graphql(self, query: str, **variables: object) -> Any:
        reply = self.ask("POST", "/graphql", {"query": query, "variables": {"input": variables}})
        assert reply.status == 200
        return reply.body


@pytest.fixture
def client() -> Client:
    return Client()


def made(client: Client, **changed: object) -> Any:
    reply = client.ask("POST", "/v2/pods", {**BODY, **changed})
    assert reply.status == 201, reply.body
    return reply.body


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"interruptible": True}, 422),
        ({"terminateAfter": "2027-01-15T08:00:00Z"}, 422),
        ({"gpu": {"id": "NVIDIA L4", "count": 1, "bid": 1}}, 422),
        ({"gpu": {"count": 1}}, 422),
        ({"gpu": {"id": "NVIDIA L4", "count": 0}}, 422),
        ({"name": ""}, 422),
        ({"image": ""}, 400),
        ({"args": ["sh"]}, 422),
        ({"env": {"A": 1}}, 422),
        ({"ports": "22/tcp"}, 422),
        ({"cloud": "ALL"}, 422),
        ({"mounts": {"persistent": {"size": 5, "path": "/w"}}}, 422),
        ({"mounts": {"persistent": {"size": 20}}}, 422),
        ({"cpu": {"id": "cpu3c", "vcpuCount": 2}}, 400),
        ({"mounts": {"persistent": {"size": 20, "path": "/w"}, "network": []}}, 400),
        ({"gpu": {"id": "NVIDIA L4"}}, 400),  # its default of one does not work
        ({"gpu": {"id": "NVIDIA L4", "count": 8}}, 400),
        ({"gpu": {"id": "NVIDIA B300", "count": 1}}, 400),
    ],
)
def test_a_body_that_v2_refuses_is_refused(client: Client, changed: Any, status: int) -> None:
    reply = client.ask("POST", "/v2/pods", {**BODY, **changed})
    assert reply.status == status
    assert isinstance(reply.body, dict)
    assert {"title", "status", "detail"} <= set(reply.body)
    assert client.emulator.machines.all == {}


def test_query_parameters_that_v2_does_not_know_are_ignored(client: Client) -> None:
    made(client)
    reply = client.ask("GET", "/v2/pods", desiredStatus="EXITED", name="other")
    assert isinstance(reply.body, dict)
    assert len(reply.body["pods"]) == 1


def test_members_of_clusters_are_hidden_unless_asked_for(client: Client) -> None:
    client.emulator.account.add_cluster_pod("training", client.now)
    for query, count in (({}, 0), ({"includeClusterPods": "true"}, 1)):
        reply = client.ask("GET", "/v2/pods", None, **query)
        assert isinstance(reply.body, dict)
        assert len(reply.body["pods"]) == count


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({}, 200),
        ({"include": "AVAILABILITY", "product": "POD"}, 200),
        ({"include": "AVAILABILITY"}, 400),
        ({"product": "POD"}, 400),
        ({"count": "2"}, 400),
    ],
)
def test_availability_and_product_belong_together(
    client: Client, query: dict[str, str], status: int
) -> None:
    assert client.ask("GET", "/v2/catalog/gpus", None, **query).status == status


def test_an_account_is_asked_for_its_key(client: Client) -> None:
    reply = client.emulator.handle(START, Asked(method="GET", path="/v2/pods"))
    assert (reply.status, reply.body) == (
        401,
        {"title": "Unauthorized", "status": 401, "detail": "missing bearer token"},
    )


def test_every_reply_has_an_id_of_its_own_and_the_quota(client: Client) -> None:
    replies = [client.ask("GET", path) for path in ("/v2/pods", "/v2/nothing", "/v1/pods")]
    assert [reply.status for reply in replies] == [200, 404, 410]
    assert len({reply.headers["x-request-id"] for reply in replies}) == 3
    assert all('"minute";r=' in reply.headers["ratelimit"] for reply in replies)


def test_actions_are_those_that_the_pod_says_it_takes(client: Client) -> None:
    pod = made(client, mounts={"persistent": {"size": 20, "path": "/w"}})
    path = f"/v2/pods/{pod['id']}"
    client.now += 5 * MIN
    assert client.ask("POST", f"{path}/action", {"action": "start"}).status == 409
    stopped = client.ask("POST", f"{path}/action", {"action": "stop"})
    assert isinstance(stopped.body, dict)
    assert stopped.body["status"] == "EXITED"
    assert (stopped.body["cost"], stopped.body["runtime"]) == (0.0, None)
    assert stopped.body["actions"] == ["start", "terminate"]
    machine = client.emulator.machines.all[pod["id"]]
    assert machine.rate(client.now) == 5_479_452  # 20 GB at $0.20 a month of 730 hours
    assert client.ask("POST", f"{path}/action", {"action": "reset"}).status == 422
    assert client.ask("POST", f"{path}/action", {"action": "terminate"}).status == 204
    client.now += 5_000
    assert client.ask("GET", path).status == 404


def test_keys_are_replaced_whole_and_must_look_like_keys(client: Client) -> None:
    assert client.ask("PUT", "/v2/account/ssh-keys", {"keys": ["no key"]}).status == 422
    for keys in (["ssh-ed25519 AAAA me"], ["ssh-rsa BBBB"]):
        client.ask("PUT", "/v2/account/ssh-keys", {"keys": keys})
        assert client.ask("GET", "/v2/account/ssh-keys").body == {"keys": keys}


def test_billing_windows_are_snapped_outward_and_totals_are_sums(client: Client) -> None:
    client.now += 20 * MIN
    pod = made(client)
    client.now += 60 * MIN
    reply = client.ask("GET", "/v2/billing/pods", None, bucketSize="hour", podId=pod["id"])
    assert isinstance(reply.body, dict)
    records, told = reply.body["records"], reply.body["metadata"]
    assert [record["startTime"] for record in records] == [
        "2027-01-15T08:00:00.000Z",
        "2027-01-15T09:00:00.000Z",
    ]
    assert told["query"]["endTime"] == "2027-01-15T10:00:00.000Z"
    assert told["recordCount"] == 2
    whole = sum(record["totalAmount"] for record in records)
    assert told["totals"]["totalAmount"] == pytest.approx(whole)
    assert whole == pytest.approx(0.39 * 60 / 60, rel=0.01)
    assert client.ask("GET", "/v2/billing/pods", None, lastN="2", startTime="x").status == 400


def test_graphql_reads_the_balance_and_refuses_a_field_it_has_not(client: Client) -> None:
    told = client.graphql("query { myself { clientBalance spendLimit } }")
    assert told == {"data": {"myself": {"clientBalance": 1000.0, "spendLimit": 80}}}
    for query in ("query { myself { coins } }", "{ cpuTypes { id } }", "query {", "", "{{}}"):
        assert "errors" in client.graphql(query)


DEPLOY = """mutation deploy($input: PodFindAndDeployOnDemandInput) {
    podFindAndDeployOnDemand(input: $input) { id desiredStatus }
}"""


def test_graphql_makes_a_pod_that_ends_when_it_was_told_to(client: Client) -> None:
    order = {"name": "task", "imageName": "i", "gpuTypeIdList": ["NVIDIA B300", "NVIDIA L4"]}
    told = client.graphql(DEPLOY, **order, terminateAfter="2027-01-15T08:10:00Z")
    made = told["data"]["podFindAndDeployOnDemand"]["id"]
    assert client.ask("GET", f"/v2/pods/{made}").status == 200
    client.now += 10 * MIN
    assert client.ask("GET", f"/v2/pods/{made}").status == 404


def test_graphql_says_in_a_200_that_there_is_no_capacity(client: Client) -> None:
    told = client.graphql(DEPLOY, name="task", imageName="i", gpuTypeId="NVIDIA B300")
    assert "no longer any instances" in told["errors"][0]["message"]
    told = client.graphql("mutation { podTerminate(input: {podId: 1}) }", podId="9")
    assert "pod not found to terminate" in told["errors"][0]["message"]


def test_logs_are_a_stream_of_events_that_ends(client: Client) -> None:
    reply = client.ask("GET", f"/v2/pods/{made(client)['id']}/logs")
    assert reply.headers["content-type"] == "text/event-stream"
    assert str(reply.body).count("data: {") == 2


def test_arguments_without_a_dead_man_have_none() -> None:
    half = base64.b64encode(b"[ $((N - B)) -ge 60 ] || [ $((N - C)) -ge 60 ]").decode()
    for args in ("", "bash -c 'sleep infinity'", f"sh -c 'echo {half} | base64 -d'"):
        assert pods.dead_man(args) == pods.NO_DEAD_MAN


NO_OBJECTS: tuple[object, ...] = (None, [], "x")


def test_a_body_that_is_no_object_is_no_order() -> None:
    assert [rules.create_errors(body) for body in NO_OBJECTS] == [["$: expected object"]] * 3
