"""Ports without TLS, for the user's own programs and for whoever shows a key: bounded as the peer
ports are, so that nobody who only connects can use up the files this process may open."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, final

from mesh.edge.transport.anteroom import Anteroom
from mesh.edge.transport.listen import BACKLOG, Listener

# From a connection to the end of its first request's head. Programs send it in the same breath; a
# browser opens some connections ahead, and opens them anew where they were closed.
HEAD_S: Final = 10.0
# For the rest of a head that is on its way when a port is closed.
END_S: Final = 0.1
# Connections without a whole head, in all and from one address of another machine: programs open
# some dozens at one moment, and those are past this a round trip later.
MAX_HEADLESS: Final = 128
MAX_HEADLESS_EACH: Final = 64
# Connections that asked something, and those kept open for another request: twice as many as the
# address answers at once (gateway.routes.MAX_AT_ONCE), so that those beyond are told so.
MAX_ASKED: Final = 512
# From one address of another machine: as many as are answered at once. On loopback all programs
# have one address, which may have everything.
MAX_ASKED_EACH: Final = 256


@final
@dataclass(frozen=True, slots=True)
class Crowd:
    """Who is connected to one server, over all of its ports."""

    room: Anteroom  # of those who have sent no whole head yet
    hall: Anteroom


def own_programs() -> Crowd:
    """On loopback."""
    return Crowd(
        Anteroom(strangers=MAX_HEADLESS, each=MAX_HEADLESS),
        Anteroom(strangers=MAX_ASKED, each=MAX_ASKED, stay=True),
    )


def other_machines() -> Crowd:
    """On the network: what one address holds open keeps no other out."""
    return Crowd(
        Anteroom(strangers=MAX_HEADLESS, each=MAX_HEADLESS_EACH),
        Anteroom(strangers=MAX_ASKED, each=MAX_ASKED_EACH, stay=True),
    )


@final
class PlainPort:
    """One socket that a server answers on, until it is closed, with which the socket is, too."""

    def __init__(
        self, listening: socket.socket, factory: Callable[[], asyncio.Protocol], crowd: Crowd
    ) -> None:
        self._listening: Final = listening
        listening.listen(BACKLOG)
        self._listener: Final = Listener(
            [listening], factory, None, None, room=crowd.room, hall=crowd.hall, head_s=HEAD_S
        )
        self._task: Final = asyncio.create_task(self._listener.run())

    async def close(self) -> None:
        """Accept nobody any more; who asked something is the server's to answer, or to end."""
        await self._listener.end_kindly(self._task, END_S)
        self._listening.close()  # a task that had not begun closes nothing
