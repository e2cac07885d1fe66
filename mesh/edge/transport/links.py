"""The links this peer holds: one per neighbour, whichever side dialled.

With members, and a few quiet ones with keys that were put out: these are heard, not answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Final, final

from mesh.edge.transport.link import Link, LinkClosed, Misbehaved

# Members may dial us on top of those we dial: past this a peer relays through others.
MAX_LINKS: Final = 24
# Keys that were put out, heard at a time; the oldest makes way. An honest one is done in seconds,
# and a thief that holds many such keys may not cost more than a few links.
MAX_QUIET: Final = 4
# A quiet link ends then, so that those who wait have their turn; who has more to bring comes again.
QUIET_S: Final = 300.0

Serve = Callable[[Link], Awaitable[None]]


@final
class Links:
    """Live links by peer key. `serve` runs a link until it ends, quietly where the link is quiet.

    `is_heard` says who may link at all: members, and those who were.
    """

    def __init__(
        self,
        me: bytes,
        is_member: Callable[[bytes], bool],
        serve: Serve,
        now: Callable[[], int],
        is_heard: Callable[[bytes], bool] | None = None,
    ) -> None:
        self._me = me
        self._is_member = is_member
        self._is_heard = is_heard or is_member
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
        """Run a link until it ends; False where it is not to be made again at once.

        It was not wanted, broke the rules, or was quiet.
        """
        if not self._is_heard(link.peer_key) or link.peer_key == self._me:
            await link.close()
            return False
        link.quiet = not self._is_member(link.peer_key)
        if link.apart:
            self.apart[link.peer_key] = link.apart
            await link.close()
            return False
        old = self._table.get(link.peer_key)
        if (old is None and not self._has_room(link)) or (old and not self._wins(link, old)):
            await link.close()
            return False
        leaving = [old] if old is not None else self._surplus(link)
        for one in leaving:
            del self._table[one.peer_key]
        self._table[link.peer_key] = link
        self.apart.pop(link.peer_key, None)
        if not (link.outbound or link.quiet):
            self.came_from[link.peer_key] = link.address
        self.changed.set()
        for one in leaving:
            await one.close()
        return await self._run(link)

    async def _run(self, link: Link) -> bool:
        try:
            async with asyncio.timeout(QUIET_S if link.quiet else None):
                await self._serve(link)
        except Misbehaved:
            return False
        except (LinkClosed, TimeoutError):
            return not link.quiet
        finally:
            if self._table.get(link.peer_key) is link:
                del self._table[link.peer_key]
                self.ended_ms[link.peer_key] = self._now()
                self.changed.set()
            await link.close()
        return not link.quiet

    def _has_room(self, link: Link) -> bool:
        """Quiet links and members' never wait for each other."""
        return link.quiet or sum(not one.quiet for one in self.all()) < MAX_LINKS

    def _surplus(self, link: Link) -> list[Link]:
        """The quiet links that make way for a new one."""
        held = [one for one in self.all() if one.quiet]
        return held[: max(0, len(held) + 1 - MAX_QUIET)] if link.quiet else []

    async def drop_strangers(self) -> None:
        """End the links of strangers, and of members that were put out or came back.

        These link again, quietly or not.
        """
        for known in (self.apart, self.came_from):
            for key in [key for key in known if not self._is_member(key)]:
                del known[key]
        for link in self.all():
            member = self._is_member(link.peer_key)
            if member == link.quiet or not (member or self._is_heard(link.peer_key)):
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
