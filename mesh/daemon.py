"""The node as a process: its ports, its signals, what it prints, and its orderly end."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mesh.config import Config, load_config, slug
from mesh.edge.announcement import announce, listens, token, withdraw
from mesh.edge.store.ledger import Ledger
from mesh.node import Node
from mesh.served import now_ms
from mesh.state.state import State

if TYPE_CHECKING:
    from mesh.edge.http.dashboard.sessions import Sessions
    from mesh.edge.starting.door import Door


def serve(home: Path, name: str | None, port: int, *, alone: bool = False) -> None:
    """Run this peer until SIGTERM, SIGINT or `fleet down`; StoreError if the ledger is taken.

    `alone`: sign at once, without hearing from a member how far this peer's own events go.
    """
    config = load_config(home)
    config = replace(config, name=slug(name or config.name), port=port or config.port)
    asyncio.run(_serve(home, config, alone=alone))


async def _serve(home: Path, config: Config, *, alone: bool) -> None:
    from mesh.edge.http.dashboard.sessions import Sessions
    from mesh.edge.starting.door import Door

    door = Door(config.port)
    try:
        await _run(home, config, door, Sessions(), alone=alone)
    finally:
        await door.close()


async def _opened(
    home: Path, config: Config, door: Door, sessions: Sessions
) -> tuple[Ledger, State] | None:
    """The ledger and its state; while that takes its time, loopback says how far it is."""
    from mesh.edge.starting.app import starting_app
    from mesh.edge.starting.opening import opened
    from mesh.edge.starting.progress import Starting

    starting = Starting()
    _on_signals(starting.stop)

    async def tell() -> None:
        await door.hold(starting_app(starting, token(home), sessions))
        announce(home, door.url, {}, now_ms(), starting=True)
        print(f"fleet: {config.name}: {starting.text()}", file=sys.stderr, flush=True)

    found = None
    try:
        found = await opened(home, config.archive, starting, tell)
    finally:
        if found is None and door.is_held:
            withdraw(home)
    return found


def _on_signals(end: Callable[[], None]) -> None:
    """What SIGTERM and SIGINT do from now on."""
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, end)


async def _run(home: Path, config: Config, door: Door, sessions: Sessions, *, alone: bool) -> None:
    from aiohttp import web

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
    from mesh.edge.http.app import make_app, make_mesh_app
    from mesh.edge.http.dashboard.live import live_routes
    from mesh.edge.http.dashboard.routes import layer_routes
    from mesh.edge.http.keys import key_routes
    from mesh.edge.http.offers import offer_routes
    from mesh.edge.http.rentals import rental_routes
    from mesh.edge.http.ssh import ssh_routes
    from mesh.edge.http.telemetry import routes as telemetry
    from mesh.edge.http.upkeep import peer_upkeep_routes, upkeep_routes
    from mesh.edge.metrics.routes import metric_routes
    from mesh.edge.metrics.service import Metrics
    from mesh.edge.models.routes import ModelRoutes
    from mesh.edge.openapi.routes import openapi_routes
    from mesh.edge.serving.keys import Keys
    from mesh.edge.starting.door import url_of
    from providers.presence.reading import PresenceReader

    found = await _opened(home, config, door, sessions)
    if found is None:
        return
    ledger, state = found
    node = Node(home, config, ledger, alone=alone, state=state)
    _on_signals(node.shutdown)
    readings = asyncio.create_task(node.telemetry.run())
    log = asyncio.create_task(keep_bounded(home))
    yielding = asyncio.create_task(node.yielding.run())
    routes = ModelRoutes(node.models)
    travel = asyncio.create_task(node.models.run())
    keys = Keys(ledger.author, ledger.peer_id, lambda: node.state, node.emit, now_ms)
    budgets = BudgetService(node, ledger.author, ledger.peer_id)
    front = Front(node, ledger.author, keys, budgets.requests)
    node.dispatch.home.budgets = budgets.jobs
    lose = node.dispatch.effects.lose
    rented = Clouds(node, ledger.author, ledger.peer_id, lose, budgets.rentals)
    node.quotes, node.changed = rented.known, rented.notice
    low_power = LowPower(PresenceReader())
    node.resting = low_power.text
    node.models.hashing.rests = rented.market.rests = low_power.rests
    power = asyncio.create_task(low_power.run())
    bills = BillService(node, ledger.author, config.zone, now_ms)
    rates = Rates(ledger.author, lambda: node.state, node.emit, now_ms, bills.zone, bills.expire)
    metrics = Metrics(node, node.fleet_telemetry, node.mesh, bills, rented, budgets)

    def compared(query: Mapping[str, object]) -> dict[str, object]:
        live = [*node.devices(), *node.ssh.live(node.state)]
        me, quotes = ledger.author, rented.known
        return compare_query(node.state, query, live, node.now(), me=me, quotes=quotes)

    own = [*telemetry(node.fleet_telemetry, loopback=True), *upkeep_routes(node.upkeep)]
    own += [
        *routes.local_routes(),
        *budget_routes(budgets),
        *ssh_routes(node.ssh),
        *gateway_routes(front),
        *key_routes(keys),
        *offer_routes(rented, compared),
        *rental_routes(rented),
        *bill_routes(bills, config.zone),
        *rate_routes(rates),
        *openapi_routes(),
        *layer_routes(layer_query),
        *live_routes(node.fleet_telemetry),
        *metric_routes(metrics),
    ]
    app = make_app(node, token(home), node.mesh, own, sessions)
    runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=1.0)
    around: asyncio.Task[None] | None = None
    paying = asyncio.create_task(budgets.run())
    hosts = asyncio.create_task(node.ssh.run())
    serving = asyncio.create_task(front.run())
    renting = asyncio.create_task(rented.run())
    billing = asyncio.create_task(bills.run())
    try:
        if node.mesh is not None:
            shared = telemetry(node.fleet_telemetry, loopback=False)
            more = [*shared, *peer_upkeep_routes(node.upkeep), *routes.peer_routes()]
            more += [*front.peer_routes(), *offer_routes(rented, compared)]
            more += bill_routes(bills, config.zone)
            await node.mesh.start(make_mesh_app(node, node.mesh, more))
            around = asyncio.create_task(node.mesh.run())
            around.add_done_callback(lambda _: node.shutdown())
        await runner.setup()
        listening = await door.take()
        await web.SockSite(runner, listening).start()
        url = url_of(listening)
        gateway = await front.start(config.gateway_port)
        said = {"gateway": gateway, **_ports(node)}
        if config.gateway_listen:
            said["lan"] = await front.start_for_others(
                config.gateway_listen, config.gateway_lan_port
            )
        announce(home, url, said, now_ms())
        print(f"fleet: {config.name} is up", *listens(home), sep="\n", flush=True)
        await node.run()
        if around is not None and around.done():
            around.result()  # the mesh broke: say why
    finally:
        withdraw(home)
        log.cancel()
        power.cancel()
        readings.cancel()
        yielding.cancel()
        travel.cancel()
        routes.close()
        paying.cancel()
        await asyncio.gather(paying, return_exceptions=True)
        hosts.cancel()
        serving.cancel()
        renting.cancel()
        billing.cancel()
        await asyncio.gather(hosts, serving, renting, billing, return_exceptions=True)
        await bills.close()
        if node.mesh is not None and around is not None:
            around.cancel()
            await asyncio.gather(around, return_exceptions=True)
            await node.mesh.close()
        await front.close()
        await runner.cleanup()
        node.close()


def _ports(node: Node) -> dict[str, str]:
    """Where other machines reach this one, "*" for every interface; nothing where they cannot."""
    if node.mesh is None:
        return {}
    host, where = node.config.listen or "*", node.mesh.where()
    return {"peers": f"{host}:{where.port}", "pairing": f"{host}:{where.pairing_port}"}
