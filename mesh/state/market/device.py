"""A machine to rent as the planner sees it: the hardware its GPU's name means, its own memory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from mathcore.device import DeviceSpec
from mathcore.hardware.described import Described, describe
from mathcore.hardware.engines import engines_for
from mathcore.price import Rate
from mesh.state.market.quotes import TYPICAL, Quote

# Engines whose makers publish images for rented machines, CUDA built in: ghcr.io/ggml-org/llama.cpp
# and vllm/vllm-openai.
RENTED_ENGINES: Final = frozenset({"llama.cpp", "vllm"})
CLOUD: Final = "cloud"
# A plan looks at each: the cheapest of each kind at each provider, and no more than so many kinds.
MAX_CLOUD_DEVICES: Final = 256
QUOTED, TYPICALLY = "quoted", "typical"


def cheapest_of_kinds(quotes: Iterable[Quote]) -> list[Quote]:
    """Of each provider and kind the cheapest, of two the better connected; the cheapest first."""
    found: dict[tuple[object, ...], Quote] = {}
    for one in quotes:
        name = one.provider, *one.kind
        if name not in found or rank(one) < rank(found[name]):
            found[name] = one
    return sorted(found.values(), key=rank)[:MAX_CLOUD_DEVICES]


def rank(quote: Quote) -> tuple[object, ...]:
    """Orders quotes by price, then by how fast a model gets there; the same on every peer."""
    name = quote.provider, quote.gpu, quote.gpu_count, quote.region, quote.offer_id, quote.account
    return quote.hourly_nusd, -quote.network_bps, quote.spot, name


def device_of(quote: Quote) -> DeviceSpec | None:
    """The machine as a device; None where its GPU's name says nothing of its speed.

    It stands empty, and starts once it has booted, where it is known how long that takes.
    """
    what = hardware_of(quote.gpu, quote.memory_bytes)
    if what.facts is None:
        return None
    return DeviceSpec(
        device_id=device_id(quote),
        name=device_name(quote),
        kind=what.kind,
        model=what.name,
        count=quote.gpu_count,
        memory_bytes=quote.memory_bytes,
        free_bytes=min(what.free_bytes, quote.memory_bytes),
        free_basis="estimated",
        bandwidth_bytes_per_s=what.bandwidth_bytes_per_s,
        bandwidth_basis=what.bandwidth_basis,
        flops=what.flops,
        watts=what.facts.watts,
        engines=tuple(sorted(RENTED_ENGINES.intersection(engines_for(what.facts, what.kind)))),
        location=CLOUD,
        provider=quote.provider,
        ram_free_bytes=quote.ram_bytes,
        ram_bandwidth_bytes_per_s=0,
        rate=Rate(hourly_nusd=quote.hourly_nusd, basis=basis_of(quote), source=quote.source),
        network_bps=quote.network_bps,
        wait_ms=quote.boot_ms or 0,
    )


def basis_of(quote: Quote) -> str:
    """ "quoted" by the provider, or "typical" of such machines."""
    return TYPICALLY if quote.source == TYPICAL else QUOTED


def device_id(quote: Quote) -> str:
    """No device of anybody's has one like it."""
    what = quote.offer_id or "-".join(str(part) for part in (*quote.kind, quote.region))
    spot = ":spot" if quote.spot else ""  # Vast.ai rents one offer both ways
    return f"offer:{quote.provider}:{quote.account}:{what}{spot}"


def device_name(quote: Quote) -> str:
    """ "vastai 2x RTX 4090", "vastai spot RTX 4090": the mark stands where no table cuts it off."""
    spot = "spot " if quote.spot else ""
    count = f"{quote.gpu_count}x " if quote.gpu_count > 1 else ""
    return f"{quote.provider} {spot}{count}{quote.gpu}"


def hardware_of(gpu: str, memory_bytes: int) -> Described:
    """What a provider's name means. Its memory is what the offer says, whatever the name says:
    drivers report a little less than what is sold, and of that they kept their part already."""
    known = describe(gpu, memory_bytes)
    if known.facts is None or known.kind == "cpu":
        return known
    for gib in known.facts.memory_options:
        sold = gib << 30
        if memory_bytes < sold <= memory_bytes * DRIVER_REPORTS:
            return describe(gpu, sold)
    return known


# A card of 24 GiB was seen to report 0.48 GiB less, one of 48 with ECC a sixteenth.
DRIVER_REPORTS: Final = 1.07
