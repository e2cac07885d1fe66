"""Devices as the ledger knows them: the last registration of each, as the planner sees it."""

from dataclasses import dataclass
from typing import cast

from mathcore.device import DeviceKind, DeviceSpec
from mathcore.price import Rate
from mesh.state.peer_id import peer_id

Payload = dict[str, object]
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
    def hand_described(self) -> bool:
        """True when a person typed the hardware in; nobody can start a job there yet."""
        return text(self.payload, "described_by") == "hand"

    @property
    def kind(self) -> str:
        return text(self.payload, "kind")

    @property
    def model(self) -> str:
        return text(self.payload, "model")

    @property
    def count(self) -> int:
        return whole(self.payload, "count") or 1

    @property
    def memory_bytes(self) -> int:
        return whole(self.payload, "memory_bytes")

    @property
    def free_bytes(self) -> int:
        return whole(self.payload, "free_bytes")

    @property
    def free_basis(self) -> str:
        return text(self.payload, "free_basis")

    @property
    def location(self) -> str:
        return text(self.payload, "location")

    @property
    def transport(self) -> str:
        return text(self.payload, "transport")

    @property
    def provider(self) -> str:
        return text(self.payload, "provider")

    @property
    def engines(self) -> tuple[str, ...]:
        found = self.payload.get("engines")
        return tuple(str(name) for name in found) if isinstance(found, list) else ()


def whole(payload: Payload, key: str) -> int:
    """The integer at `key`, 0 where a peer left it out or wrote something else."""
    value = payload.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def text(payload: Payload, key: str) -> str:
    """The text at `key`, "" where a peer left it out or wrote something else."""
    value = payload.get(key)
    return value if isinstance(value, str) else ""


def rate(device: DeviceView) -> Rate:
    """What an hour on this device costs: owned (depreciation and electricity) or rented."""
    payload = device.payload
    return Rate(
        price_nusd=whole(payload, "price_nusd"),
        resale_nusd=whole(payload, "resale_nusd"),
        lifetime_months=whole(payload, "lifetime_months") or 60,
        tariff_nusd_per_kwh=whole(payload, "tariff_nusd_per_kwh"),
        watts=whole(payload, "watts") * device.count,
        hourly_nusd=whole(payload, "hourly_nusd"),
        basis="estimated",
        source=text(payload, "described_by") or "unknown",
    )


def host(device: DeviceView) -> str:
    """What devices of one host share: the owning peer's id, or the name a person gave it; "" for
    hardware described alone."""
    if text(device.payload, "described_by") == "probe" and len(device.owner) == AUTHOR_HEX:
        return peer_id(device.owner)
    return text(device.payload, "host")


def spec(device: DeviceView) -> DeviceSpec:
    """The device as the planner sees it."""
    payload = device.payload
    return DeviceSpec(
        device_id=device.device_id,
        name=device.name,
        kind=cast(DeviceKind, device.kind),  # as its peer says it
        model=device.model,
        count=device.count,
        memory_bytes=device.memory_bytes,
        free_bytes=device.free_bytes,
        free_basis=device.free_basis,
        bandwidth_bytes_per_s=whole(payload, "bandwidth_bytes_per_s"),
        bandwidth_basis=text(payload, "bandwidth_basis"),
        flops=whole(payload, "flops"),
        watts=whole(payload, "watts"),
        engines=device.engines,
        location=device.location,
        provider=device.provider,
        ram_free_bytes=whole(payload, "ram_free_bytes"),
        ram_bandwidth_bytes_per_s=whole(payload, "ram_bandwidth_bytes_per_s"),
        rate=rate(device),
        host=host(device),
        network_bps=whole(payload, "network_bps"),
    )
