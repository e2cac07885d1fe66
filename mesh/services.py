"""What a daemon does beside its node: bills, budgets, clouds, the models' address, metrics.

Each has its routes and its task on the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any, Final, final

from mesh.config import Config
from mesh.edge.bills.rates import Rates
from mesh.edge.bills.routes import bill_routes, rate_routes
from mesh.edge.bills.service import BillService
from mesh.edge.budgets.routes import budget_routes
from mesh.edge.budgets.service import BudgetService
from mesh.edge.capacity import layer_query
from mesh.edge.clouds.service import Clouds
from mesh.edge.compare import compare_query
from mesh.edge.gateway.front import Front
from mesh.edge.gateway.local import gateway_routes
from mesh.edge.home.daemon_log import keep_bounded
from mesh.edge.home.low_power import LowPower
from mesh.edge.http.dashboard.live import live_routes
from mesh.edge.http.dashboard.routes import layer_routes
from mesh.edge.http.keys import key_routes
from mesh.edge.http.offers import offer_routes
from mesh.edge.http.rentals import rental_routes
from mesh.edge.http.roles import Route
from mesh.edge.http.ssh import ssh_routes
from mesh.edge.http.telemetry import routes as telemetry_routes
from mesh.edge.http.upkeep import peer_upkeep_routes, upkeep_routes
from mesh.edge.metrics.routes import metric_routes
from mesh.edge.metrics.service import Metrics
from mesh.edge.models.routes import ModelRoutes
from mesh.edge.openapi.routes import openapi_routes
from mesh.edge.serving.keys import Keys
from mesh.edge.store.ledger import Ledger
from mesh.node import Node
from mesh.served import now_ms
from providers.presence.reading import PresenceReader


@final
class Services:
    """One of each, around a node. `start` has them run, `close` ends them."""

    def __init__(self, node: Node, ledger: Ledger, config: Config) -> None:
        author, peer_id = ledger.author, ledger.peer_id
        self._node: Final = node
        self._author: Final = author
        self._zone: Final = config.zone
        self._models: Final = ModelRoutes(node.models)
        self._keys: Final = Keys(author, peer_id, lambda: node.state, node.emit, now_ms)
        self._budgets: Final = BudgetService(node, author, peer_id)
        self.front: Final = Front(node, author, self._keys, self._budgets.requests)
        lose, payer = node.dispatch.effects.lose, self._budgets.rentals
        self._clouds: Final = Clouds(node, author, peer_id, lose, payer)
        self._low_power: Final = LowPower(PresenceReader())
        self._bills: Final = BillService(node, author, config.zone, now_ms)
        zone, expire = self._bills.zone, self._bills.expire
        self._rates: Final = Rates(author, lambda: node.state, node.emit, now_ms, zone, expire)
        seen = node.fleet_telemetry
        self._metrics: Final = Metrics(
            node, seen, node.mesh, self._bills, self._clouds, self._budgets
        )
        self._tell_node()
        self._readings: list[asyncio.Task[Any]] = []
        self._paying: asyncio.Task[Any] | None = None
        self._work: list[asyncio.Task[Any]] = []

    def _tell_node(self) -> None:
        """What the node asks of them."""
        node, clouds, low_power = self._node, self._clouds, self._low_power
        node.dispatch.home.budgets = self._budgets.jobs
        node.quotes, node.changed = clouds.known, clouds.notice
        node.resting = low_power.text
        node.models.hashing.rests = clouds.market.rests = low_power.rests

    def local_routes(self) -> list[Route]:
        """On loopback, beside the node's own."""
        node = self._node
        return [
            *telemetry_routes(node.fleet_telemetry, loopback=True),
            *upkeep_routes(node.upkeep),
            *self._models.local_routes(),
            *budget_routes(self._budgets),
            *ssh_routes(node.ssh),
            *gateway_routes(self.front),
            *key_routes(self._keys),
            *offer_routes(self._clouds, self._compared),
            *rental_routes(self._clouds),
            *bill_routes(self._bills, self._zone),
            *rate_routes(self._rates),
            *openapi_routes(),
            *layer_routes(layer_query),
            *live_routes(node.fleet_telemetry),
            *metric_routes(self._metrics),
        ]

    def peer_routes(self) -> list[Route]:
        """What members reach over TLS, beside the node's own."""
        node = self._node
        return [
            *telemetry_routes(node.fleet_telemetry, loopback=False),
            *peer_upkeep_routes(node.upkeep),
            *self._models.peer_routes(),
            *self.front.peer_routes(),
            *offer_routes(self._clouds, self._compared),
            *bill_routes(self._bills, self._zone),
        ]

    def _compared(self, query: Mapping[str, object]) -> dict[str, object]:
        """Own it, rent it, or pay by the token: `fleet compare`."""
        node = self._node
        live = [*node.devices(), *node.ssh.live(node.state)]
        me, quotes = self._author, self._clouds.known
        return compare_query(node.state, query, live, node.now(), me=me, quotes=quotes)

    def start(self) -> None:
        """Everything that runs by itself, on this loop."""
        node = self._node
        self._readings = _tasks(
            node.telemetry.run(),
            keep_bounded(node.home),
            node.yielding.run(),
            node.models.run(),
            self._low_power.run(),
        )
        (self._paying,) = _tasks(self._budgets.run())
        self._work = _tasks(node.ssh.run(), self.front.run(), self._clouds.run(), self._bills.run())

    async def close(self) -> None:
        """End all but the models' address, which goes after the mesh; the budgets before those who
        ask them."""
        for task in self._readings:
            task.cancel()
        self._models.close()
        await _ended([] if self._paying is None else [self._paying])
        await _ended(self._work)
        await self._bills.close()


def _tasks(*work: Coroutine[Any, Any, Any]) -> list[asyncio.Task[Any]]:
    return [asyncio.create_task(one) for one in work]


async def _ended(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
