"""One peer's part in "one address", put together: its own servers, the fleet's, and the port."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Final, final

from aiohttp import web

from mesh.api.errors import RequestError
from mesh.edge.gateway.fleet import FleetServers
from mesh.edge.gateway.own import OwnServers, Served
from mesh.edge.gateway.peers import ServeRoutes
from mesh.edge.gateway.relay import Relay
from mesh.edge.gateway.routes import Gateway
from mesh.edge.http.roles import Route
from mesh.edge.peering.mesh import Mesh
from mesh.edge.transport.listen import listen
from mesh.serving.family import Asked
from mesh.state.fold import State

LOOPBACK: Final = "127.0.0.1"


@final
class Front:
    """Everything one peer does about serving. `mesh` reaches the others, None where nobody is."""

    def __init__(
        self, home: Path, author: str, state: Callable[[], State], mesh: Mesh | None
    ) -> None:
        self._state: Final = state
        self._mesh: Final = mesh
        self._runner: web.AppRunner | None = None
        self.own: Final = OwnServers(home, author, state, self)
        self.servers: Final = FleetServers(author, state, self.own, lambda: mesh, self._linked)
        self._gateway: Final = Gateway(Relay(self.servers, self, self._name), self.servers, self)
        self.url = ""

    def peer_routes(self) -> list[Route]:
        """What members reach over TLS."""
        return ServeRoutes(self.own).routes()

    async def start(self, port: int) -> str:
        """Open the address; where it is. Another port is taken where this one is not free."""
        runner = web.AppRunner(
            self._gateway.app(),
            handle_signals=False,
            shutdown_timeout=1.0,
            access_log=None,
            handler_cancellation=True,  # a client that leaves must free its slot
        )
        await runner.setup()
        self._runner = runner
        (sock,) = listen(LOOPBACK, port)
        await web.SockSite(runner, sock).start()
        self.url = f"http://{LOOPBACK}:{sock.getsockname()[1]}"
        return self.url

    async def close(self) -> None:
        """Let go of the port and of what is open."""
        if self._runner is not None:
            await self._runner.cleanup()
        await self.own.close()

    def _linked(self, key: bytes) -> bool:
        return self._mesh is not None and self._mesh.links.get(key) is not None

    def _name(self, device_id: str) -> str:
        device = self._state().devices.get(device_id)
        return device_id if device is None else device.name

    # Books, starts and admits, until each has its own room.

    def served(self, one: Served) -> None:
        return

    def who(self, secret: str) -> str:
        return ""

    def begin(self, key_id: str, asked: Asked) -> Callable[[], None]:
        return lambda: None

    def waits(self, model: str, context: int) -> AsyncGenerator[str, None]:
        return self._nobody(model)

    async def _nobody(self, model: str) -> AsyncGenerator[str, None]:
        names = ", ".join(sorted({job.model for job in self.servers.jobs()})) or "nothing"
        text = f"nobody serves {model[:80]!r}; served: {names[:400]}"
        if text:
            raise RequestError("UnknownModel", text, f"fleet serve {model[:80]}", 404)
        yield text
