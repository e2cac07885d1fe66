"""The links this peer holds: one per neighbour, whichever side dialled, members only."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Final, final

from mesh.edge.transport.link import Link, LinkClosed, Misbehaved

# Members may dial us on top of those we dial: past this a peer relays through others.
MAX_LINKS: Final = 24

Serve = Callable[[Link], Awaitable[None]]


@final
class Links:
    """Live links by peer key. `serve` runs a link until it ends."""

    def __init__(
        self, me: bytes, is_member: Callable[[bytes], bool], serve: Serve, now: Callable[[], int]
    ) -> None:
        self._me = me
        self._is_member = is_member
        self._serve = serve
        self._now = now
        self._table: dict[bytes, Link] = {}
        self.ended_ms: Final[dict[bytes, int]] = {}
        self.apart: Final[dict[bytes, str]] = {}  # members we cannot talk with, and why
        self.came_from: Final[dict[bytes, str]] = {}  # where members dialled us from
        self.changed: Final = asyncio.Event()  # set at every link that begins or ends

    def all(self) -> list[Link]:
        """Every live link."""
        return list(self._table.values())

    def get(self, peer_key: bytes) -> Link | None:
        """The link to one peer."""
        return self._table.get(peer_key)

    async def hold(self, link: Link) -> bool:
        """Run a link until it ends; False where it was not wanted, or broke the rules."""
        if not self._is_member(link.peer_key) or link.peer_key == self._me:
            await link.close()
            return False
        if link.apart:
            self.apart[link.peer_key] = link.apart
            await link.close()
            return False
        old = self._table.get(link.peer_key)
        if (old is None and len(self._table) >= MAX_LINKS) or (old and not self._wins(link, old)):
            await link.close()
            return False
        self._table[link.peer_key] = link
        self.apart.pop(link.peer_key, None)
        if not link.outbound:
            self.came_from[link.peer_key] = link.address
        self.changed.set()
        if old is not None:
            await old.close()
        try:
            await self._serve(link)
        except Misbehaved:
            return False
        except LinkClosed:
            return True
        finally:
            if self._table.get(link.peer_key) is link:
                del self._table[link.peer_key]
                self.ended_ms[link.peer_key] = self._now()
                self.changed.set()
            await link.close()
        return True

    async def drop_strangers(self) -> None:
        """End the links of those who are no members any more."""
        for known in (self.apart, self.came_from):
            for key in [key for key in known if not self._is_member(key)]:
                del known[key]
        for link in [one for one in self.all() if not self._is_member(one.peer_key)]:
            await link.close()

    async def drop_surplus(self, wanted: Collection[bytes], least: int) -> None:
        """End the links we dialled and need no more: the fleet grew, and who needs us dials us.

        Not before `least` of the wanted ones are up: any link is better than none.
        """
        if sum(key in wanted for key in self._table) < least:
            return
        for link in [one for one in self.all() if one.outbound and one.peer_key not in wanted]:
            await link.close()

    async def close(self) -> None:
        """End every link."""
        await asyncio.gather(*(link.close() for link in self.all()))

    def _wins(self, new: Link, old: Link) -> bool:
        """Both sides must keep the same one of two: the one the lower key dialled, else the newer.

        A newer link in the same direction means the other side gave up the old one.
        """
        if new.outbound == old.outbound:
            return True
        return self._dialler(new) < self._dialler(old)

    def _dialler(self, link: Link) -> bytes:
        return self._me if link.outbound else link.peer_key
