"""`GET /v1/offers`: what can be rented, beside what is owned, as this peer knows it."""

from __future__ import annotations

import asyncio
from typing import Protocol

from aiohttp import web

from mesh.api.market.asked import FIELDS, parse_offers
from mesh.api.market.offers import offers_answer
from mesh.edge.http.guard import answer, refuse_unknown
from mesh.edge.http.roles import Route
from mesh.edge.http.stream import NODE
from mesh.state.market.quotes import Quote
from mesh.state.members import VIEWER


class ServedMarket(Protocol):
    """What the route needs of whoever watches prices."""

    def known(self) -> tuple[Quote, ...]:
        """Every price this peer knows."""


def offer_routes(market: ServedMarket) -> list[Route]:
    """The same on loopback and for members: prices are no secret within a fleet."""

    async def get_offers(request: web.Request) -> web.StreamResponse:
        refuse_unknown(request.query, FIELDS)
        wanted, node = parse_offers(dict(request.query)), request.app[NODE]
        # Thousands of offers are looked through: not on the loop.
        found = await asyncio.to_thread(
            lambda: offers_answer(node.state, market.known(), wanted, node.now())
        )
        return answer(found)

    return [Route("GET", "/v1/offers", VIEWER, get_offers)]
