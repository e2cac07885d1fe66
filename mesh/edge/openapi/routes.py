"""`GET /v1/openapi.json`: what this daemon offers, made from its routes when it is asked."""

from __future__ import annotations

from aiohttp import web

from mesh.edge.http.guard import answer, refuse_unknown
from mesh.edge.http.roles import ROUTES, Route
from mesh.state.members import VIEWER


def openapi_routes() -> list[Route]:
    """On loopback: between peers the protocols are documents of their own."""

    async def get_document(request: web.Request) -> web.Response:
        """This API as an OpenAPI 3.1 document."""
        refuse_unknown(request.query, ())
        # Few ask: the tables are not loaded at every start.
        from mesh.edge.openapi.document import document

        routes = request.app[ROUTES]
        return answer(document(routes))

    return [Route("GET", "/v1/openapi.json", VIEWER, get_document)]
