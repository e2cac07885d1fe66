"""Prices of machines to rent: which are refused, how they are grouped, whose turn it is to ask.

Pure: what a provider said and what the ledger knows comes in, a decision goes out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median_low
from typing import Final, final

from mathcore.hardware.names import lookup_gpu
from mathcore.market.typical import Typical
from mathcore.units import MAX_HOURLY_NUSD, show_nusd
from mesh.state.facts.offers import OfferRow
from mesh.state.market.groups import (
    MAX_GPU_COUNT,
    MAX_GPU_NAME,
    MAX_MEMORY_BYTES,
    MAX_ROWS,
    Group,
    Kind,
    Place,
    kind_of,
)
from mesh.state.market.market import LEAST_SAMPLES, Usual
from mesh.state.market.quotes import Quote

# How often one peer asks each account's provider: Vast.ai lets one ask ten times a minute, and the
# others see the prices through the ledger.
REFRESH_MS: Final = 300_000
# Nobody owns the account yet, and who asked last was not heard for a turn and a half: another does.
TAKE_OVER_MS: Final = 450_000
# A price this far from the usual one is a mistake or bait: a B200 was once offered at $0.01.
DEAREST: Final = 5
CHEAPEST: Final = 5  # one so many times cheaper
# Where the ledger has not LEAST_SAMPLES of a kind, the table this program came with counts, and
# then the offers themselves, if there are enough.
LEAST_OFFERS: Final = 5
# What a driver may keep of a card's memory as sold: an L40S of 48 GiB reports 45.
DRIVER_SHARE: Final = 0.08
# A kind's cheapest or median that moved by less is no news, nor that there are more or fewer: of
# Vast.ai's hundred kinds some ten move so far in five minutes, which is 1 KB.
NEWS_PERCENT: Final = 5
_COUNTRY: Final = re.compile(r"(?<![A-Z])[A-Z]{2}(?![A-Z])")
_EUROPE: Final = frozenset(
    "AL AT BA BE BG BY CH CY CZ DE DK EE ES EU FI FR GB GR HR HU IE IS IT LT LU LV MD MK MT NL NO "
    "PL PT RO RS SE SI SK UA UK".split()
)
_PACIFIC: Final = frozenset(
    "AP AU BD CN HK ID IN JP KH KR KZ LK MN MO MY NP NZ PH PK SG TH TW VN".split()
)


_CLASSES: Final = {
    "US": "us",
    "CA": "other",
    **dict.fromkeys(_EUROPE, "eu"),
    **dict.fromkeys(_PACIFIC, "ap"),
}


@final
@dataclass(frozen=True, slots=True)
class Refused:
    """A quote that nobody should see, and why."""

    quote: Quote
    why: str


@final
@dataclass(frozen=True, slots=True)
class Against:
    """What a price is held against, and what that rests on."""

    nusd: int
    basis: str


def is_due(
    *,
    now_ms: int,
    me: str,
    owner: str = "",
    tried_ms: int | None = None,
    seen_ms: int | None = None,
    seen_by: str = "",
) -> bool:
    """Whether this peer, which has the account's key, asks its provider now.

    `owner` is whose account it is by the ledger, "" where nobody said; `tried_ms` when this process
    asked last; `seen_ms` and `seen_by` when and by whom the ledger was told last.
    """
    # A clock that was set back must not keep us from asking until it is there again.
    just_tried = tried_ms is not None and 0 <= now_ms - tried_ms < REFRESH_MS
    if owner not in ("", me) or just_tried:
        return False
    by_other = seen_ms is not None and seen_by not in ("", me)
    # A date far ahead of ours is another's wrong clock; it must not keep everybody from asking.
    fresh = seen_ms is not None and -REFRESH_MS < now_ms - seen_ms < TAKE_OVER_MS
    return owner == me or not (by_other and fresh)


def typical_by_hardware(rows: Iterable[Typical]) -> dict[tuple[str, Kind], int]:
    """The table's prices by provider and kind, the GPU by its name in the tables of hardware."""
    return {
        (row.provider, Kind(row.gpu, row.gpu_count, row.memory_bytes >> 30, row.spot)): (
            row.hourly_nusd
        )
        for row in rows
    }


def refused_for(quote: Quote, against: Against | None) -> str:
    """Why a quote is not taken: no price, no machine, or too far from the usual; "" = it is."""
    if quote.hourly_nusd <= 0:
        return "it has no price"
    if quote.hourly_nusd > MAX_HOURLY_NUSD:
        return "no machine costs so much"
    if not (0 < quote.gpu_count <= MAX_GPU_COUNT and 0 < quote.memory_bytes <= MAX_MEMORY_BYTES):
        return "what it is is not told"
    if not 0 < len(quote.gpu) <= MAX_GPU_NAME:
        return "its GPU has no name"
    if against is None:
        return ""
    price, usual = quote.hourly_nusd, f"{show_nusd(against.nusd)}, {against.basis}"
    if price > DEAREST * against.nusd:
        return f"{show_nusd(price)} an hour is more than {DEAREST} times {usual}"
    if price * CHEAPEST < against.nusd:
        return f"{show_nusd(price)} an hour is less than a fifth of {usual}"
    return ""


