"""Accepting connections from anyone: bounded in rate, number and time before a key is proved."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import socket
import ssl
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, final

# A handshake takes milliseconds on a LAN and two round trips across the world.
HANDSHAKE_S: Final = 5.0
# At most this many strangers at a time between "accepted" and "key proved"; about 60 KiB each.
MAX_HANDSHAKES: Final = 64
BACKLOG: Final = 128
# Addresses whose rate is remembered; the least recent is forgotten, which costs only its rate.
MAX_ADDRESSES: Final = 4096
ACCEPT_PAUSE_S: Final = 0.2  # after a failed accept: out of descriptors for one


@final
class Limiter:
    """A token bucket per address and one for all; `now` in seconds of any steady clock."""

    def __init__(self, per_s: float, burst: int, all_per_s: float, all_burst: int) -> None:
        self._per_s, self._burst = per_s, float(burst)
        self._all_per_s, self._all_burst = all_per_s, float(all_burst)
        self._all = (self._all_burst, 0.0)
        self._each: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def allows(self, address: str, now: float) -> bool:
        """Take one token of each bucket; False where one is empty."""
        left = _refill(self._each.pop(address, (self._burst, now)), self._per_s, self._burst, now)
        total = _refill(self._all, self._all_per_s, self._all_burst, now)
        fits = left >= 1 and total >= 1
        self._each[address] = (left - fits, now)
        self._all = (total - fits, now)
        if len(self._each) > MAX_ADDRESSES:
            self._each.popitem(last=False)
        return fits


def _refill(bucket: tuple[float, float], per_s: float, burst: float, now: float) -> float:
    left, at = bucket
    return min(burst, left + max(0.0, now - at) * per_s)


@final
class Listener:
    """Serves one protocol over TLS on some sockets; `context` is asked anew for each connection.

    A connection ends after `lifetime_s`, if given, and none is taken while `has_room` says no.
    """

    def __init__(
        self,
        sockets: list[socket.socket],
        factory: Callable[[], asyncio.Protocol],
        context: Callable[[], ssl.SSLContext],
        limiter: Limiter,
        lifetime_s: float | None = None,
        has_room: Callable[[], bool] = lambda: True,
    ) -> None:
        self._sockets = sockets
        self._factory = factory
        self._context = context
        self._limiter = limiter
        self._lifetime_s = lifetime_s
        self._has_room = has_room
        self._tasks: set[asyncio.Task[None]] = set()
        self.turned_away = 0

    @property
    def port(self) -> int:
        return int(self._sockets[0].getsockname()[1])

    async def run(self) -> None:
        """Accept until cancelled; then close the sockets."""
        try:
            async with asyncio.TaskGroup() as group:
                for one in self._sockets:
                    group.create_task(self._accept(one))
        finally:
            for one in self._sockets:
                one.close()
            for task in list(self._tasks):
                task.cancel()

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        listening.setblocking(False)  # noqa: FBT003  its only argument, by position
        while True:
            try:
                connection, address = await loop.sock_accept(listening)
            except OSError:
                await asyncio.sleep(ACCEPT_PAUSE_S)
                continue
            allowed = self._limiter.allows(plain_address(address[0]), loop.time())
            if not allowed or len(self._tasks) >= MAX_HANDSHAKES or not self._has_room():
                self.turned_away += 1
                connection.close()
                continue
            task = asyncio.create_task(self._greet(connection))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _greet(self, connection: socket.socket) -> None:
        """The handshake; a stranger's failure is no news."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError, TimeoutError, ssl.SSLError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            transport, _ = await loop.connect_accepted_socket(
                self._factory,
                connection,
                ssl=self._context(),
                ssl_handshake_timeout=HANDSHAKE_S,
            )
            if self._lifetime_s is not None:
                loop.call_later(self._lifetime_s, transport.abort)
            return
        connection.close()


def listen(host: str, port: int) -> list[socket.socket]:
    """Listening sockets at a port of `host`, or of every interface where `host` is empty.

    A taken port is another process's business: then any free one is used, and announced.
    """
    try:
        return [_bound(host, port)]
    except OSError as error:
        if error.errno != errno.EADDRINUSE or not port:
            raise
        return [_bound(host, 0)]


def _bound(host: str, port: int) -> socket.socket:
    if host:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    if socket.has_dualstack_ipv6():
        with contextlib.suppress(OSError):
            return socket.create_server(
                ("::", port), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True
            )
    return socket.create_server(("", port), backlog=BACKLOG)


def plain_address(text: str) -> str:
    """An address without what dual-stack sockets and scopes add to it."""
    bare = text.partition("%")[0]
    try:
        found = ipaddress.ip_address(bare)
    except ValueError:
        return bare
    mapped = getattr(found, "ipv4_mapped", None)
    return str(mapped or found)
