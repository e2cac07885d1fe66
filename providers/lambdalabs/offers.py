"""Instance types as offers: one for each type and region that has capacity.

A price is US cents an hour for the whole instance, everything in it. How much memory a card has
stands in the type's description alone: "8x A100 (80 GB SXM4)", whose GB are GiB, as in the names
that their makers sell them under. What can't be read there is left out, and said.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal, final

from providers.lambdalabs.errors import unread
from providers.lambdalabs.profile import API, NAME
from providers.lambdalabs.reading import items, text, word
from providers.rental.contract import Ask, Offer, Reply, Request, Unread
from providers.rental.reading import mapping
from providers.rental.units import GIB, cents_per_hour, scaled, whole

# "no_gpu": a processor alone. "memory": its description does not say. "count": it says another
# number of cards than the specification. "price": none, or not above 0.
LeftOut = Literal["odd", "no_gpu", "memory", "count", "price"]

# "1x A10 (24 GB PCIe)", "8x H100 (80 GB SXM5)", "1x GH200 (96 GB)"
_DESCRIPTION: Final = re.compile(
    r"(?P<count>[1-9][0-9]{0,2})x (?P<gpu>[A-Za-z0-9][A-Za-z0-9 .+-]{0,60} "
    r"\((?P<gib>[1-9][0-9]{0,3}) GB(?: [A-Za-z0-9]{1,12}(?: [A-Za-z0-9]{1,12})?)?\))"
)
_TYPE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_REGION: Final = re.compile(r"[a-z][a-z0-9-]{0,59}")
MAX_TYPES: Final = 2_000  # it has about thirty


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """Offers, and how many types were left out, by why; `names` are those that a person can tell
    the provider of: not machines without cards, which are no mistake."""

    offers: tuple[Offer, ...]
    left_out: Mapping[LeftOut, int] = field(default_factory=dict)
    names: tuple[str, ...] = ()


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Cards:
    """What a description says."""

    count: int
    gpu: str
    memory_bytes: int


def request() -> Request:
    """All types with their capacity."""
    return Request(op="offers", method="GET", path=f"{API}/instance-types")


def offer_id_of(type_name: str, region: str) -> str:
    """What a launch needs to know, as one text."""
    return f"{type_name}/{region}"


def type_and_region(offer_id: str) -> tuple[str, str] | None:
    """The two parts; None of any other text."""
    type_name, _, region = offer_id.partition("/")
    if _TYPE.fullmatch(type_name) is None or _REGION.fullmatch(region) is None:
        return None
    return type_name, region


def cards_of(description: object) -> Cards | None:
    """How many cards of how much memory; None where the text says it in any other way."""
    found = _DESCRIPTION.fullmatch(description) if isinstance(description, str) else None
    if found is None:
        return None
    return Cards(count=int(found["count"]), gpu=found["gpu"], memory_bytes=int(found["gib"]) * GIB)


def read(reply: Reply, ask: Ask) -> Read | Unread:
    """The offers that fit `ask`; there are none of spot."""
    data = mapping(reply.body).get("data")
    if reply.status != 200 or not isinstance(data, dict):
        return unread(reply)
    if len(data) > MAX_TYPES:
        return Unread(why="malformed", text=f"{len(data)} instance types")
    offers: list[Offer] = []
    left: Counter[LeftOut] = Counter()
    names: list[str] = []
    for name, value in data.items():
        found = _type(value)
        if isinstance(found, str):
            left[found] += 1
            names += [] if found == "no_gpu" else [text(name, 100)]
        else:
            offers += (one for one in _in_regions(found, value) if _fits(one, ask))
    offers.sort(key=lambda one: (one.hourly_nusd, one.offer_id))
    return Read(offers=tuple(offers[: max(0, ask.limit)]), left_out=dict(left), names=tuple(names))


def _type(value: object) -> Offer | LeftOut:
    """A type as an offer without a region, or why it is none."""
    one = mapping(mapping(value).get("instance_type"))
    specs = mapping(one.get("specs"))
    name, gpus, price = (
        word(one.get("name")),
        whole(specs.get("gpus")),
        one.get("price_cents_per_hour"),
    )
    if _TYPE.fullmatch(name) is None or gpus is None:
        return "odd"
    if gpus == 0:
        return "no_gpu"
    cards = cards_of(one.get("description"))
    if cards is None:
        return "memory"
    if cards.count != gpus:
        return "count"
    hourly = cents_per_hour(price)
    if not hourly:
        return "price"
    return _offer(name, cards, hourly, specs)


def _offer(name: str, cards: Cards, hourly: int, specs: Mapping[str, object]) -> Offer:
    return Offer(
        provider=NAME,
        offer_id=name,
        gpu=cards.gpu,
        gpu_count=cards.count,
        memory_bytes=cards.memory_bytes,
        hourly_nusd=hourly,
        disk_bytes=scaled(specs.get("storage_gib"), GIB) or 0,
        vcpus=whole(specs.get("vcpus")) or 0,
        ram_bytes=scaled(specs.get("memory_gib"), GIB) or 0,
    )


def _in_regions(one: Offer, value: object) -> Iterator[Offer]:
    """It, once for each region with capacity."""
    regions = items(mapping(value).get("regions_with_capacity_available")) or []
    names = {word(mapping(region).get("name")) for region in regions}
    for region in sorted(name for name in names if _REGION.fullmatch(name)):
        yield replace(one, offer_id=offer_id_of(one.offer_id, region), region=region)


def _fits(one: Offer, ask: Ask) -> bool:
    return (
        not ask.spot
        and one.memory_bytes >= ask.memory_bytes
        and ask.gpu_count in (0, one.gpu_count)
        # A disk of unknown size is not taken for one that is too small.
        and not 0 < one.disk_bytes < ask.disk_bytes
    )
