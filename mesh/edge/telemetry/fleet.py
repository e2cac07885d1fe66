"""Every peer's telemetry at one of them: streams from the members while somebody watches.

Each member has a task of its own, so one that does not answer delays no other: its row keeps what
it said last, with its age.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, aclosing, contextmanager, suppress
from typing import Final, Protocol, final

from mesh.api.errors import RequestError
from mesh.api.telemetry import (
    MAX_MESSAGE_BYTES,
    DeviceNow,
    FleetNow,
    PeerNow,
    PeerRow,
    cut,
    read_message,
)
from mesh.edge.telemetry.recorder import Telemetry
from mesh.state.peer_id import peer_id
from mesh.state.state import State

PATH: Final = "/v1/telemetry"
# A picture of the fleet a second.
EVERY_S: Final = 1.0
# A member sends at 1 Hz; one that missed this many seconds is shown as silent.
SILENT_S: Final = 5.0
# Who asks for one picture waits so long for those who have not said anything yet.
FIRST_S: Final = 1.0
# A member that is not reached is tried again after this.
RETRY_S: Final = 5.0
# Members streamed from at once: each is a TLS link and a task.
MAX_MEMBERS: Final = 64


class Members(Protocol):
    """What reaches the other members."""

    def stream(self, key: bytes, path: str, most_bytes: int) -> AsyncIterator[bytes]:
        """The messages of one member's event stream."""


