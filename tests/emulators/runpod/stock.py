"""What the stand-in has to rent, as its catalogue and as the contract's offers.

Prices are nano-dollars an hour of one accelerator here; the catalogue shows them as dollars.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from providers.rental.contract import Offer

USD = 1_000_000_000
DISK_NUSD_GB_MONTH = 100_000_000  # $0.10
MONTH_HOURS = 730
CLOUDS = ("SECURE", "COMMUNITY")
CENTRES = {"US-KS-2": "US", "EU-RO-1": "RO"}
NO_CAPACITY = (
    "There are no longer any instances available with the requested specifications."
    " Please refresh and try again."
)


@dataclass(frozen=True)
class Gpu:
    """One type. By cloud: the price, the largest machine, and how many are free in one machine."""

    id: str
    name: str
    memory: int  # GiB, called GB
    pool: str | None
    price: tuple[int, int]
    most: tuple[int, int]
    free: tuple[int, int]
    centres: tuple[str, ...] = tuple(CENTRES)


GPUS = (
    Gpu("NVIDIA GeForce RTX 4090", "RTX 4090", 24, "ADA_24", (690_000_000, 340_000_000), (8, 8),
        (8, 4)),
    Gpu("NVIDIA L4", "L4", 24, "AMPERE_24", (390_000_000, 0), (4, 0), (4, 0), ("EU-RO-1",)),
    Gpu("NVIDIA A100 80GB PCIe", "A100 PCIe", 80, "AMPERE_80", (1_640_000_000, 1_190_000_000),
        (8, 2), (1, 0)),
    # A slice of a card that was cut in hardware: a type of its own.
    Gpu("NVIDIA H100 80GB HBM3 MIG 1g.24gb", "H100 MIG 24GB", 24, None, (790_000_000, 0), (1, 0),
        (1, 0)),
    Gpu("NVIDIA H200", "H200 SXM", 141, "HOPPER_141", (3_990_000_000, 3_590_000_000), (8, 8),
        (0, 8)),
    # Shown without a price, as types are before they are sold.
    Gpu("NVIDIA B300", "B300", 288, None, (0, 0), (8, 8), (0, 0)),
)  # fmt: skip
BY_ID: Mapping[str, Gpu] = {gpu.id: gpu for gpu in GPUS}


def dollars(nusd: int) -> float:
    return nusd / USD


def disk_rate(gigabytes: int) -> int:
    """Of a container's disk while it runs, nano-dollars an hour."""
    return (2 * gigabytes * DISK_NUSD_GB_MONTH + MONTH_HOURS) // (2 * MONTH_HOURS)


def level(free: int, count: int) -> str:
    machines = free // count
    return (
        "NONE" if not machines else "LOW" if machines < 2 else "MEDIUM" if machines < 5 else "HIGH"
    )


def free_of(gpu: Gpu, cloud: str, gone: Mapping[tuple[str, str], int]) -> int:
    """How many are left; `gone` overrides: (type, cloud) -> free."""
    return gone.get((gpu.id, cloud), gpu.free[CLOUDS.index(cloud)])


def entry(gpu: Gpu, free: int | None, count: int, in_cloud: str) -> dict[str, object]:
    """One type as the catalogue shows it; `free` None: availability was not asked for."""
    shown: dict[str, object] = {
        "id": gpu.id,
        "name": gpu.name,
        "pool": gpu.pool,
        "manufacturer": "NVIDIA",
        "memory": gpu.memory,
        "secure": gpu.most[0] > 0,
        "community": gpu.most[1] > 0,
        "price": {"secure": dollars(gpu.price[0]), "community": dollars(gpu.price[1])},
        "maxCount": {"secure": gpu.most[0], "community": gpu.most[1]},
    }
    if free is not None:
        found = level(free, count)
        shown["availability"] = found
        shown["cudaVersions"] = [{"version": "12.8", "available": found != "NONE"}]
        if found != "NONE" and in_cloud == "SECURE":
            centres = [{"id": c, "name": c, "availability": found} for c in gpu.centres]
            shown["dataCenters"] = centres
    return shown


def offers(gone: Mapping[tuple[str, str], int], disk_bytes: int = 40 << 30) -> list[Offer]:
    """All of it in the contract's words: what is free first, then what is cheap."""
    found = []
    gigabytes = (disk_bytes + 10**9 - 1) // 10**9
    for gpu in GPUS:
        for at, cloud in enumerate(CLOUDS):
            for count in (1, 2, 4, 8):
                free = free_of(gpu, cloud, gone)
                if count > gpu.most[at] or not gpu.price[at]:
                    continue
                one = at == 0 and len(gpu.centres) == 1 and free >= count
                found.append(
                    Offer(
                        provider="runpod",
                        offer_id=f"{cloud}/{count}/{gpu.id}",
                        gpu=gpu.name,
                        gpu_count=count,
                        memory_bytes=gpu.memory << 30,
                        hourly_nusd=gpu.price[at] * count + disk_rate(gigabytes),
                        disk_bytes=disk_bytes,
                        disk_hourly_nusd_per_gb=disk_rate(1),
                        region=gpu.centres[0] if one else "",
                        available=free >= count,
                    )
                )
    return sorted(found, key=lambda o: (not o.available, o.hourly_nusd, o.offer_id))
