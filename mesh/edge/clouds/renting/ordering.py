"""What is asked for once a rental is intended."""

from __future__ import annotations

from typing import Final

from mesh.edge.clouds.renting.ports import MachineKeys
from mesh.policy.rentals.timers import LEASE_MS
from mesh.state.rentals.rental import Rental
from mesh.state.rentals.requests import Request
from mesh.state.rentals.terms import S_MS
from providers.rental.contract import DEFAULT_DISK_BYTES, Offer, Order

# What runs where nobody asked for another; our boot script brings sshd where it lacks, no engine.
# RunPod hands the boot script to the entrypoint, which here runs what it is given.
IMAGE: Final = "nvidia/cuda:12.8.1-base-ubuntu24.04"


def order_of(
    one: Rental, request: Request | None, offer: Offer, keys: MachineKeys, now_ms: int
) -> Order:
    """The machine of an intent, as its request has it."""
    asked_disk = 0 if request is None else request.disk_bytes
    return Order(
        label=one.label,
        offer=offer,
        image=(request.image if request is not None else "") or IMAGE,
        disk_bytes=asked_disk or offer.disk_bytes or DEFAULT_DISK_BYTES,
        life_ms=max(S_MS, one.expires_ms - now_ms),
        lease_ms=LEASE_MS,
        user_public_key=keys.user_public_key,
        host_private_key=keys.host_private_key,
        bid_hourly_nusd=offer.hourly_nusd if offer.spot else None,
    )
