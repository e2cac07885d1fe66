"""One peer's part in "one address", put together: its own servers, the fleet's, the ports."""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol, final

from aiohttp import web

from mesh.api.errors import RequestError
from mesh.api.wire.claims import Standing
from mesh.edge.disk import StoreError
from mesh.edge.gateway.admission import Admission, Budgets
from mesh.edge.gateway.fleet import FleetServers
from mesh.edge.gateway.listing import Listing
from mesh.edge.gateway.own import OwnServers
from mesh.edge.gateway.peers import ServeRoutes
from mesh.edge.gateway.ports import Ports
from mesh.edge.gateway.relay import Relay
from mesh.edge.gateway.rooms import Rooms
from mesh.edge.gateway.routes import Gateway
from mesh.edge.gateway.services import Services
from mesh.edge.gateway.usage import UsageBook
from mesh.edge.http.roles import Route
from mesh.edge.peering.mesh import Mesh
from mesh.edge.serving.keys import Keys
from mesh.edge.transport.listen import listen
from mesh.edge.transport.plain import Crowd, PlainPort, other_machines, own_programs
from mesh.ledger.event import Event
from mesh.state.address import show_address
from mesh.state.jobs import JobView
from mesh.state.state import State

LOOPBACK: Final = "127.0.0.1"
STEP_S: Final = 0.5  # how late a service comes up or ends, and room is made for another
# A connection without a request: clients keep theirs for 5 to 15 s, and ask anew on another.
KEPT_S: Final = 75.0
RETRY_S: Final = 5.0  # after an error of ours, or a write that the disk refused


class Served(Protocol):
    """The node, as serving needs it."""

    home: Path
    mesh: Mesh | None
    gateway_url: str

    @property
    def state(self) -> State:
        """What the ledger says."""

    def now(self) -> int:
        """Milliseconds UTC."""

    async def emit(self, event_type: str, device_id: str, payload: dict[str, object]) -> Event:
        """Sign an event."""

    async def submit(self, spec: Mapping[str, object]) -> str:
        """Admit a job."""

    async def cancel(self, job_id: str) -> None:
        """Ask a job to end."""

    async def standings(self, jobs: Iterable[JobView]) -> dict[str, Standing]:
        """Why jobs wait."""


@final
class Front:
    """Everything one peer does about serving."""

    def __init__(
        self, node: Served, author: str, keys: Keys, budgets: Budgets | None = None
    ) -> None:
        self._node: Final = node
        self._runners: list[web.AppRunner] = []
        self._open: list[PlainPort] = []
        self.usage: Final = UsageBook(self._state, keys.tell_usage, node.now)
        self.own: Final = OwnServers(node.home, author, self._state, self.usage)
        self.servers: Final = FleetServers(
            author, self._state, self.own, lambda: node.mesh, self._linked
        )
        self.services: Final = Services(
            node.home, author, self._state, node.emit, node, self.servers, self._call, self._why
        )
        self.ports: Final = Ports(node.home)
        self._rooms: Final = Rooms(author, self._state, self.own, node.cancel)
        self._gateway: Final = Gateway(
            Relay(self.servers, self.services, self._name),
            Listing(self._state, self.servers),
            Admission(self._state, self.servers, keys, node.now, budgets),
        )

    @property
    def url(self) -> str:
        """Where the address is."""
        return self._node.gateway_url

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """A chat of this machine's dashboard, whose pages are of another port."""
        return await self._gateway.chat(request)

    def peer_routes(self) -> list[Route]:
        """What members reach over TLS."""
        return ServeRoutes(self.own, self.services).routes()

    async def start(self, port: int) -> str:
        """Open the address; where it is. Another port is taken where this one is not free."""
        crowd = own_programs()
        server = await self._server(self._gateway.app())
        self._node.gateway_url = self._listen(server, LOOPBACK, port, crowd)
        await self.ports.start(server, crowd)  # on loopback alone, for these ask without a key
        return self._node.gateway_url

    async def start_for_others(self, host: str, port: int) -> str:
        """Open an address where other machines ask, by keys; where it is."""
        server = await self._server(self._gateway.app(needs_key=True))
        return self._listen(server, host, port, other_machines())

    async def _server(self, app: web.Application) -> web.Server:
        runner = web.AppRunner(
            app,
            handle_signals=False,
            shutdown_timeout=1.0,
            access_log=None,
            handler_cancellation=True,  # a client that leaves must free its slot
            keepalive_timeout=KEPT_S,
        )
        await runner.setup()
        self._runners.append(runner)
        assert runner.server is not None
        return runner.server

    def _listen(self, server: web.Server, host: str, port: int, crowd: Crowd) -> str:
        (sock,) = listen(host, port)
        self._open.append(PlainPort(sock, server, crowd))
        return f"http://{show_address((host, sock.getsockname()[1]))}"

    async def open_at(self, port: int, name: str = "") -> None:
        """Answer at a further port, where tools look for the program called `name`."""
        await self.ports.open_at(port, name)

    async def close_at(self, port: int) -> None:
        """Answer there no more."""
        await self.ports.close_at(port)

    async def run(self) -> None:
        """Keep services up and make room, until cancelled; then what was used is signed."""
        try:
            while True:
                await asyncio.sleep(STEP_S)
                for step in (self.services.step, self._rooms.step, self.usage.step):
                    await self._safely(step)
        finally:
            await self._last()

    async def close(self) -> None:
        """Let go of the port and of what is open."""
        await self.ports.close()
        for port in self._open:
            await port.close()
        for runner in self._runners:
            await runner.cleanup()
        await self.own.close()

    async def _safely(self, step: Callable[[], Awaitable[None]]) -> None:
        """What fails of one keeps the others from nothing: what was used is signed all the same."""
        try:
            await step()
        except (RequestError, StoreError) as error:
            print(f"fleet: {error.text}; {error.hint}", file=sys.stderr, flush=True)
            await asyncio.sleep(RETRY_S)
        except Exception:
            traceback.print_exc()
            await asyncio.sleep(RETRY_S)

    async def _last(self) -> None:
        try:
            await self.usage.step(last=True)
        except (RequestError, StoreError) as error:
            print(f"fleet: {error.text}; {error.hint}", file=sys.stderr, flush=True)

    def _state(self) -> State:
        return self._node.state

    def _linked(self, key: bytes) -> bool:
        return self._node.mesh is not None and self._node.mesh.links.get(key) is not None

    async def _call(self, key: bytes, method: str, path: str, body: Any) -> Any:
        if self._node.mesh is None:
            raise RequestError("Unreachable", "this peer reaches no other", "fleet doctor", 503)
        return await self._node.mesh.call(key, method, path, body)

    async def _why(self, job: JobView) -> str:
        said = (await self._node.standings([job])).get(job.job_id)
        return said.text if said is not None else ""

    def _name(self, device_id: str) -> str:
        device = self._state().devices.get(device_id)
        return device_id if device is None else device.name
