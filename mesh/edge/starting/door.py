"""The port on loopback, from one app to the next: who connects in between waits."""

from __future__ import annotations

import os
import socket
from typing import Final, final

from aiohttp import web

from mesh.edge.transport.plain import PlainPort, own_programs

HOST: Final = "127.0.0.1"
# Requests of a daemon that starts are answered at once; none is waited for.
END_S: Final = 0.1


@final
class Door:
    """The listening socket. It is bound once, and stays while the app behind it changes."""

    def __init__(self, port: int) -> None:
        self._port: Final = port
        self._socket: socket.socket | None = None
        self._runner: web.AppRunner | None = None
        self._open: PlainPort | None = None

    async def hold(self, app: web.Application) -> None:
        """Answer with this app until `take`."""
        runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=END_S)
        await runner.setup()
        self._runner = runner
        assert runner.server is not None
        self._open = PlainPort(self._bound().dup(), runner.server, own_programs())

    async def take(self) -> socket.socket:
        """The socket, for the app that goes on; it is the taker's to close."""
        found = self._bound()
        self._socket = None
        await self._let_go()
        return found

    async def close(self) -> None:
        """Nobody listens any more, unless somebody took it."""
        await self._let_go()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    @property
    def is_held(self) -> bool:
        """Whether an app answers until it is taken."""
        return self._runner is not None

    @property
    def url(self) -> str:
        """Where it listens."""
        return url_of(self._bound())

    async def _let_go(self) -> None:
        if self._open is not None:
            await self._open.close()
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    def _bound(self) -> socket.socket:
        if self._socket is None:
            self._socket = _bind(self._port)
        return self._socket


def url_of(listening: socket.socket) -> str:
    """The address of a socket on loopback."""
    return f"http://{HOST}:{listening.getsockname()[1]}"


def _bind(port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # on Windows it would let another program take the port over
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((HOST, port))
    except OSError as error:
        made.close()
        text = f"port {port} on this machine cannot be had: {os.strerror(error.errno or 0)}"
        raise OSError(error.errno, text) from error
    return made
