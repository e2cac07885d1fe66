"""Accepting connections from anyone: bounded in rate, number and time before a key is proved."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, final

from mesh.edge.transport.anteroom import (
    MAX_PER_KEY,
    MAX_PROVEN,
    Anteroom,
    Guest,
    place_of,
    plain_address,
)
from mesh.edge.transport.link import key_behind

# A handshake takes milliseconds on a LAN and two round trips across the world; one packet lost
# on the way costs a second more.
HANDSHAKE_S: Final = 4.0
# From there to the end of the first request's head. Our peers send it in the same breath.
FIRST_REQUEST_S: Final = 3.0
HEAD_END: Final = b"\r\n\r\n"  # RFC 9112, 2.1
BACKLOG: Final = 128
# Connections of keys that were put out, once they asked something: a link each and a request.
MAX_FORMER: Final = 16
# Addresses whose rate is remembered; the least recent is forgotten, which costs only its rate.
MAX_ADDRESSES: Final = 4096
KIND_LOOK_S: Final = 0.005
ACCEPT_PAUSE_S: Final = 0.2  # after a failed accept: out of descriptors for one


@final
class Limiter:
    """A token bucket per address and one for all; `now` in seconds of any steady clock."""

    def __init__(self, per_s: float, burst: int, all_per_s: float, all_burst: int) -> None:
        self._per_s, self._burst = per_s, float(burst)
        self._all_per_s, self._all_burst = all_per_s, float(all_burst)
        self._all = (self._all_burst, 0.0)
        self._each: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def allows(self, address: str, now: float, *, spare: bool = False) -> bool:
        """Take one token of each bucket; False where one is empty. `spare`: of its own alone."""
        left = _refill(self._each.pop(address, (self._burst, now)), self._per_s, self._burst, now)
        total = _refill(self._all, self._all_per_s, self._all_burst, now)
        fits = left >= 1 and (spare or total >= 1)
        self._each[address] = (left - fits, now)
        self._all = (total - (fits and not spare), now)
        if len(self._each) > MAX_ADDRESSES:
            self._each.popitem(last=False)
        return fits


def _refill(bucket: tuple[float, float], per_s: float, burst: float, now: float) -> float:
    left, at = bucket
    return min(burst, left + max(0.0, now - at) * per_s)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class _Settings:
    """What all connections of one listener share."""

    room: Anteroom
    hall: Anteroom | None  # of those who asked something: by key, or by address without TLS
    head_s: float
    lifetime_s: float | None
    member: Callable[[bytes], bool]


@final
class _Door(asyncio.Protocol):
    """Between a connection and what serves it: sees the first request, and the end."""

    def __init__(self, inner: asyncio.Protocol, guest: Guest, settings: _Settings) -> None:
        self._inner = inner
        self._guest = guest
        self._settings = settings
        self._timers: list[asyncio.TimerHandle] = []
        self._tail = b""
        self._key = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._guest.end = transport.abort
        self._key = key_behind(transport.get_extra_info("ssl_object")) or b""
        loop = asyncio.get_running_loop()
        self._timers.append(loop.call_later(self._settings.head_s, self._too_late))
        if self._settings.lifetime_s is not None:
            self._timers.append(loop.call_later(self._settings.lifetime_s, transport.abort))
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self._guest.silent:
            seen = self._tail + data
            self._tail = seen[-3:]
            if HEAD_END in seen:
                self._asked()
        if self._transport is not None and not self._transport.is_closing():
            self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in self._timers:
            timer.cancel()
        self._settings.room.leave(self._guest)
        if self._settings.hall is not None:
            self._settings.hall.leave(self._guest)
        self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def _asked(self) -> None:
        self._guest.silent = False
        if self._settings.hall is not None:
            self._settings.room.leave(self._guest)
            if self._key:
                self._guest.place = self._key.hex()
                self._guest.expected = self._settings.member(self._key)
            self._settings.hall.enter(self._guest)

    def _too_late(self) -> None:
        if self._guest.silent:
            self._guest.end()


def members_hall() -> Anteroom:
    """Of connections whose key is proven, once they asked something, by that key."""
    return Anteroom(strangers=MAX_FORMER, members=MAX_PROVEN, each=MAX_PER_KEY)


@final
class Listener:
    """Serves one protocol on some sockets, over TLS where there is a `context`, which is asked anew
    for each connection, and as often as `limiter` says.

    Who has made a request goes from the `room` to the `hall`, and counts there by its key, or by
    its address without TLS. Where there is no hall all stay strangers until they leave, or
    `lifetime_s` is over. `expected` tells of an address whether a member may be there: it has room
    and a rate that strangers can't use up. `member` tells members' keys from those that were put
    out, which have little room of their own.
    """

    def __init__(
        self,
        sockets: list[socket.socket],
        factory: Callable[[], asyncio.Protocol],
        context: Callable[[], ssl.SSLContext] | None,
        limiter: Limiter | None,
        lifetime_s: float | None = None,
        *,
        room: Anteroom | None = None,
        hall: Anteroom | None = None,
        head_s: float | None = None,
        expected: Callable[[str], bool] = lambda _: False,
        member: Callable[[bytes], bool] = lambda _: True,
    ) -> None:
        self._sockets = sockets
        self._factory = factory
        self._context = context
        self._limiter = limiter
        self._expected = expected
        self.room: Final = Anteroom() if room is None else room
        self.hall: Final = hall
        self._settings = _Settings(
            room=self.room,
            hall=hall,
            head_s=FIRST_REQUEST_S if head_s is None else head_s,
            lifetime_s=lifetime_s,
            member=member,
        )
        self._tasks: set[asyncio.Task[bool]] = set()
        self._is_kind = False
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
            if not self._is_kind:
                for task in list(self._tasks):
                    task.cancel()

    async def end_kindly(self, running: asyncio.Task[None], within_s: float) -> None:
        """End `run`: nobody is accepted any more, and whoever was is served what it asked already,
        if that takes no longer."""
        self._is_kind = True
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        loop = asyncio.get_running_loop()
        until = loop.time() + within_s
        while len(self.room) and loop.time() < until:  # noqa: ASYNC110  guests know no end of all
            await asyncio.sleep(KIND_LOOK_S)
        for task in list(self._tasks):
            task.cancel()

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        listening.setblocking(False)  # noqa: FBT003  its only argument, by position
        while True:
            try:
                connection, address = await _accepted(loop, listening)
            except OSError:
                await asyncio.sleep(ACCEPT_PAUSE_S)
                continue
            expected = self._expected(plain_address(address[0]))
            place = place_of(address[0])
            limiter = self._limiter
            if limiter is not None and not limiter.allows(place, loop.time(), spare=expected):
                self.turned_away += 1
                connection.close()
                continue
            self._begin(connection, place, expected=expected)
            # Of many that wait to be accepted each has a turn to show what it sent already, before
            # those after it need its place.
            await asyncio.sleep(0)

    def _begin(self, connection: socket.socket, place: str, *, expected: bool) -> None:
        """The handshake, in a task of its own, that whoever needs the room may end."""
        guest = Guest(place, expected, connection.close)
        task = asyncio.create_task(self._greet(connection, guest))
        guest.end = task.cancel
        self._tasks.add(task)
        task.add_done_callback(partial(self._greeted, connection, guest))
        self.room.enter(guest)

    def _greeted(self, connection: socket.socket, guest: Guest, task: asyncio.Task[bool]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or not task.result():
            self.room.leave(guest)
            connection.close()

    async def _greet(self, connection: socket.socket, guest: Guest) -> bool:
        """The handshake; False where it failed, which is no news of a stranger."""
        loop = asyncio.get_running_loop()
        door = _Door(self._factory(), guest, self._settings)
        with contextlib.suppress(OSError, TimeoutError, ssl.SSLError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.connect_accepted_socket(
                lambda: door,
                connection,
                ssl=None if self._context is None else self._context(),
                ssl_handshake_timeout=None if self._context is None else HANDSHAKE_S,
            )
            return True
        return False


async def _accepted(
    loop: asyncio.AbstractEventLoop, listening: socket.socket
) -> tuple[socket.socket, tuple[str, int]]:
    """The next connection. Who ends the wait loses none: it is accepted by whoever listens next."""
    while True:
        try:
            connection, address = listening.accept()
        except BlockingIOError:
            ready = asyncio.Event()
            try:
                loop.add_reader(listening, ready.set)
            except NotImplementedError:  # Windows
                return await loop.sock_accept(listening)
            try:
                await ready.wait()
            finally:
                loop.remove_reader(listening)
        else:
            connection.setblocking(False)  # noqa: FBT003  its only argument, by position
            return connection, address


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
