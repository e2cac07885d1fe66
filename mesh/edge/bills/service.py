"""The daemon's part in bills: it keeps them up to date, and says how long it watched its devices.

A device that its peer's daemon watched and that had no job was idle; when nobody watched, nobody
knows. What was watched is told each six hours and at the end; until then this peer alone knows.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Final, Protocol, final
from zoneinfo import ZoneInfo

from mesh.api.bills.asked import BillAsked
from mesh.api.errors import STARTING, RequestError
from mesh.edge.bills.gathering import Watch
from mesh.edge.bills.local import bills_of
from mesh.edge.disk import StoreError
from mesh.state.bills.calendar import zone_of
from mesh.state.facts.fact import encode
from mesh.state.facts.money import DeviceWatched
from mesh.state.state import State

STEP_S: Final = 30.0
TELL_MS: Final = 6 * 3_600_000  # four events a device and day: a year of one is 0.3 MB
LEAST_MS: Final = 60_000  # a daemon that starts and ends at once tells nothing
# A step that comes so late: the machine slept, or its clock was set. Nobody watched meanwhile.
SLEPT_MS: Final = 4 * int(STEP_S) * 1000
# Bills are made anew for whoever asks, where that is quick; else they are at most so old.
QUICK_S: Final = 0.5
FRESH_S: Final = 60.0

# Longer than a bill takes that is kept, shorter than programs wait for an answer.
PATIENCE_S: Final = 5.0

Row = dict[str, object]


class Served(Protocol):
    """The node, as bills need it."""

    home: Path

    @property
    def state(self) -> State:
        """Everything the ledger says, folded."""

    async def emit(self, event_type: str, device_id: str, payload: dict[str, object]) -> object:
        """Sign and keep a fact."""

    def may_register(self) -> bool:
        """Whether what this peer says of its devices counts."""


@final
class BillService:
    """One daemon's bills; `zone` is whose days are kept."""

    def __init__(self, node: Served, author: str, zone: str, now_ms: Callable[[], int]) -> None:
        self._node: Final = node
        self._author: Final = author
        self._now_ms: Final = now_ms
        self._since_ms = self._seen_ms = now_ms()
        self.zone: Final = zone_of(zone) or ZoneInfo("UTC")
        self._bills: Final = bills_of(node.home, zone, now_ms, self._watch)
        self._lock: Final = asyncio.Lock()
        self._took_s = 0.0
        self._began_s = -FRESH_S
        self._made_s = -FRESH_S
        self._tasks: Final[set[asyncio.Task[Row]]] = set()

    async def ask(self, asked: BillAsked) -> Row:
        """The report that is asked for; of a large ledger up to FRESH_S old. RequestError, 503,
        where bills are made for the first time and that takes longer than anybody waits."""
        if self._took_s > QUICK_S and time.monotonic() - self._made_s < FRESH_S:
            kept = await asyncio.to_thread(self._bills.kept, asked)
            if kept is not None:
                return kept
        return await self._patiently(lambda: self._asked(asked))

    async def _asked(self, asked: BillAsked) -> Row:
        asked_s = time.monotonic()
        async with self._lock:
            # Who waited while somebody else's were made has them, too.
            if self._began_s >= asked_s and (
                kept := await asyncio.to_thread(self._bills.kept, asked)
            ):
                return kept
            return await self._made(lambda: self._bills.ask(asked))

    async def _patiently(self, work: Callable[[], Coroutine[None, None, Row]]) -> Row:
        """What comes of it. Making bills for the first time goes on, also where nobody waits."""
        making = self._bills.making
        task = None if making.is_long else self._start(work())
        while task is not None:
            done, _ = await asyncio.wait({task}, timeout=PATIENCE_S)
            if done:
                return task.result()
            if making.is_long:
                break
        raise RequestError(STARTING, making.text(), "again in a moment", 503)

    def _start(self, work: Coroutine[None, None, Row]) -> asyncio.Task[Row]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Row]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # it may have nobody any more to hear it

    async def focus(self, asked: BillAsked) -> tuple[str, int]:
        """Lines with the columns of FOCUS, as CSV, and the time that is in none of them, since
        nobody knows its price."""

        def make() -> Row:
            found = self._bills.focus(asked)
            return {"csv": found.csv(), "left_out_ms": found.left_out_ms}

        async def made() -> Row:
            async with self._lock:
                return await asyncio.to_thread(make)

        found = await self._patiently(made)
        return str(found["csv"]), int(str(found["left_out_ms"]))

    def expire(self) -> None:
        """Something was said of money: the next question is answered with it."""
        self._made_s = -FRESH_S

    async def run(self) -> None:
        """Watch, tell and keep up, until cancelled; what another version kept is made anew."""
        if await asyncio.to_thread(self._bills.is_outdated):
            self._start(self._kept_anew())
        while True:
            await self._step()
            await asyncio.sleep(STEP_S)

    async def _kept_anew(self) -> Row:
        async with self._lock:
            return await self._made(self._bills.keep)

    async def close(self) -> None:
        """Tell what was watched since the last time; nothing where it can't be signed now."""
        self._bills.making.stop()
        with contextlib.suppress(Exception):
            await self._tell(self._seen_ms)

    async def _step(self) -> None:
        now_ms = self._now_ms()
        if not 0 <= now_ms - self._seen_ms <= SLEPT_MS:
            await self._told(self._seen_ms)
            self._since_ms = now_ms
        elif now_ms - self._since_ms >= TELL_MS:
            await self._told(now_ms)
        self._seen_ms = now_ms
        if self._took_s > QUICK_S:
            async with self._lock:
                await self._made(self._bills.keep)

    async def _made(self, make: Callable[[], Row]) -> Row:
        begun_s = self._began_s = time.monotonic()
        found = await asyncio.to_thread(make)
        self._made_s = time.monotonic()
        self._took_s = self._made_s - begun_s
        return found

    async def _told(self, until_ms: int) -> None:
        try:
            await self._tell(until_ms)
        except (StoreError, OSError) as error:
            print(f"fleet: what was watched is not told: {error}", file=sys.stderr, flush=True)

    async def _tell(self, until_ms: int) -> None:
        if until_ms - self._since_ms < LEAST_MS or not self._node.may_register():
            return
        fact = DeviceWatched(from_ms=self._since_ms, to_ms=until_ms)
        self._since_ms = until_ms
        for device in self._own():
            await self._node.emit("device_watched", device, encode(fact))

    def _own(self) -> list[str]:
        """This peer's devices, but for what is rented: that costs the same whether watched."""
        state = self._node.state
        return [
            one.device_id
            for one in list(state.devices.values())
            if one.owner == self._author and not one.facts.hourly_nusd
        ]

    def _watch(self) -> Watch:
        return Watch(author=self._author, from_ms=self._since_ms)
