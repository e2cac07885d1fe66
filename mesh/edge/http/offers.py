"""`GET /v1/offers` and `POST /v1/compare`: what can be rented, beside what is owned, as this peer
knows it; and what tokens a day cost on either, or at a hosted API."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol

from aiohttp import web

from mesh.api.market.asked import FIELDS, parse_offers
from mesh.api.market.offers import offers_answer
from mesh.edge.http.guard import TURNS, answer, by_name, read_body, refuse_unknown
from mesh.edge.http.roles import PEER, Route
from mesh.edge.http.stream import NODE
from mesh.state.market.quotes import Quote
from mesh.state.members import VIEWER

# A comparison's JSON for a question; a bad one raises RequestError.
Compare = Callable[[Mapping[str, object]], dict[str, object]]


class ServedMarket(Protocol):
    """What the route needs of whoever watches prices."""

    def known(self) -> tuple[Quote, ...]:
        """Every price this peer knows."""


def offer_routes(market: ServedMarket, compare: Compare) -> list[Route]:
    """The same on loopback and for members: prices are no secret within a fleet."""

    async def get_offers(request: web.Request) -> web.StreamResponse:
        """What can be rented, beside what is owned, as this peer knows it."""
        refuse_unknown(request.query, FIELDS)
        wanted, node = parse_offers(dict(request.query)), request.app[NODE]
        # Thousands of offers are looked through: not on the loop.
        found = await asyncio.to_thread(
            lambda: offers_answer(node.state, market.known(), wanted, node.now())
        )
        return answer(found)

    async def post_compare(request: web.Request) -> web.StreamResponse:
        """What tokens a day cost on own devices, rented ones and hosted APIs."""
        query = await read_body(request)
        if PEER in request:
            by_name(query)
        return answer(await request.app[TURNS].take(request, compare, query))

    return [
        Route("GET", "/v1/offers", VIEWER, get_offers),
        Route("POST", "/v1/compare", VIEWER, post_compare),
    ]
