"""What Lambda Cloud's stand-in rents out: types in the API's own shape, with its traps.

A row is (type, description, cents an hour, vCPUs, RAM GiB, disk GiB, cards, regions). Prices are
those of 2026 or near them.
"""

from __future__ import annotations

from providers.rental.contract import Offer

CENT = 10_000_000  # nano-dollars
GIB = 1 << 30
REGIONS = {
    "us-east-1": "Virginia, USA",
    "us-west-1": "California, USA",
    "us-south-2": "North Texas, USA",
    "europe-central-1": "Germany",
}
Kind = tuple[str, str, int, int, int, int, int, tuple[str, ...]]
KINDS: tuple[Kind, ...] = (
    ("gpu_1x_a10", "1x A10 (24 GB PCIe)", 129, 30, 200, 1400, 1, ("us-east-1", "us-west-1")),
    ("gpu_1x_gh200", "1x GH200 (96 GB)", 229, 64, 432, 4096, 1, ("us-east-1",)),
    ("gpu_1x_h100_pcie", "1x H100 (80 GB PCIe)", 329, 26, 225, 1024, 1, ("us-south-2",)),
    # The price is the machine's, not a card's.
    ("gpu_8x_a100", "8x A100 (40 GB SXM4)", 1592, 124, 1800, 6144, 8, ("europe-central-1",)),
    ("gpu_2x_b200_sxm6", "2x B200 (180 GB SXM6)", 1378, 52, 720, 5632, 2, ()),  # no capacity
    ("cpu_4x_general", "4 vCPU General", 20, 4, 16, 512, 0, ("us-east-1",)),  # no card
    # Its memory stands nowhere: not an offer.
    ("gpu_1x_mystery", "1x Example (ask us)", 99, 8, 64, 512, 1, ("us-west-1",)),
)
BY_NAME = {kind[0]: kind for kind in KINDS}


def type_of(kind: Kind, cents: float | None = None) -> dict[str, object]:
    """As the API has a type; `cents`: another price than its own."""
    name, description, own, vcpus, memory, storage, gpus, _ = kind
    return {
        "name": name,
        "description": description,
        "gpu_description": description.partition("x ")[2] or "N/A",
        "price_cents_per_hour": own if cents is None else cents,
        "specs": {
            "vcpus": vcpus,
            "memory_gib": memory,
            "storage_gib": storage,
            "gpus": gpus,
        },
    }


def region_of(name: str) -> dict[str, str]:
    """As the API has a region."""
    return {"name": name, "description": REGIONS[name]}


def types() -> dict[str, object]:
    """As `GET /instance-types` lists them."""
    return {
        kind[0]: {
            "instance_type": type_of(kind),
            "regions_with_capacity_available": [region_of(name) for name in kind[7]],
        }
        for kind in KINDS
    }


# Written by hand, beside the adapter and not by it.
MEMORY_GIB = {"gpu_1x_a10": 24, "gpu_1x_gh200": 96, "gpu_1x_h100_pcie": 80, "gpu_8x_a100": 40}


def stock() -> list[Offer]:
    """What of it can be rented, as the contract's offers, cheapest first."""
    found = [
        Offer(
            provider="lambdalabs",
            offer_id=f"{kind[0]}/{region}",
            gpu=kind[1].partition("x ")[2],
            gpu_count=kind[6],
            memory_bytes=MEMORY_GIB[kind[0]] * GIB,
            hourly_nusd=kind[2] * CENT,
            disk_bytes=kind[5] * GIB,
            region=region,
            vcpus=kind[3],
            ram_bytes=kind[4] * GIB,
        )
        for kind in KINDS
        if kind[0] in MEMORY_GIB
        for region in kind[7]
    ]
    return sorted(found, key=lambda one: (one.hourly_nusd, one.offer_id))
