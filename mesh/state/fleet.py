"""Devices as the ledger knows them: the last registration of each, as the planner sees it."""

from dataclasses import dataclass
from typing import cast

from mathcore.device import DeviceKind, DeviceSpec
from mathcore.price import Rate
from mesh.state.facts.device import DeviceRegistered
from mesh.state.facts.fact import Payload, decode
from mesh.state.peer_id import peer_id

# As many as may be described (api/hardware). A peer may sign any number, and a plan looks at each.
MOST_CARDS = 1024
AUTHOR_HEX = 64  # an author is an ed25519 public key in hexadecimal


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceView:
    """One device: the facts of its last registration and when and by whom they were signed."""

    device_id: str
    name: str
    owner: str
    seen_ms: int
    payload: Payload

    @property
    def facts(self) -> DeviceRegistered:
        return decode(DeviceRegistered, self.payload)

    @property
    def hand_described(self) -> bool:
        """True when a person typed the hardware in; nobody can start a job there yet."""
        return self.facts.described_by == "hand"

    @property
    def kind(self) -> str:
        return self.facts.kind

    @property
    def model(self) -> str:
        return self.facts.model


def rate(device: DeviceView) -> Rate:
    """What an hour on this device costs as it was registered: owned (depreciation and electricity)
    or rented. What was said of it since counts before that (mesh.state.bills.in_force).

    A price or a draw of 0 was never stated.
    """
    return _rate(device.facts)


def _rate(facts: DeviceRegistered) -> Rate:
    return Rate(
        price_nusd=facts.price_nusd or None,
        resale_nusd=facts.resale_nusd,
        lifetime_months=facts.lifetime_months or 60,
        tariff_nusd_per_kwh=facts.tariff_nusd_per_kwh,
        watts=facts.watts * (facts.count or 1) or None,
        hourly_nusd=facts.hourly_nusd,
        basis="estimated",
        source=facts.described_by or "unknown",
    )


def host(device: DeviceView) -> str:
    """What devices of one host share: the owning peer's id, with its name for a host the peer
    reaches by SSH, or the name a person gave it; "" for hardware described alone."""
    return _host(device.facts, device.owner)


def _host(facts: DeviceRegistered, owner: str) -> str:
    if facts.described_by == "probe" and len(owner) == AUTHOR_HEX:
        ours = peer_id(owner)
        return f"{ours}/{facts.host}" if facts.transport == "ssh" and facts.host else ours
    return facts.host


def spec(device: DeviceView) -> DeviceSpec:
    """The device as the planner sees it."""
    facts = device.facts
    return DeviceSpec(
        device_id=device.device_id,
        name=device.name,
        kind=cast(DeviceKind, facts.kind),  # as its peer says it
        model=facts.model,
        count=min(facts.count or 1, MOST_CARDS),
        memory_bytes=facts.memory_bytes,
        free_bytes=facts.free_bytes,
        free_low_bytes=facts.free_low_bytes,
        free_basis=facts.free_basis,
        bandwidth_bytes_per_s=facts.bandwidth_bytes_per_s,
        bandwidth_basis=facts.bandwidth_basis,
        flops=facts.flops,
        watts=facts.watts,
        engines=facts.engines,
        location=facts.location,
        provider=facts.provider,
        ram_free_bytes=facts.ram_free_bytes,
        ram_bandwidth_bytes_per_s=facts.ram_bandwidth_bytes_per_s,
        rate=_rate(facts),
        host=_host(facts, device.owner),
        network_bps=facts.network_bps,
        disk_read_bytes_per_s=facts.disk_read_bytes_per_s,
    )
