"""The way to the provider: slow, lossy, cut, and in the way of faults; the provider's own clock is
the only right one. What was sent arrives even where its sender is dead by then."""

import asyncio
import re
from collections.abc import Callable
from email.utils import formatdate
from functools import partial
from typing import TYPE_CHECKING

from providers.rental.contract import Reply, Request
from tests.emulators.base import Asked

if TYPE_CHECKING:
    from tests.simulation.rentals.daemon import Daemon

CALL_LIMIT_S = 30.0
LATE_S = 30.0  # a create acts at most so long after the client gave up
DOUBLED_S = 0.1  # a gateway of theirs sends a request twice
# On the way: the stand-in itself knows nothing of these.
ON_THE_WAY = frozenset(
    {"lost_reply", "late_effect", "error_before", "error_after", "limited", "limited_after",
     "reset", "never_arrives", "doubled"}
)  # fmt: skip
LABEL = re.compile(r"fl-[a-z0-9]{1,10}-[a-z0-9]{1,40}-[0-9a-f]{8,9}")
TIMEOUT = Reply(status=0, broke="timeout")


class SimWire:
    """The wire of one process of a daemon."""

    def __init__(self, daemon: "Daemon", boot: int) -> None:
        self.daemon, self.world = daemon, daemon.world
        self.process = f"{daemon.name}{boot}"

    async def send(self, request: Request) -> Reply:
        """One request, once; a library that sends mutations again is one of the mutants."""
        self.daemon.step(f"send {request.op}")
        reply = await self._send(request)
        if self.world.resends and reply.broke == "reset" and request.method != "GET":
            reply = await self._send(request)
        self.daemon.step(f"heard {request.op}")
        return reply

    async def _send(self, request: Request) -> Reply:
        asked = Asked(
            method=request.method,
            path=request.path,
            query=dict(request.query),
            headers={"authorization": f"Bearer {self.world.key}"},
            body=request.body,
        )
        if self.daemon.cut:
            self.world.hit("cut", self.daemon.states())
            await asyncio.sleep(CALL_LIMIT_S)
            return TIMEOUT
        op = self.world.emulator.op(asked)
        self.world.judge.sent(self.process, op)
        fault = self.world.faults.of_call(op, self.daemon, self._rental(request))
        return await self._play(asked, op, fault)

    def _rental(self, request: Request) -> str:
        label = LABEL.search(str(request.body))
        return label[0].split("-")[2] if label else ""

    async def _play(self, asked: Asked, op: str, fault: str) -> Reply:
        dice = self.world.dice
        travel = dice.randint(50, 700) / 1000
        count = partial(self.world.judge.arrived, asked, op, self.daemon.name)
        act = partial(self.world.handle, asked, "", self.daemon.name)
        if op == "create" and fault != "never_arrives":
            self._later(travel, count)
        match fault:
            case "never_arrives":
                await asyncio.sleep(CALL_LIMIT_S)
                return TIMEOUT
            case "lost_reply" | "late_effect":
                late = fault == "late_effect"
                self._later(CALL_LIMIT_S + dice.random() * LATE_S if late else travel, act)
                await asyncio.sleep(CALL_LIMIT_S)
                return TIMEOUT
            case "error_before":
                return await self._back(travel, dice.choice((500, 502, 503)))
            case "error_after":
                self._later(travel, act)
                return await self._back(travel, dice.choice((500, 502, 504)))
            case "reset":
                self._later(travel, act)
                await asyncio.sleep(2 * travel)
                return Reply(status=0, broke="reset")
            case "limited" | "limited_after":
                if fault == "limited_after":
                    self._later(travel, act)
                await asyncio.sleep(2 * travel)
                reply, hold_ms = self.world.emulator.limited(self.world.now(), asked)
                self.world.judge.held(self.process, op, self.world.now() + hold_ms)
                return self._dated(reply)
        if fault == "doubled":
            self._later(travel + DOUBLED_S, act)
            fault = ""
        return await self._round(asked, fault, travel)

    async def _round(self, asked: Asked, fault: str, travel: float) -> Reply:
        """There and back; it acts there whatever becomes of its sender."""
        back: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

        def there() -> None:
            reply = self._dated(self.world.handle(asked, fault, self.daemon.name))
            if not back.done():
                back.set_result(reply)

        self._later(travel, there)
        reply = await back
        await asyncio.sleep(travel)
        return reply

    async def _back(self, travel: float, status: int) -> Reply:
        await asyncio.sleep(2 * travel)
        return self._dated(Reply(status=status, body=""))

    def _later(self, seconds: float, do: Callable[[], object]) -> None:
        self.world.later(seconds, do)

    def _dated(self, reply: Reply) -> Reply:
        headers = {name.lower(): value for name, value in reply.headers.items()}
        headers["date"] = formatdate(self.world.now() // 1000, usegmt=True)
        return Reply(status=reply.status, body=reply.body, headers=headers)
