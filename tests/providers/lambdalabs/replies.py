"""Replies of Lambda Cloud, written by hand from its OpenAPI, and an order."""

from __future__ import annotations

from typing import Any

from providers.rental.contract import Offer, Order, Reply

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJustATest ada@desk"
LABEL = "fl-home-job7x3-6750a1c0"
A10 = {
    "instance_type": {
        "name": "gpu_1x_a10",
        "description": "1x A10 (24 GB PCIe)",
        "gpu_description": "A10 (24 GB PCIe)",
        "price_cents_per_hour": 129,
        "specs": {"vcpus": 30, "memory_gib": 200, "storage_gib": 1400, "gpus": 1},
    },
    "regions_with_capacity_available": [
        {"name": "us-west-1", "description": "California, USA"},
        {"name": "us-east-1", "description": "Virginia, USA"},
    ],
}


def kind(**given: Any) -> dict[str, Any]:
    """The A10's entry with other values; `specs` and `regions` are merged and replaced."""
    one = {**A10["instance_type"], **{k: v for k, v in given.items() if k not in SPECIAL}}
    one["specs"] = {**A10["instance_type"]["specs"], **given.get("specs", {})}
    regions = given.get("regions", A10["regions_with_capacity_available"])
    return {"instance_type": one, "regions_with_capacity_available": regions}


SPECIAL = ("specs", "regions")


def ok(data: object, **beside: object) -> Reply:
    return Reply(status=200, body={"data": data, **beside})


def error(status: int, code: str, message: str = "No.") -> Reply:
    return Reply(status=status, body={"error": {"code": code, "message": message}})


def instance(**given: Any) -> dict[str, Any]:
    """A running machine of ours."""
    return {
        "id": "0920582c7ff041399e34823a0be62549",
        "name": LABEL,
        "ip": "198.51.100.2",
        "status": "active",
        "ssh_key_names": ["fleet-1"],
        "file_system_names": [],
        "region": {"name": "us-west-1", "description": "California, USA"},
        "instance_type": A10["instance_type"],
        "actions": {"terminate": {"available": True}},
        **given,
    }


def order(**given: Any) -> Order:
    offer = Offer(
        provider="lambdalabs",
        offer_id="gpu_1x_a10/us-west-1",
        gpu="A10 (24 GB PCIe)",
        gpu_count=1,
        memory_bytes=24 << 30,
        hourly_nusd=1_290_000_000,
    )
    fields: dict[str, Any] = {
        "label": LABEL,
        "offer": offer,
        "image": "ubuntu",
        "disk_bytes": 40 << 30,
        "life_ms": 3_600_000,
        "lease_ms": 1_800_000,
        "user_public_key": KEY,
        "host_private_key": "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n",
    }
    return Order(**(fields | given))
