"""Routes about budgets: every member may look; who may say what, the role and the maker decide."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from aiohttp import web

from mesh.edge.http.guard import answer, read_body, refuse_unknown
from mesh.edge.http.roles import ROLE, Route
from mesh.state.members import MEMBER, VIEWER


class ServedBudgets(Protocol):
    """What the routes need of whoever looks after budgets."""

    def rows(self) -> dict[str, Any]:
        """Every budget, and what was told."""

    async def set(self, body: Mapping[str, object], role: str) -> Mapping[str, object]:
        """Set or lift a cap."""

    async def grant(self, body: Mapping[str, object], role: str) -> Mapping[str, object]:
        """Give another peer a part of one."""


def budget_routes(budgets: ServedBudgets) -> list[Route]:
    """On loopback, for whoever holds the token. A member may cap its own keys and jobs; all else
    needs an admin, which is checked once it is known what a body is about."""

    async def get_budgets(request: web.Request) -> web.Response:
        """Every budget that has a cap, what was told of it, and whose words do not add up."""
        refuse_unknown(request.query, ())
        return answer(budgets.rows())

    async def post_budget(request: web.Request) -> web.Response:
        """Set or lift a cap; 201 with what it was."""
        return answer(await budgets.set(await read_body(request), request[ROLE]), 201)

    async def post_grant(request: web.Request) -> web.Response:
        """Give another peer a part of a budget; 201."""
        return answer(await budgets.grant(await read_body(request), request[ROLE]), 201)

    return [
        Route("GET", "/v1/budgets", VIEWER, get_budgets),
        Route("POST", "/v1/budgets", MEMBER, post_budget),
        Route("POST", "/v1/budgets/grants", MEMBER, post_grant),
    ]
