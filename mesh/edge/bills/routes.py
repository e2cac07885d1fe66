"""What everything cost, as this peer's ledger has it, and what this peer says things cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from aiohttp import web

from mesh.api.bills.asked import FIELDS, BillAsked, parse_bill
from mesh.api.bills.tables import LEFT_OUT
from mesh.edge.http.guard import answer, read_body, refuse_unknown
from mesh.edge.http.roles import Route
from mesh.state.members import RUNNER, VIEWER


class ServedBills(Protocol):
    """What the route needs of whoever keeps bills."""

    async def ask(self, asked: BillAsked) -> dict[str, object]:
        """The report that is asked for."""

    async def focus(self, asked: BillAsked) -> tuple[str, int]:
        """Lines with the columns of FOCUS, as CSV, and the time that is in none of them."""


class ServedRates(Protocol):
    """What the routes need of whoever says what things cost."""

    async def say(self, what: str, body: Mapping[str, object]) -> dict[str, object]:
        """Sign a statement."""

    def rows(self) -> dict[str, object]:
        """What is known and what was said."""


def rate_routes(rates: ServedRates) -> list[Route]:
    """On loopback, for whoever holds the token: it is this peer's word."""

    async def get_rates(request: web.Request) -> web.StreamResponse:
        """What each device costs, and what is missing."""
        refuse_unknown(request.query, ())
        return answer(rates.rows())

    async def post_rate(request: web.Request) -> web.StreamResponse:
        """Say what something costs; 201 with the event."""
        return answer(await rates.say(request.match_info["what"], await read_body(request)), 201)

    return [
        Route("GET", "/v1/rates", VIEWER, get_rates),
        Route("POST", "/v1/rates/{what}", RUNNER, post_rate),
    ]


def bill_routes(bills: ServedBills, zone: str) -> list[Route]:
    """The same on loopback and for members."""

    async def get_cost(request: web.Request) -> web.StreamResponse:
        """What everything cost, by day unless `by` says otherwise."""
        refuse_unknown(request.query, FIELDS)
        return answer(await bills.ask(parse_bill(dict(request.query), zone)))

    async def get_focus(request: web.Request) -> web.StreamResponse:
        """The bill's lines with the columns of FOCUS, for other programs."""
        refuse_unknown(request.query, FIELDS)
        text, left_out_ms = await bills.focus(parse_bill(dict(request.query), zone))
        headers = {LEFT_OUT: str(left_out_ms)}
        return web.Response(text=text, content_type="text/csv", headers=headers)

    return [
        Route("GET", "/v1/cost", VIEWER, get_cost),
        Route("GET", "/v1/cost/focus", VIEWER, get_focus),
    ]
