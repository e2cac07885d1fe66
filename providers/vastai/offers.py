"""What Vast.ai has for rent. All its prices are of the machine, not of one accelerator."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final

from providers.rental.contract import Ask, Offer, Reply, Request, Unread
from providers.rental.reading import identity, mapping, text, unread
from providers.rental.units import (
    HOURS_IN_MONTH_720,
    MIB,
    decimal_of,
    scaled,
    usd_per_gb,
    usd_per_gb_month,
    usd_per_hour,
    whole,
)
from providers.vastai.errors import failure
from providers.vastai.money import bid_nusd, disk_gb
from providers.vastai.profile import NAME

MAX_OFFERS: Final = 20_000  # of one reply: more than it has machines
_MBIT: Final = 1_000_000
_PPM: Final = 1_000_000
_MAX_NAME: Final = 80
_MAX_GPUS: Final = 1024
_MOST_CORES: Final = 1 << 20


def offers_request(ask: Ask) -> Request:
    """Rentable machines that Vast.ai has verified and ssh can reach directly, cheapest first."""
    price = "min_bid" if ask.spot else "dph_total"
    body: dict[str, object] = {
        "verified": {"eq": True},
        "external": {"eq": False},
        "rentable": {"eq": True},
        "rented": {"eq": False},
        "direct_port_count": {"gte": 1},
        "disk_space": {"gte": disk_gb(ask.disk_bytes)},
        "type": "bid" if ask.spot else "on-demand",
        "allocated_storage": disk_gb(ask.disk_bytes),
        "order": [[price, "asc"]],
        "limit": ask.limit,
    }
    if ask.memory_bytes:
        body["gpu_ram"] = {"gte": ask.memory_bytes // MIB}
    if ask.gpu_count:
        body["num_gpus"] = {"eq": ask.gpu_count}
    return Request(op="offers", method="POST", path="/api/v0/bundles/", body=body)


def offers_from(reply: Reply, ask: Ask) -> tuple[Offer, ...] | Unread:
    """The offers that fit `ask`; those without an id, a memory, a count or a price are left out."""
    if (failed := failure(reply)) is not None:
        return failed
    rows = mapping(reply.body).get("offers")
    if not isinstance(rows, list):
        return unread(reply)
    return tuple(islice(_read(rows[:MAX_OFFERS], ask), max(0, ask.limit)))


def _read(rows: list[object], ask: Ask) -> Iterator[Offer]:
    gigabytes = disk_gb(ask.disk_bytes)
    for row in rows:
        offer = _offer(mapping(row), ask, gigabytes)
        if offer is not None:
            yield offer


def _offer(row: dict[str, object], ask: Ask, gigabytes: int) -> Offer | None:
    count, memory = whole(row.get("num_gpus")), scaled(row.get("gpu_ram"), MIB)
    if not count or count > _MAX_GPUS or not memory or memory < ask.memory_bytes:
        return None
    offer_id = identity(row.get("id"))
    base = usd_per_hour(row.get("min_bid" if ask.spot else "dph_base"))
    storage = usd_per_gb_month(row.get("storage_cost"), gigabytes, HOURS_IN_MONTH_720)
    if not offer_id or base is None or storage is None or ask.gpu_count not in (0, count):
        return None
    return Offer(
        provider=NAME,
        offer_id=offer_id,
        gpu=text(row.get("gpu_name"), _MAX_NAME),
        gpu_count=count,
        memory_bytes=memory,
        hourly_nusd=(bid_nusd(base) if ask.spot else base) + storage,
        stopped_hourly_nusd=storage,
        disk_bytes=ask.disk_bytes,
        disk_hourly_nusd_per_gb=usd_per_gb_month(row.get("storage_cost"), 1, HOURS_IN_MONTH_720),
        egress_nusd_per_gb=usd_per_gb(row.get("inet_up_cost")) or 0,
        ingress_nusd_per_gb=usd_per_gb(row.get("inet_down_cost")) or 0,
        spot=ask.spot,
        region=text(row.get("geolocation"), _MAX_NAME),
        vcpus=_floor(row.get("cpu_cores_effective")),
        ram_bytes=scaled(row.get("cpu_ram"), MIB) or 0,
        network_bps=scaled(row.get("inet_down"), _MBIT) or 0,
        host_id=identity(row.get("machine_id")),
        reliability_ppm=_ppm(row.get("reliability2", row.get("reliability"))),
        available=row.get("rentable") is not False,
    )


def _floor(value: object) -> int:
    if type(value) is float and 0 <= value < _MOST_CORES:
        return int(value)
    found = decimal_of(value)
    return int(found) if found is not None and found > 0 else 0


def _ppm(share: object) -> int | None:
    found = decimal_of(share)
    return int(found * _PPM) if found is not None and 0 <= found <= 1 else None