def judged(
    quotes: Sequence[Quote],
    usual: Mapping[Kind, Usual],
    typical: Mapping[tuple[str, Kind], int],
) -> tuple[tuple[Quote, ...], tuple[Refused, ...]]:
    """(those to be taken, those refused) of one provider's quotes.

    `usual`: what the ledger knows of the week before; `typical`: `typical_by_hardware`.
    """
    prices: dict[Kind, list[int]] = {}
    for one in quotes:
        if one.hourly_nusd > 0:
            prices.setdefault(one.kind, []).append(one.hourly_nusd)
    held = {
        kind: _against(kind, usual.get(kind), typical, prices[kind], quotes[0].provider)
        for kind in prices
    }
    taken, refused = list[Quote](), list[Refused]()
    for one in quotes:
        why = refused_for(one, held.get(one.kind))
        if why:
            refused.append(Refused(one, why))
        else:
            taken.append(one)
    return tuple(taken), tuple(refused)


def _against(
    kind: Kind,
    usual: Usual | None,
    typical: Mapping[tuple[str, Kind], int],
    offered: Sequence[int],
    provider: str,
) -> Against | None:
    if usual is not None and usual.samples >= LEAST_SAMPLES:
        return Against(usual.median_nusd, "its median of the last week")
    table = _typical(kind, typical, provider)
    if table:
        return Against(table, "what it typically cost")
    if len(offered) >= LEAST_OFFERS:
        return Against(median_low(offered), "the median of these offers")
    return None


def _typical(kind: Kind, typical: Mapping[tuple[str, Kind], int], provider: str) -> int:
    """What such a machine typically cost there, else elsewhere, else so many single ones; 0 where
    the table has none."""
    facts = lookup_gpu(f"{kind.gpu} {kind.memory_gib}GB") or lookup_gpu(kind.gpu)
    if facts is None:
        return 0
    sold = [gib for gib in facts.memory_options if _is_size(kind.memory_gib, gib)]
    for count in (kind.gpu_count, 1):
        named = {Kind(facts.name, count, gib, kind.spot) for gib in sold}
        found = {where: price for (where, what), price in typical.items() if what in named}
        if found:
            price = found.get(provider) or median_low(found.values())
            return price * kind.gpu_count // count
    return 0


def _is_size(reported_gib: int, sold_gib: int) -> bool:
    return abs(sold_gib - reported_gib) <= DRIVER_SHARE * sold_gib


def region_class(region: str) -> str:
    """ "us", "eu", "ap" or "other" of "Sweden, SE", "EU-RO-1", "us-west-1"; "" of nothing."""
    if not region:
        return ""
    said = region.upper().replace("_", "-")
    if said.startswith(("US-", "US ", "NORTHAMERICA")) or said == "US":
        return "us"
    if said.startswith("EUROPE"):
        return "eu"
    if said.startswith(("ASIA", "AUSTRALIA")):
        return "ap"
    for code in reversed(_COUNTRY.findall(said)):
        if code in _CLASSES:
            return _CLASSES[code]
    return "other"


@final
@dataclass(frozen=True, slots=True)
class Grouped:
    """Rows for the ledger, and how many machines there was no row for."""

    rows: tuple[OfferRow, ...]
    left_out: int


def grouped(quotes: Sequence[Quote]) -> Grouped:
    """Quotes by kind and region; where that is too many rows by kind alone, and then the kinds
    with most machines."""
    for by_region in (True, False):
        groups: dict[tuple[Kind, str], list[Quote]] = {}
        for one in quotes:
            region = region_class(one.region) if by_region else ""
            groups.setdefault((one.kind, region), []).append(one)
        if len(groups) <= MAX_ROWS:
            break
    largest = sorted(groups, key=lambda name: (-len(groups[name]), name))
    rows = [_row(groups[name], name[1]) for name in sorted(largest[:MAX_ROWS])]
    return Grouped(tuple(rows), sum(len(groups[name]) for name in largest[MAX_ROWS:]))


def _row(members: Sequence[Quote], region: str) -> OfferRow:
    prices = [one.hourly_nusd for one in members]
    return OfferRow(
        gpu=members[0].gpu,
        gpu_count=members[0].gpu_count,
        memory_bytes=min(one.memory_bytes for one in members),
        n=len(members),
        min_nusd=min(prices),
        median_nusd=median_low(prices),
        spot=members[0].spot,
        region=region,
    )


def moved_rows(old: Iterable[Group], new: Sequence[OfferRow]) -> tuple[OfferRow, ...]:
    """What rows say that the last ones did not: other kinds, other prices, and kinds that are gone,
    of which there are none any more."""
    before = {row.place: row for row in old}
    moved = [row for row in new if _is_news(before.pop(_place(row), None), row)]
    gone = [
        OfferRow(
            gpu=row.gpu,
            gpu_count=row.gpu_count,
            memory_bytes=row.memory_bytes,
            n=0,
            min_nusd=0,
            median_nusd=0,
            spot=row.spot,
            region=row.region,
        )
        for row in before.values()
    ]
    return (*moved, *gone)


def _place(row: OfferRow) -> Place:
    return (*kind_of(row.gpu, row.gpu_count, row.memory_bytes, spot=row.spot), row.region)


def _is_news(old: Group | None, new: OfferRow) -> bool:
    return old is None or any(
        abs(now - was) * 100 > NEWS_PERCENT * was
        for was, now in ((old.min_nusd, new.min_nusd), (old.median_nusd, new.median_nusd))
    )
