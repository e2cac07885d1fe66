"""Peers on the same network, by multicast DNS on every real interface. Only this file knows it.

An announcement says a peer's id and its ports and is believed by nobody: it tells where to knock.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from typing import Any, Final, final

from mesh.edge.discovery.interfaces import interfaces
from mesh.edge.discovery.sightings import MDNS, Sighting, Sightings
from mesh.edge.discovery.whereabouts import Whereabouts
from mesh.state.peer_id import parse_peer_id

SERVICE: Final = "_fleetledger._tcp.local."
# How often the interfaces are looked at; a laptop that changes networks announces itself anew.
LOOK_S: Final = 5.0
RESOLVE_MS: Final = 3000
# Anyone on the network may announce; a host has some addresses and we look at no more.
MAX_PLACES: Final = 8
# Services looked up at a time: a flood of announcements costs this many queries.
MAX_LOOKUPS: Final = 16
GOODBYE_S: Final = 2.0


@final
class Mdns:
    """Announces this peer and notes the others. `state` says how that goes."""

    def __init__(
        self,
        peer_id: str,
        name: str,
        chosen: tuple[str, ...],
        where: Callable[[], Whereabouts],
        book: Sightings,
        news: Callable[[str], None],
        now: Callable[[], int],
    ) -> None:
        self._peer_id, self._name, self._chosen = peer_id, name, chosen
        self._where, self._book, self._news, self._now = where, book, news, now
        self.state = "starting"
        self.fix = ""
        self._ids: dict[str, str] = {}  # service name -> peer id
        self._lookups: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until cancelled; a network that goes away only ends one round."""
        while True:
            places = self._places()
            if not places:
                self.state, self.fix = "no network interface to speak on", "connect to a network"
                await asyncio.sleep(LOOK_S)
                continue
            try:
                await self._round(places)
            except OSError as error:
                self.state = f"cannot speak on {', '.join(places)}: {error}"
                self.fix = "does a firewall block UDP port 5353?"
                await asyncio.sleep(LOOK_S)

    def _places(self) -> dict[str, list[str]]:
        """Addresses by interface; for mDNS one IPv4 address of each is enough."""
        return {
            name: texts
            for name, texts in interfaces(self._chosen).items()
            if any("." in text for text in texts)
        }

    async def _round(self, places: dict[str, list[str]]) -> None:
        """Announce and browse while the interfaces stay as they are."""
        from zeroconf.asyncio import AsyncServiceBrowser, AsyncZeroconf

        spoken = [next(text for text in texts if "." in text) for texts in places.values()]
        found = AsyncZeroconf(interfaces=spoken)
        browser = None
        try:
            browser = AsyncServiceBrowser(
                found.zeroconf, SERVICE, handlers=[self._handler(found.zeroconf)]
            )
            await (await found.async_register_service(self._info(places), allow_name_change=True))
            self.state, self.fix = f"announced on {', '.join(places)}", ""
            await self._until_moved(places)
        finally:
            with contextlib.suppress(OSError, TimeoutError, asyncio.CancelledError):
                async with asyncio.timeout(GOODBYE_S):
                    if browser is not None:
                        await browser.async_cancel()
                    await found.async_close()
            for task in list(self._lookups):
                task.cancel()

    async def _until_moved(self, places: dict[str, list[str]]) -> None:
        """While the interfaces stay as they are."""
        while True:
            await asyncio.sleep(LOOK_S)
            if self._places() != places:
                return

    def _info(self, places: dict[str, list[str]]) -> Any:
        from zeroconf import ServiceInfo

        where = self._where()
        every = [text for texts in places.values() for text in texts]
        label = f"{self._name[:40]}-{self._peer_id[:7].lower()}"
        return ServiceInfo(
            SERVICE,
            f"{label}.{SERVICE}",
            # Where only one address is listened on, the others are nobody's business.
            parsed_addresses=[text for text in every if text in where.addresses] or every,
            port=where.port,
            properties={"v": "1", "id": self._peer_id, "pair": str(where.pairing_port)},
            server=f"{label}.local.",
        )

    def _handler(self, zeroconf: Any) -> Callable[..., None]:
        """What the browser calls, in this loop, for each service that comes, changes or goes."""

        def changed(name: str, state_change: Any, **_: object) -> None:
            if state_change.name == "Removed":
                gone = self._ids.pop(name, None)
                if gone is not None:
                    self._book.lose(MDNS, gone)
                return
            if len(self._lookups) >= MAX_LOOKUPS:
                return
            task = asyncio.ensure_future(self._look_up(zeroconf, name))
            self._lookups.add(task)
            task.add_done_callback(self._lookups.discard)

        return changed

    async def _look_up(self, zeroconf: Any, name: str) -> None:
        from zeroconf.asyncio import AsyncServiceInfo

        info = AsyncServiceInfo(SERVICE, name)
        with contextlib.suppress(OSError):
            if await info.async_request(zeroconf, RESOLVE_MS):
                self._note(name, info.decoded_properties, info.parsed_addresses(), info.port or 0)

    def _note(
        self, name: str, said: dict[str, str | None], addresses: Iterable[str], port: int
    ) -> None:
        """An announcement in our words; whatever isn't one of ours is left alone."""
        try:
            who = parse_peer_id(said.get("id") or "")
            pairing_port = int(said.get("pair") or 0)
        except ValueError:
            return
        if who == self._peer_id or not 0 < port < 65536 or not 0 <= pairing_port < 65536:
            return
        if name not in self._ids and len(self._ids) < 1024:
            self._ids[name] = who
        called = name.removesuffix(f".{SERVICE}").rpartition("-")[0][:40]
        new = False
        # The first address is tried first, and IPv4 is what the interfaces were chosen by.
        for text in sorted(addresses, key=lambda text: ":" in text)[:MAX_PLACES][::-1]:
            new |= self._book.see(
                Sighting(
                    source=MDNS,
                    peer_id=who,
                    name=called,
                    address=(text, port),
                    pairing_port=pairing_port,
                    seen_ms=self._now(),
                )
            )
        if new:
            self._news(who)
