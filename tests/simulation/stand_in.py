"""The ledger and the state that equals it, as short as it can be said; the real one replaces it."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from mesh.api.errors import RequestError
from mesh.edge.disk import StoreError
from mesh.edge.identity import Fleet
from mesh.edge.store.ledger import Ledger
from mesh.ledger.event import Event
from mesh.ledger.gate import Admission
from mesh.state.checkpoint import pack, unpack
from mesh.state.fold import KEEP_ENDED, State, apply, fold_ordered
from mesh.state.members import Members
from mesh.sync.manifest import Tip
from tests.simulation.clock import Worker

SNAPSHOT_EVENTS = 12


class Live:
    """What the node does between its ledger and its state."""

    def __init__(
        self,
        ledger: Ledger,
        fleet: Fleet | None,
        writer: Worker,
        now_ms: Callable[[], int],
        told: Callable[[Sequence[Event]], None],
    ) -> None:
        self._ledger, self._fleet, self._writer = ledger, fleet, writer
        self._now_ms, self._told = now_ms, told
        self._order = asyncio.Lock()
        self._heard = asyncio.Event()
        self.state, self.cursor = self._load()
        self._kept = 0

    @property
    def may_sign(self) -> bool:
        return self._fleet is None or self._heard.is_set()

    async def wait_to_sign(self) -> None:
        await self._heard.wait()

    def heard(self, own_tip: Tip | None) -> None:
        """A neighbour told how far it knows our chain."""
        mine = self._ledger.tip(self._ledger.author)
        if own_tip is None or (mine is not None and mine.seq >= own_tip.seq):
            self._heard.set()

    def admits(self, author: str, seq: int) -> bool:
        return author == self._ledger.author or self.state.members.admits(author, seq)

    async def emit(self, event_type: str, device_id: str, payload: dict[str, object]) -> Event:
        if not self.may_sign:
            raise RequestError("NotHeard", "no neighbour was heard yet", "wait", 503)

        async def whole() -> Event:
            event: Event = await self._call(
                self._ledger.append, event_type, device_id, payload, self._now_ms()
            )
            await self.catch_up()
            return event

        return await asyncio.shield(asyncio.ensure_future(whole()))

    async def take_in(self, envelopes: Sequence[tuple[bytes, bytes]]) -> list[Admission]:
        async def whole() -> list[Admission]:
            taken = await self._call(self._ledger.take_in, list(envelopes))
            await self.catch_up()
            return list(taken.outcomes)

        return await asyncio.shield(asyncio.ensure_future(whole()))

    async def belong(self, fleet: Fleet) -> None:
        async with self._order:
            self._fleet = fleet
            self._heard.set()
            self._refold(self.state.members)

    async def catch_up(self) -> None:
        async with self._order:
            new = list(self._ledger.events(self.cursor))
            for cursor, event in new:
                apply(self.state, event)
                self.cursor = cursor
            if self.state.stale:
                known = self.state.members
                await self._call(lambda: self._refold(known))
            self._told([event for _, event in new])
            self._kept += len(new)
            if self._kept >= SNAPSHOT_EVENTS:
                self.snapshot()

    def snapshot(self) -> None:
        self._kept = 0
        with contextlib.suppress(StoreError):
            self._ledger.put_checkpoint(self.cursor, pack(self.state))

    def close(self) -> None:
        if not self.state.stale:
            self.snapshot()

    def refolded(self) -> State:
        """The whole ledger folded, from nothing."""
        return self._fold(Members(root=self._root))

    @property
    def _root(self) -> str:
        return self._fleet.root if self._fleet else ""

    def _load(self) -> tuple[State, int]:
        found = self._ledger.get_checkpoint()
        state = None if found is None else unpack(found[1])
        if found and state is not None and state.members.root == self._root:
            cursor = found[0]
            if cursor == state.event_count <= self._ledger.last_cursor():
                for at, event in self._ledger.events(found[0]):
                    apply(state, event)
                    cursor = at
                if not state.stale:
                    return state, cursor
        return self._fold(Members(root=self._root)), self._ledger.last_cursor()

    def _refold(self, known: Members) -> None:
        self.state = self._fold(known.anew(self._root))
        self.cursor = self._ledger.last_cursor()

    def _fold(self, members: Members) -> State:
        state = fold_ordered(self._ledger.ordered(), KEEP_ENDED, members)
        if not state.stale:
            return state
        return fold_ordered(self._ledger.ordered(), KEEP_ENDED, state.members.anew())

    async def _call(self, do: Callable[..., Any], *args: object) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._writer, do, *args)


def digest(state: State) -> bytes:
    """Equal for equal verdicts, whatever the order of arrival."""
    said = msgspec.to_builtins(state, order="sorted")
    said["members"].pop("admins")
    for name in ("untrusted_count", "device_refused", "stale"):
        said.pop(name, None)
    return repr(_sorted(said)).encode()


def _sorted(value: object) -> object:
    if isinstance(value, dict):
        return sorted((repr(key), _sorted(one)) for key, one in value.items())
    return [_sorted(one) for one in value] if isinstance(value, list | tuple) else value
