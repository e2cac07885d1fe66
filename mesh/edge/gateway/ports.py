"""Further ports of the address: those where tools look for another program.

Which ones a person asked for stands in a file, so that they come back with the daemon.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import sys
from pathlib import Path
from typing import Final, final

import psutil
from aiohttp import web

from mesh.api.errors import RequestError
from mesh.edge.disk import explained
from mesh.edge.transport.plain import Crowd, PlainPort
from providers.durable import read_json, write_json

LOOPBACK: Final = "127.0.0.1"
FILE: Final = "proxies.json"
# Where each program listens unless it is told otherwise.
USUAL: Final = {"ollama": 11434, "lmstudio": 1234}
MAX_PORTS: Final = 8  # nobody takes the place of more programs; a socket each
MAX_PORT: Final = 65_535

Row = dict[str, object]


@final
class Ports:
    """Opens and closes them, before one server."""

    def __init__(self, home: Path) -> None:
        self._file: Final = home / FILE
        self._server: tuple[web.Server, Crowd] | None = None
        self._wanted: dict[int, str] = {}  # port -> whose it usually is, "" for nobody's
        self._open_ones: dict[int, PlainPort] = {}
        self._changes: Final = asyncio.Lock()

    async def start(self, server: web.Server, crowd: Crowd) -> None:
        """Open those that were asked for before; one that is taken now delays no daemon."""
        self._server = server, crowd
        self._wanted = await asyncio.to_thread(self._read)
        for port in self._wanted:
            try:
                await self._open(port)
            except RequestError as error:
                print(f"fleet: {error.text}; {error.hint}", file=sys.stderr, flush=True)

    async def open_at(self, port: int, name: str = "") -> None:
        """The address answers at this port, too, from now on; RequestError where it can't."""
        async with self._changes:
            if port not in self._open_ones:
                if len(self._wanted.keys() | {port}) > MAX_PORTS:
                    text = f"{MAX_PORTS} further ports are open already"
                    raise RequestError("TooMany", text, "fleet proxy lists them", 409)
                await self._open(port)
            await self._keep({**self._wanted, port: name or self._wanted.get(port, "")})

    async def close_at(self, port: int) -> None:
        """It answers there no more."""
        async with self._changes:
            if port not in self._wanted:
                text = f"port {port} is none of ours"
                raise RequestError("NotFound", text, "fleet proxy lists those that are", 404)
            found = self._open_ones.pop(port, None)
            if found is not None:
                await found.close()
            await self._keep({one: name for one, name in self._wanted.items() if one != port})

    def rows(self) -> list[Row]:
        """Each that was asked for, and whether it is open."""
        return [
            {
                "port": port,
                "as": name,
                "url": f"http://{LOOPBACK}:{port}",
                "open": port in self._open_ones,
            }
            for port, name in sorted(self._wanted.items())
        ]

    async def _open(self, port: int) -> None:
        assert self._server is not None
        try:
            sock = socket.create_server((LOOPBACK, port))
        except OSError as error:
            raise await asyncio.to_thread(_refused, port, error) from error
        self._open_ones[port] = PlainPort(sock, *self._server)

    async def close(self) -> None:
        """Answer at none of them; they come back with the daemon."""
        for one in self._open_ones.values():
            await one.close()
        self._open_ones.clear()

    async def _keep(self, wanted: dict[int, str]) -> None:
        if wanted != self._wanted:
            self._wanted = wanted
            await asyncio.to_thread(self._write, wanted)

    def _write(self, wanted: dict[int, str]) -> None:
        with explained("cannot keep which ports were opened"):
            write_json(self._file, {str(port): name for port, name in wanted.items()})

    def _read(self) -> dict[int, str]:
        """What the file holds, as far as it makes sense: anybody may have edited it."""
        found = {
            int(port): str(name)
            for port, name in (read_json(self._file) or {}).items()
            if port.isascii() and port.isdecimal() and 0 < int(port) <= MAX_PORT
        }
        return dict(list(found.items())[:MAX_PORTS])


def _refused(port: int, error: OSError) -> RequestError:
    """Why a port can't be had, naming who has it."""
    if error.errno != errno.EADDRINUSE:
        text = f"port {port} cannot be had: {error.strerror or error}"
        return RequestError("NoPort", text, "name another: --port N", 409)
    who = holder(port)
    return RequestError(
        "PortBusy", f"port {port} is held by {who}", "stop it first, or name another: --port N", 409
    )


def holder(port: int) -> str:
    """ "ollama (pid 4242)": who listens at a port, as far as the system tells us."""
    try:
        for one in psutil.net_connections("tcp"):
            if one.status == psutil.CONN_LISTEN and one.laddr and one.laddr.port == port:
                return _named(one.pid)
    except (psutil.Error, OSError):
        pass  # macOS shows other users' sockets to root alone
    return "another program"


def _named(pid: int | None) -> str:
    if pid is None:
        return "another user's program"
    if pid == os.getpid():
        return "this daemon itself"
    try:
        return f"{psutil.Process(pid).name()} (pid {pid})"
    except psutil.Error:
        return f"process {pid}"
