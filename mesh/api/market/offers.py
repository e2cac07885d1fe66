"""Machines owned and machines to rent as rows of one table, JSON-ready, the cheapest first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mathcore.price import hourly_nusd, unknown_parts
from mesh.api.market.asked import OfferFilter
from mesh.api.rows import Row, is_ours, peer_name
from mesh.state.bills.in_force import InForce
from mesh.state.fleet import DeviceView
from mesh.state.market.device import basis_of, rank
from mesh.state.market.quotes import Quote, with_disk
from mesh.state.state import State


def offers_answer(
    state: State, quotes: Iterable[Quote], wanted: OfferFilter, now_ms: int
) -> dict[str, object]:
    """What is wanted, and where each provider's prices come from and how old they are."""
    known = tuple(quotes)
    offers = sorted(_wanted(wanted, known), key=rank)
    owned = _owned_rows(state, wanted, now_ms)
    rows = [*owned, *(offer_row(one, now_ms) for one in offers[: wanted.limit])]
    return {
        "offers": sorted(rows, key=_price),
        "more": max(0, len(offers) - wanted.limit),
        "sources": source_rows(known, now_ms),
    }


def _price(row: Row) -> int:
    """Owned machines of no known price come first: nobody is charged for them."""
    nusd = row["hourly_nusd"]
    return nusd if isinstance(nusd, int) else 0


def _wanted(wanted: OfferFilter, known: Iterable[Quote]) -> Iterator[Quote]:
    """Those that are wanted, with the disk that is asked for and at its price."""
    for one in known:
        sold = one if wanted.disk_bytes is None else with_disk(one, wanted.disk_bytes)
        if sold is not None and _takes(wanted, sold):
            yield sold


def _takes(wanted: OfferFilter, one: Quote) -> bool:
    return (
        wanted.spot in (None, one.spot)
        and (wanted.max_nusd is None or one.hourly_nusd <= wanted.max_nusd)
        and wanted.provider in ("", one.provider)
        and wanted.takes_gpu(one.gpu, one.gpu_count, one.memory_bytes)
    )


def offer_row(one: Quote, now_ms: int) -> Row:
    """A quote as JSON; what is not known is null."""
    return {
        "owned": False,
        "provider": one.provider,
        "account": one.account or None,
        "offer": one.offer_id or None,
        "device": None,
        "device_id": None,
        "peer": None,
        "gpu": one.gpu,
        "gpu_count": one.gpu_count,
        "memory_bytes": one.memory_bytes,
        "hourly_nusd": one.hourly_nusd,
        "lacks": [],
        "median_nusd": one.median_nusd or None,
        "n": one.n,
        "spot": one.spot,
        "region": one.region or None,
        "source": one.source,
        "basis": basis_of(one),
        "at_ms": one.at_ms,
        "age_ms": age_ms(one, now_ms),
        "stopped_hourly_nusd": one.stopped_hourly_nusd or None,
        "ingress_nusd_per_gb": one.ingress_nusd_per_gb or None,
        "egress_nusd_per_gb": one.egress_nusd_per_gb or None,
        "disk_bytes": one.disk_bytes or None,
        "disk_hourly_nusd_per_gb": one.disk_hourly_nusd_per_gb,
        "ram_bytes": one.ram_bytes or None,
        "vcpus": one.vcpus or None,
        "network_bps": one.network_bps or None,
        "host": one.host_id or None,
        "reliability_ppm": one.reliability_ppm,
        "boot_ms": one.boot_ms,
        "billed_boot_ms": one.billed_boot_ms,
        "success_ppm": one.success_ppm,
    }


def age_ms(one: Quote, now_ms: int) -> int:
    """How long ago a price was so; 0 of one whose clock is ahead of ours."""
    return max(0, now_ms - one.at_ms)


def source_rows(quotes: Iterable[Quote], now_ms: int) -> list[Row]:
    """Of each provider and account where its prices come from: a row each, by name."""
    found: dict[tuple[str, str], list[Quote]] = {}
    for one in quotes:
        found.setdefault((one.provider, one.account), []).append(one)
    return [
        {
            "provider": provider,
            "account": account or None,
            "source": members[0].source,
            "at_ms": members[0].at_ms,
            "age_ms": age_ms(members[0], now_ms),
            "n": sum(one.n for one in members),
        }
        for (provider, account), members in sorted(found.items())
    ]


def _owned_rows(state: State, wanted: OfferFilter, now_ms: int) -> list[Row]:
    """The fleet's own accelerators; none where a provider or only spot machines are asked for."""
    if wanted.provider or wanted.spot:
        return []
    found, now = [], InForce(state, now_ms)
    for view in sorted(list(state.devices.values()), key=lambda one: (one.name, one.device_id)):
        facts, rate = view.facts, now.price(view)
        lacks = unknown_parts(rate)
        known = None if len(lacks) > 1 else hourly_nusd(rate) or None
        dear = wanted.max_nusd is not None and (known or 0) > wanted.max_nusd
        is_card = facts.kind != "cpu" and is_ours(state, view)
        if dear or not is_card:
            continue
        if wanted.takes_gpu(facts.model, facts.count or 1, facts.memory_bytes):
            found.append(_owned_row(state, view, known, list(lacks), now_ms))
    return found


def _owned_row(
    state: State, view: DeviceView, nusd: int | None, lacks: list[object], now_ms: int
) -> Row:
    """A device in the words of an offer."""
    facts = view.facts
    return {
        "owned": True,
        "provider": None,
        "account": None,
        "offer": None,
        "device": view.name,
        "device_id": view.device_id,
        "peer": peer_name(state, view.owner),
        "gpu": facts.model,
        "gpu_count": facts.count or 1,
        "memory_bytes": facts.memory_bytes,
        "hourly_nusd": nusd,
        "lacks": lacks,
        "median_nusd": None,
        "n": 1,
        "spot": False,
        "region": None,
        "source": "device",
        "basis": "quoted" if facts.hourly_nusd else "estimated",
        "at_ms": view.seen_ms,
        "age_ms": max(0, now_ms - view.seen_ms),
    }
