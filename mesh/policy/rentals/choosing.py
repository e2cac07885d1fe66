"""Which offer a request takes: the cheapest that fits, by what its host and its price are known
for. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from mathcore.hardware.names import name_words
from mesh.policy.rentals.caps import reserve_nusd
from mesh.policy.rentals.history import Record
from mesh.policy.rentals.wanting import unfit
from mesh.state.rentals.requests import Request
from providers.rental.contract import Offer

# Of a host that failed each time still one try in five is worth its price.
LEAST_SUCCESS_PPM: Final = 200_000
MILLION: Final = 1_000_000
# Where nobody knows how well a host works, it is taken to as often as not so well known ones do.
UNKNOWN_PPM: Final = 900_000


def best_offer(
    offers: Sequence[Offer],
    refused: Mapping[str, str],
    request: Request,
    tried: Sequence[str],
    hosts: Mapping[tuple[str, str], Record],
    room_nusd: int | None = None,
) -> Offer | str:
    """The offer, or why there is none. `refused`: offers whose prices nobody believes, and why;
    `tried`: those that failed for this request; `hosts`: by provider and physical machine;
    `room_nusd`: what is left of the request's cap. Where that holds none the cheapest is told."""
    named = [one for one in offers if is_named(one, request.gpu)]
    if not named:
        return "no_such_gpu" if offers else "nothing_offered"
    fits = [one for one in named if not unfit(one, request)]
    if not fits:
        return min(unfit(one, request) for one in named)
    believed = [one for one in fits if one.offer_id not in refused]
    if not believed:
        return "price_not_believed"
    fresh = [one for one in believed if one.offer_id not in tried]
    cheapest = min(fresh or believed, key=lambda one: one.hourly_nusd)
    if not _has_room(cheapest, request, room_nusd):
        return cheapest
    if not fresh:
        return "all_were_tried"
    held = [one for one in fresh if _has_room(one, request, room_nusd)]
    return min(held, key=lambda one: _rank(one, hosts))


def _has_room(offer: Offer, request: Request, room_nusd: int | None) -> bool:
    return room_nusd is None or reserve_nusd(offer.hourly_nusd, request.life_ms) <= room_nusd


def is_named(offer: Offer, gpu: str) -> bool:
    """Whether its GPU's name has all the words that are asked for."""
    return set(name_words(gpu)) <= set(name_words(offer.gpu))


def _rank(one: Offer, hosts: Mapping[tuple[str, str], Record]) -> tuple[object, ...]:
    """Price by the share of orders that got a machine there: each failure costs its boot."""
    known = hosts.get((one.provider, one.host_id)) if one.host_id else None
    share = UNKNOWN_PPM if known is None else max(LEAST_SUCCESS_PPM, known.success_ppm)
    if known is None and one.reliability_ppm is not None:
        share = max(LEAST_SUCCESS_PPM, min(UNKNOWN_PPM, one.reliability_ppm))
    return one.hourly_nusd * MILLION // share, -one.network_bps, one.offer_id
