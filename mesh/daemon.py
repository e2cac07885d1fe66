"""The node as a process: its ports, its signals, what it prints, and its orderly end."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mesh.config import Config, load_config, slug
from mesh.edge.announcement import announce, listens, token, withdraw
from mesh.edge.store.ledger import Ledger
from mesh.node import Node
from mesh.state.state import State

if TYPE_CHECKING:
    from mesh.edge.http.dashboard.sessions import Sessions
    from mesh.edge.starting.door import Door
    from mesh.services import Services


def serve(home: Path, name: str | None, port: int, *, alone: bool = False) -> None:
    """Run this peer until SIGTERM, SIGINT or `fleet down`; StoreError if the ledger is taken.

    `alone`: sign at once, without hearing from a member how far this peer's own events go.
    """
    from mesh.edge.home.open_files import raise_limit

    raise_limit()
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
        announce(home, door.url, {}, starting=True)
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

    from mesh.edge.http.app import make_app
    from mesh.edge.transport.plain import PlainPort, own_programs
    from mesh.services import Services

    found = await _opened(home, config, door, sessions)
    if found is None:
        return
    ledger, state = found
    node = Node(home, config, ledger, alone=alone, state=state)
    _on_signals(node.shutdown)
    services = Services(node, ledger, config)
    app = make_app(node, token(home), node.mesh, services.local_routes(), sessions)
    runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=1.0)
    around: asyncio.Task[None] | None = None
    port: PlainPort | None = None
    services.start()
    try:
        around = await _meet_others(node, services)
        await runner.setup()
        listening = await door.take()
        assert runner.server is not None
        port = PlainPort(listening, runner.server, own_programs())
        await _say_it_is_up(home, config, node, services, listening)
        await node.run()
        if around is not None and around.done():
            around.result()  # the mesh broke: say why
    finally:
        withdraw(home)
        await services.close()
        if node.mesh is not None and around is not None:
            around.cancel()
            await asyncio.gather(around, return_exceptions=True)
            await node.mesh.close()
        await services.front.close()
        if port is not None:
            await port.close()
        await runner.cleanup()
        node.close()


async def _meet_others(node: Node, services: Services) -> asyncio.Task[None] | None:
    """Listen for the fleet's other peers, and look for them; None where this one has no network.

    A mesh that breaks ends the daemon.
    """
    from mesh.edge.http.app import make_mesh_app

    if node.mesh is None:
        return None
    await node.mesh.start(make_mesh_app(node, node.mesh, services.peer_routes()))
    around = asyncio.create_task(node.mesh.run())
    around.add_done_callback(lambda _: node.shutdown())
    return around


async def _say_it_is_up(
    home: Path, config: Config, node: Node, services: Services, listening: socket.socket
) -> None:
    """Open the models' address, and tell where everything is."""
    from mesh.edge.starting.door import url_of

    front, url = services.front, url_of(listening)
    said = {"gateway": await front.start(config.gateway_port), **_ports(node)}
    if config.gateway_listen:
        said["lan"] = await front.start_for_others(config.gateway_listen, config.gateway_lan_port)
    announce(home, url, said)
    print(f"fleet: {config.name} is up", *listens(home), sep="\n", flush=True)


def _ports(node: Node) -> dict[str, str]:
    """Where other machines reach this one, "*" for every interface; nothing where they cannot."""
    if node.mesh is None:
        return {}
    host, where = node.config.listen or "*", node.mesh.where()
    return {"peers": f"{host}:{where.port}", "pairing": f"{host}:{where.pairing_port}"}
