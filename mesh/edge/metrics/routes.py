"""The route that Prometheus asks, with the token as everybody else."""

from __future__ import annotations

from typing import Protocol

from aiohttp import web

from mesh.api.metrics.text import CONTENT_TYPE
from mesh.edge.http.guard import HEADERS, refuse_unknown
from mesh.edge.http.roles import Route
from mesh.state.members import VIEWER


class ServedMetrics(Protocol):
    """What the route needs of whoever gathers."""

    async def text(self) -> str:
        """One scrape's answer."""


def metric_routes(metrics: ServedMetrics) -> list[Route]:
    """On loopback."""

    async def get_metrics(request: web.Request) -> web.Response:
        """The fleet for Prometheus: devices, jobs, models, peers, money."""
        refuse_unknown(request.query, ())
        body = (await metrics.text()).encode()
        return web.Response(body=body, headers={**HEADERS, "Content-Type": CONTENT_TYPE})

    return [Route("GET", "/metrics", VIEWER, get_metrics)]
