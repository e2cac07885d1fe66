"""The operations of GraphQL that are served: what REST v2 lacks, and what old clients send."""

from __future__ import annotations

from typing import Any

from tests.emulators.machines import Machine
from tests.emulators.runpod import billing, graphql, stock
from tests.emulators.runpod.account import Account


def roots(account: Account, now: int, fault: str, by: str) -> dict[str, Any]:
    """Each root field, called with the operation's variables."""
    return {
        "myself": lambda variables: _myself(account, now),
        "podFindAndDeployOnDemand": lambda said: _deploy(account, now, said, fault, by),
        "podTerminate": lambda variables: _end(account, now, variables, fault),
    }


def _myself(account: Account, now: int) -> dict[str, Any]:
    going = sum(one.rate(now) for one in account.machines.all.values())
    return {
        "id": "user_1",
        "pubKey": "\n\n".join(account.ssh_keys),
        "clientBalance": stock.dollars(account.left(now)),
        "currentSpendPerHr": stock.dollars(going),
        "spendLimit": 80,
        "networkVolumes": [],
    }


def _deploy(account: Account, now: int, variables: Any, fault: str, by: str) -> dict[str, Any]:
    """As tasks of RunPod's Python client are made: the first of the types that is free."""
    asked = variables.get("input", {})
    body = {
        "name": asked.get("name", ""),
        "image": asked.get("imageName", ""),
        "args": asked.get("dockerArgs", ""),
        "disk": asked.get("containerDiskInGb", 1),
        "ports": [p for p in asked.get("ports", "").split(",") if p],
        "env": {pair["key"]: pair["value"] for pair in asked.get("env", [])},
    }
    for gpu_id in asked.get("gpuTypeIdList") or [asked.get("gpuTypeId", "")]:
        wanted = {**body, "gpu": {"id": gpu_id, "count": asked.get("gpuCount", 1)}}
        made = account.make(now, wanted, fault, by)
        if made is not None:
            _end_after(account, made, asked.get("terminateAfter"))
            return {"id": made.id, "desiredStatus": "RUNNING"}
    raise graphql.Refusal(stock.NO_CAPACITY)


def _end_after(account: Account, made: Machine, when: str | None) -> None:
    if when is not None:
        account.machines.at(billing.moment(when), lambda t: account.machines.end(made, t))


def _end(account: Account, now: int, variables: Any, fault: str) -> None:
    one = account.machines.all.get(variables.get("input", {}).get("podId", ""))
    if one is None or one.ended is not None:
        raise graphql.Refusal("pod not found to terminate")
    account.end(now, one, fault)
