"""The hosts of Vast.ai's stand-in: what each offers, at what price, and which a search finds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_HALF_UP, Decimal

from providers.rental.contract import Ask, Offer

NANO = 10**9
DEFAULT_LIMIT = 64


@dataclass(kw_only=True)
class Host:
    """One offer of one host; prices are texts of dollars, as people set them."""

    id: int
    gpu: str
    memory_mb: int
    count: int = 1
    base: str = "0.4"  # $/h, of the machine
    min_bid: str = "0.2"
    storage: str = "0.15"  # $/GB/month
    up_cost: str = "0.002"  # $/GB
    down_cost: str = "0.001"
    machine_id: int = 0
    country: str = "Sweden, SE"
    cores: float = 16.0
    ram_mb: int = 64_000
    disk_gb: float = 500.0
    down_mbit: float = 900.0
    reliability: str = "0.995"
    verified: bool = True
    ports: int = 50
    free: int = 4  # so many can still be rented of it
    taken: list[str] = field(default_factory=list)

    def storage_nano(self, gigabytes: Decimal | int) -> int:
        """Nano-dollars an hour; a month has 720 hours."""
        return _whole(Decimal(self.storage) * gigabytes / 720 * NANO)


def _whole(value: Decimal) -> int:
    return int(value.to_integral_value(ROUND_HALF_UP))


def default_hosts() -> list[Host]:
    """Cards of one name and several memories, sets of several, and what no search should give."""
    return [
        Host(id=1001, gpu="RTX 4090", memory_mb=24564, base="0.3896", machine_id=501),
        Host(id=1002, gpu="RTX 4090", memory_mb=49140, base="0.71", min_bid="0.4", machine_id=502),
        Host(id=1003, gpu="RTX 3090", memory_mb=24576, base="0.18", min_bid="0.1", machine_id=503),
        Host(
            id=1004, gpu="H100 SXM", memory_mb=81559, count=8, base="15.2", min_bid="9.3333333",
            machine_id=504, ram_mb=2_064_000, cores=192, disk_gb=8000.0,
        ),
        Host(
            id=1005, gpu="A100 SXM4", memory_mb=40960, count=2, base="1.4", min_bid="0.8",
            machine_id=505, country="California, US",
        ),
        Host(id=1006, gpu="A100 SXM4", memory_mb=81920, base="0.93", min_bid="0.6", machine_id=506),
        Host(
            id=1007, gpu="Tesla T4", memory_mb=15360, base="0.1", min_bid="0.051234567",
            storage="0.149333", machine_id=507,
        ),
        Host(id=1008, gpu="RTX 5090", memory_mb=32607, base="0.55", machine_id=508, verified=False),
        Host(id=1009, gpu="RTX 5090", memory_mb=32607, base="0.52", machine_id=509, ports=0),
        Host(id=1010, gpu="RTX A5000", memory_mb=24564, base="0", min_bid="0", machine_id=510),
    ]  # fmt: skip


def row_of(host: Host, *, bid: bool, disk_gb: float) -> dict[str, object]:
    """An offer as a search shows it."""
    base = float(host.min_bid if bid else host.base)
    storage = host.storage_nano(Decimal(str(disk_gb))) / NANO
    return {
        "id": host.id,
        "ask_contract_id": host.id,
        "bundle_id": host.id + 100_000,
        "machine_id": host.machine_id,
        "host_id": host.machine_id + 7000,
        "gpu_name": host.gpu,
        "gpu_ram": host.memory_mb,
        "gpu_total_ram": host.memory_mb * host.count,
        "num_gpus": host.count,
        "gpu_frac": 1.0,
        "gpu_arch": "nvidia",
        "cpu_arch": "amd64",
        "cpu_cores": int(host.cores),
        "cpu_cores_effective": host.cores,
        "cpu_ram": host.ram_mb,
        "disk_space": host.disk_gb,
        "dph_base": base,
        "dph_total": round(base + storage, 9),
        "min_bid": float(host.min_bid),
        "storage_cost": float(host.storage),
        "storage_total_cost": storage,
        "inet_up": host.down_mbit / 2,
        "inet_down": host.down_mbit,
        "inet_up_cost": float(host.up_cost),
        "inet_down_cost": float(host.down_cost),
        "geolocation": host.country,
        "reliability": float(host.reliability),
        "reliability2": float(host.reliability),
        "direct_port_count": host.ports,
        "static_ip": True,
        "is_bid": bid,
        "rentable": host.free > len(host.taken),
        "rented": False,
        "external": False,
        "verified": host.verified,
        "verification": "verified" if host.verified else "unverified",
        "cuda_max_good": 12.8,
        "duration": 2_592_000.0,
        "start_date": 1_790_000_000.5,
        "end_date": 1_893_456_000.0,
        "score": 100.0,
    }


def search(hosts: Sequence[Host], body: Mapping[str, object]) -> list[dict[str, object]]:
    """The offers that a search's body asks for; operands may be texts, as the vendor sends them."""
    bid = body.get("type") in ("bid", "interruptible")
    disk = _number(body.get("allocated_storage"))
    rows = [row_of(host, bid=bid, disk_gb=8.0 if disk is None else float(disk)) for host in hosts]
    asked = {"verified": {"eq": True}, "rentable": {"eq": True}, "rented": {"eq": False}, **body}
    found = [row for row in rows if all(_fits(row, k, v) for k, v in asked.items())]
    for order in reversed(_orders(body.get("order"))):
        found.sort(key=lambda row: _rank(row.get(order[0])), reverse=order[1] == "desc")
    limit = _number(body.get("limit"))
    return found[: DEFAULT_LIMIT if limit is None else int(limit)]


