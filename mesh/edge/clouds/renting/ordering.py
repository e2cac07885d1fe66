"""What is asked for once a rental is intended."""

from __future__ import annotations

from mesh.edge.clouds.renting.ports import MachineKeys, Needs
from mesh.policy.rentals.timers import LEASE_MS
from mesh.state.rentals.rental import Rental
from mesh.state.rentals.requests import Request
from mesh.state.rentals.terms import S_MS
from providers.rental.contract import DEFAULT_DISK_BYTES, Offer, Order


def image_of(request: Request | None, default_image: str) -> str:
    """What a machine runs: what was asked for, else its provider's default."""
    return (request.image if request is not None else "") or default_image


def needs_engine(request: Request | None, default_image: str) -> bool:
    """Whether a machine is of no use until an engine is found: our default image has one, another's
    is its asker's own choice, and a machine without images has none until somebody installs it."""
    return bool(default_image) and image_of(request, default_image) == default_image


def needs_of(request: Request | None, default_image: str) -> Needs:
    """What its machine must have before jobs run there."""
    setup = "" if request is None else request.setup
    return Needs(engine=needs_engine(request, default_image), setup=setup)


def order_of(
    one: Rental,
    request: Request | None,
    offer: Offer,
    keys: MachineKeys,
    now_ms: int,
    default_image: str,
) -> Order:
    """The machine of an intent, as its request has it."""
    asked_disk = 0 if request is None else request.disk_bytes
    return Order(
        label=one.label,
        offer=offer,
        image=image_of(request, default_image),
        disk_bytes=asked_disk or offer.disk_bytes or DEFAULT_DISK_BYTES,
        life_ms=max(S_MS, one.expires_ms - now_ms),
        lease_ms=LEASE_MS,
        user_public_key=keys.user_public_key,
        host_private_key=keys.host_private_key,
        bid_hourly_nusd=offer.hourly_nusd if offer.spot else None,
    )
