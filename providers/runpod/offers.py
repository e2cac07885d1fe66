"""The catalogue as offers: GET /v2/catalog/gpus, once for each cloud and count of accelerators.

Prices are dollars an hour for one accelerator; sizes in GB of memory are GiB. The catalogue's
availability is of the one cloud and count that were asked for (SECURE and 1 where nothing was), so
secure and community are asked apart. The container's disk is billed beside it while the pod is up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Final, Literal

from providers.rental.contract import Ask, Offer, Reply, Request, Unread
from providers.rental.reading import mapping
from providers.rental.units import (
    GB,
    GIB,
    HOURS_IN_MONTH_730,
    scaled,
    usd_per_gb_month,
    usd_per_hour_each,
    whole,
)
from providers.runpod.profile import PROFILE
from providers.runpod.replies import said, unread

Cloud = Literal["SECURE", "COMMUNITY"]
CLOUDS: Final[tuple[Cloud, ...]] = ("SECURE", "COMMUNITY")
COUNTS: Final = (1, 2, 4, 8)  # what is looked for where any count will do
MAX_COUNT: Final = 64  # more in one machine is a mistake of theirs
MAX_TYPES: Final = 1_000  # it has about fifty
MAX_NAME: Final = 100
LEVELS: Final = ("LOW", "MEDIUM", "HIGH")  # the fourth is NONE
# Container disk while running, dollars a GB and month (docs.runpod.io, pods pricing); free when
# the pod is stopped, for it is wiped.
DISK_USD_GB_MONTH: Final = Decimal("0.10")


def offers_request(cloud: Cloud, count: int) -> Request:
    """Ask for one cloud's part of the catalogue, with what is free of `count` in one machine."""
    query = {"include": "AVAILABILITY", "product": "POD", "count": str(count), "cloud": cloud}
    return Request(op="offers", method="GET", path="/v2/catalog/gpus", query=query)


def offers_from(
    reply: Reply, cloud: Cloud, count: int, disk_bytes: int
) -> tuple[Offer, ...] | Unread:
    """One offer for each type that this cloud has with so many in a machine; a row that can't be
    read is left out."""
    if (failed := unread(reply)) is not None:
        return failed
    gpus = mapping(reply.body).get("gpus")
    if not isinstance(gpus, list) or len(gpus) > MAX_TYPES:
        return Unread(why="malformed")
    found = (_offer(mapping(gpu), cloud, count, disk_bytes) for gpu in gpus)
    return tuple(offer for offer in found if offer is not None)


def chosen(offers: tuple[Offer, ...], ask: Ask) -> tuple[Offer, ...]:
    """Those that are wanted: what is free comes first, then what is cheap."""
    wanted = [offer for offer in offers if offer.memory_bytes >= ask.memory_bytes]
    wanted.sort(key=lambda o: (not o.available, o.hourly_nusd, o.offer_id))
    return tuple(wanted[: ask.limit])


def disk_gb(disk_bytes: int) -> int:
    """Whole GB, rounded up: what is ordered and billed."""
    return max(1, -(-disk_bytes // GB))


def disk_rate(gigabytes: int) -> int:
    """What a container's disk costs while it is up, nano-dollars an hour."""
    return usd_per_gb_month(DISK_USD_GB_MONTH, gigabytes, HOURS_IN_MONTH_730) or 0


def offer_id(cloud: Cloud, count: int, gpu_id: str) -> str:
    """What a create needs to know of an offer."""
    return f"{cloud}/{count}/{gpu_id}"


def read_offer_id(text: str) -> tuple[Cloud, int, str] | None:
    """(cloud, count, id of the type), None of any other text."""
    cloud, _, rest = text.partition("/")
    count, _, gpu_id = rest.partition("/")
    known = next((one for one in CLOUDS if one == cloud), None)
    number = int(count) if count.isascii() and count.isdigit() and len(count) <= 2 else 0
    return (known, number, gpu_id) if known and 1 <= number <= MAX_COUNT and gpu_id else None


def _offer(gpu: Mapping[str, object], cloud: Cloud, count: int, disk_bytes: int) -> Offer | None:
    gpu_id, memory = gpu.get("id"), scaled(gpu.get("memory"), GIB)
    there = cloud.lower()
    price = usd_per_hour_each(mapping(gpu.get("price")).get(there), count)
    most = whole(mapping(gpu.get("maxCount")).get(there))
    if not isinstance(gpu_id, str) or not gpu_id or said(gpu_id, MAX_NAME) != gpu_id:
        return None
    if not memory or price is None or gpu.get(there) is not True or most is None or most < count:
        return None
    return Offer(
        provider=PROFILE.name,
        offer_id=offer_id(cloud, count, gpu_id),
        gpu=said(gpu.get("name"), MAX_NAME) or gpu_id,
        gpu_count=count,
        memory_bytes=memory,
        hourly_nusd=price + disk_rate(disk_gb(disk_bytes)),
        disk_bytes=disk_bytes,
        disk_hourly_nusd_per_gb=disk_rate(1),
        region=_region(gpu) if cloud == "SECURE" else "",
        available=gpu.get("availability") in LEVELS,
    )


def _region(gpu: Mapping[str, object]) -> str:
    """The one data centre that has it, "" where several or none are named."""
    named = set(_centres(gpu.get("dataCenters")))
    return named.pop() if len(named) == 1 else ""


def _centres(value: object) -> Iterator[str]:
    for centre in value[:MAX_TYPES] if isinstance(value, list) else []:
        name = said(mapping(centre).get("id"), MAX_NAME)
        if name and mapping(centre).get("availability") in LEVELS:
            yield name