@final
class Upstream:
    """One member's stream, shared by all who watch it; keeps the last message alone."""

    def __init__(self, key: bytes, members: Members, steady: Callable[[], float]) -> None:
        self._key, self._members, self._steady = key, members, steady
        self.last: PeerNow | None = None
        self.at_s = 0.0
        self.why = ""
        self.changed = asyncio.Condition()
        self.watchers = 0
        self._begun_s = 0.0
        self._task: asyncio.Task[None] | None = None

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Stream for as long as this is open."""
        self.watchers += 1
        if self._task is None:
            self._begun_s, self.why = self._steady(), ""
            self._task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            self.watchers -= 1
            if not self.watchers and self._task is not None:
                self._task.cancel()
                self._task = None

    async def _run(self) -> None:
        while True:
            self.why = await self._follow()
            async with self.changed:
                self.changed.notify_all()
            await asyncio.sleep(RETRY_S)

    async def _follow(self) -> str:
        """Take messages until the stream ends; why it did."""
        wanted = peer_id(self._key.hex())
        try:
            async with aclosing(self._members.stream(self._key, PATH, MAX_MESSAGE_BYTES)) as said:  # type: ignore[type-var]
                async for raw in said:
                    message = read_message(raw)
                    if message.peer_id != wanted:
                        return "it speaks of another peer's devices"
                    self.last, self.at_s, self.why = message, self._steady(), ""
                    async with self.changed:
                        self.changed.notify_all()
        except RequestError as error:
            return error.text
        except ValueError as error:
            return str(error)
        return "its stream ended"

    def is_young(self) -> bool:
        """Whether it said something a moment ago."""
        return self.last is not None and self._steady() - self.at_s < SILENT_S

    def has_spoken(self) -> bool:
        """Whether anything came, or went wrong, since somebody began to watch."""
        return bool(self.why) or (self.last is not None and self.at_s >= self._begun_s)

    async def messages(self) -> AsyncIterator[PeerNow]:
        """The last message, if there is a young one, then each that comes."""
        with self.watched():
            seen = None if self.is_young() else self.last
            while True:
                if self.last is not None and self.last is not seen:
                    seen = self.last
                    yield seen
                    continue
                if self.why:
                    raise RequestError("Unanswered", cut(self.why), "fleet doctor", 504)
                async with self.changed:
                    if self.last is seen:
                        await self.changed.wait()


@final
class FleetTelemetry:
    """This peer's own telemetry and, on demand, every other member's."""

    def __init__(
        self,
        own: Telemetry,
        members: Members | None,
        state: Callable[[], State],
        author: str,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._own, self._members, self._state = own, members, state
        self._author, self._steady = author, steady
        self._upstreams: dict[str, Upstream] = {}

    def own(self) -> AsyncIterator[PeerNow]:
        """This peer's devices, now and as they are read."""
        return self._own.watch()

    def of(self, wanted: str) -> AsyncIterator[PeerNow]:
        """One peer's, by its name or id, relayed; NotFound for nobody's."""
        state = self._state()
        found = [
            one for one, name in self._others(state).items() if wanted in (name, peer_id(one), one)
        ]
        if wanted in (peer_id(self._author), state.members.name(self._author)):
            return self._own.watch()
        if not found:
            raise RequestError("NotFound", f"no peer {wanted[:80]!r}", "fleet peers", 404)
        return self._upstream(found[0]).messages()

    async def once(self) -> FleetNow:
        """One picture: with what every member says within a second."""
        async with aclosing(self.pictures(FIRST_S)) as pictures:  # type: ignore[type-var]
            async for picture in pictures:
                return picture
        raise AssertionError("pictures never end")

    async def pictures(self, patience_s: float = 0.0) -> AsyncIterator[FleetNow]:
        """The whole fleet, once a second; the first waits for all to speak, so long at most."""
        watched: dict[str, Upstream] = {}
        async with aclosing(self._own.watch()) as own:  # type: ignore[type-var]
            await anext(own)
            pump = asyncio.create_task(_drain(own))
            try:
                with ExitStack() as streams:
                    self._join(watched, streams)
                    await _all_spoke(list(watched.values()), patience_s)
                    while True:
                        yield self._picture(watched)
                        await asyncio.sleep(EVERY_S)
                        self._join(watched, streams)
            finally:
                pump.cancel()
                with suppress(asyncio.CancelledError):
                    await pump

    def _join(self, watched: dict[str, Upstream], streams: ExitStack) -> None:
        """Stream from members that are not streamed from yet."""
        for author in self._others(self._state()):
            if author not in watched and len(watched) < MAX_MEMBERS:
                watched[author] = self._upstream(author)
                streams.enter_context(watched[author].watched())

    def _others(self, state: State) -> dict[str, str]:
        """Names of the other members, by their keys."""
        if self._members is None:
            return {}
        peers = [one for one in state.members.peers() if one.role and one.author != self._author]
        return {one.author: one.name for one in peers}

    def _upstream(self, author: str) -> Upstream:
        members = self._members
        if members is None:
            raise RequestError("NotFound", "this peer listens to no other", "fleet peers", 404)
        if author not in self._upstreams:
            made = Upstream(bytes.fromhex(author), members, self._steady)
            self._upstreams[author] = made
        return self._upstreams[author]

    def _picture(self, watched: dict[str, Upstream]) -> FleetNow:
        state, mine = self._state(), self._own.now()
        row = PeerRow(
            peer_id=mine.peer_id,
            name=cut(state.members.name(self._author)),
            you=True,
            state="live",
            age_ms=0,
            devices=mine.devices,
        )
        members = [(one, watched[one]) for one in self._others(state) if one in watched]
        rows = [self._row(state, author, one, mine.at_ms) for author, one in members]
        return FleetNow(at_ms=mine.at_ms, peers=(row, *rows))

    def _row(self, state: State, author: str, one: Upstream, now_ms: int) -> PeerRow:
        """A member: what it said last, or what the ledger knows of its devices."""
        young = one.is_young()
        age_ms = None if one.last is None else int((self._steady() - one.at_s) * 1000)
        known = _registered(state, author, now_ms)
        return PeerRow(
            peer_id=peer_id(author),
            name=cut(state.members.name(author)),
            you=False,
            state="live" if young else "silent",
            age_ms=age_ms,
            why="" if young else cut(one.why or "it has not answered"),
            devices=known if one.last is None else one.last.devices,
        )


async def _all_spoke(upstreams: list[Upstream], patience_s: float) -> None:
    """Wait until each said something or failed, so long at most."""

    async def spoke(one: Upstream) -> None:
        async with one.changed:
            await one.changed.wait_for(one.has_spoken)

    with suppress(TimeoutError):
        async with asyncio.timeout(patience_s):
            await asyncio.gather(*map(spoke, upstreams))


async def _drain(own: AsyncIterator[PeerNow]) -> None:
    """Keep the fast rate up; each reading is taken from where it is kept."""
    async for _ in own:
        pass


def _registered(state: State, author: str, now_ms: int) -> tuple[DeviceNow, ...]:
    """A member's devices as the ledger has them: names and sizes, and how old that is."""
    views = [v for v in list(state.devices.values()) if v.owner == author and not v.hand_described]
    return tuple(
        DeviceNow(
            device_id=cut(view.device_id),
            name=cut(view.name),
            memory_bytes=view.facts.memory_bytes or None,
            age_ms=max(0, now_ms - view.seen_ms),
        )
        for view in sorted(views, key=lambda v: v.name)
    )