def _orders(value: object) -> list[tuple[str, str]]:
    pairs = value if isinstance(value, list) else []
    return [(str(p[0]), str(p[1])) for p in pairs if isinstance(p, list) and len(p) == 2]


def _rank(value: object) -> tuple[int, float, str]:
    number = _number(value)
    return (0, float(number), "") if number is not None else (1, 0.0, str(value))


def _number(value: object) -> Decimal | None:
    if isinstance(value, bool):
        return Decimal(int(value))
    try:
        return Decimal(str(value)) if isinstance(value, int | float | str) else None
    except ArithmeticError:
        return None


def _fits(row: Mapping[str, object], name: str, ops: object) -> bool:
    if name not in row or not isinstance(ops, dict):
        return True  # an unknown filter and what is none
    return all(_holds(row[name], op, operand) for op, operand in ops.items())


def _holds(value: object, op: str, operand: object) -> bool:
    if op in ("in", "notin"):
        inside = any(_same(value, one) for one in operand) if isinstance(operand, list) else False
        return inside == (op == "in")
    if op in ("eq", "neq"):
        return _same(value, operand) == (op == "eq")
    left, right = _number(value), _number(operand)
    if left is None or right is None:
        return False
    return {"gt": left > right, "gte": left >= right, "lt": left < right, "lte": left <= right}.get(
        op, True
    )


def _same(value: object, operand: object) -> bool:
    if isinstance(value, bool):
        return value == (str(operand).lower() in ("true", "1", "any"))
    left, right = _number(value), _number(operand)
    if left is not None and right is not None:
        return left == right
    return str(value) == str(operand)


def as_offer(host: Host, ask: Ask) -> Offer:
    """The same host in the contract's own words, worked out without the adapter."""
    gigabytes = max(8, math.ceil(ask.disk_bytes / 10**9))
    storage = host.storage_nano(gigabytes)
    price = Decimal(host.min_bid if ask.spot else host.base)
    if ask.spot:  # bids are sent in steps of $0.0001, so what is quoted is rounded up to one
        price = (price * 10_000).to_integral_value(ROUND_CEILING) / 10_000
    return Offer(
        provider="vastai",
        offer_id=str(host.id),
        gpu=host.gpu,
        gpu_count=host.count,
        memory_bytes=host.memory_mb * 2**20,
        hourly_nusd=_whole(price * NANO) + storage,
        stopped_hourly_nusd=storage,
        disk_bytes=ask.disk_bytes,
        disk_hourly_nusd_per_gb=host.storage_nano(1),
        egress_nusd_per_gb=_whole(Decimal(host.up_cost) * NANO),
        ingress_nusd_per_gb=_whole(Decimal(host.down_cost) * NANO),
        spot=ask.spot,
        region=host.country,
        vcpus=int(host.cores),
        ram_bytes=host.ram_mb * 2**20,
        network_bps=int(host.down_mbit * 10**6),
        host_id=str(host.machine_id),
        reliability_ppm=int(Decimal(host.reliability) * 10**6),
    )


def wanted(host: Host) -> bool:
    """Whether a search of ours should give it."""
    priced = Decimal(host.base) > 0
    return host.verified and host.ports > 0 and priced and host.free > len(host.taken)
