"""A wire that notes: every reply tells the provider's time, and how long it wants to be left alone.

wire = NotingWire(FreshWire(...)); cloud = VastAI(wire, ...); Account(..., cloud, wire, ...)
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, final

from mesh.edge.clouds.renting.ports import Heard
from mesh.policy.rentals.values import Seen
from mesh.state.rentals.terms import S_MS
from providers.rental.contract import Op, Profile, Reply, Request, Unread, Wire
from providers.rental.waits import hold_ms, why_held

# Between calls of different kinds where the whole account has one limit.
BETWEEN_MS: Final = 1_000
MOST_MS: Final = 10_000  # our clock may be set back meanwhile
MOST_S: Final = 60.0  # and the provider's may turn out to be another
# A question waits for its turn so long at most: a 429 may hold until midnight, and who asked, and
# who asks after it, would learn nothing until then. RunPod's catalogue takes its turn every 8 s.
PATIENCE_MS: Final = 30_000

Sleep = Callable[[float], Awaitable[None]]


@final
class NotingWire:
    """Sends over another wire; whoever has the account hears each reply."""

    def __init__(
        self, inner: Wire, own_ms: Callable[[], int], sleep: Sleep = asyncio.sleep
    ) -> None:
        self._inner: Final = inner
        self._own_ms: Final = own_ms
        self._sleep: Final = sleep
        self._free_ms = 0  # when one more request may follow, where the account has one limit
        self.heard: Heard | None = None
        self.account_wide = False
        self.held_ms: Callable[[Op, int], int] = lambda op, own_ms: 0

    async def send(self, request: Request) -> Reply:
        """As the inner wire does, once. What an adapter sends in a row keeps its distance, and a
        429 that came meanwhile holds it: a create is then not sent at all, nor is a question that
        would wait for long."""
        await self._distance()
        while (wait_ms := self.held_ms(request.op, self._own_ms())) > 0:
            if request.op == "create":
                return Reply(status=0, broke="unreached")
            if request.op == "offers" and wait_ms > PATIENCE_MS:
                return Reply(status=429)  # as would come back
            await self._sleep(min(wait_ms, MOST_MS) / S_MS)
        sent_ms = self._own_ms()
        reply = await self._inner.send(request)
        if self.heard is not None:
            self.heard(request, reply, sent_ms)
        return reply

    async def _distance(self) -> None:
        """Wait for the turn of one more request, where the account has one limit."""
        if self.account_wide:
            wait_ms = min(MOST_MS, max(0, self._free_ms - self._own_ms()))
            self._free_ms = self._own_ms() + wait_ms + BETWEEN_MS
            if wait_ms:
                await self._sleep(wait_ms / S_MS)


@final
class Limits:
    """When which call may be made; the times are in `seen.limits`, by the provider's clock."""

    def __init__(self, profile: Profile, seen: Seen) -> None:
        self._profile: Final = profile
        self._seen: Final = seen
        self._held: dict[Op, int] = {}  # 429s in a row
        self._why: dict[Op, str] = {}  # what the 429 said that holds for the longest
        self._until_own: dict[Op, int] = {}  # what a 429 holds, by our own clock

    def sent(self, op: Op, now_ms: int) -> None:
        """A call is made."""
        for other, spacing in self._profile.spacing_ms.items():
            if other == op:
                self._hold(other, now_ms + spacing)
            elif self._profile.account_wide:
                self._hold(other, now_ms + min(spacing, BETWEEN_MS))

    def heard(self, op: Op, reply: Reply, now_ms: int, own_ms: int) -> None:
        """A reply came; of a 429 the longest window holds."""
        if reply.status != 429:
            self._held.pop(op, None)
            return
        wait_ms = hold_ms(reply, self._held.get(op, 0), now_ms)
        self._held[op] = self._held.get(op, 0) + 1
        every = {op, *(self._profile.spacing_ms if self._profile.account_wide else ())}
        for other in sorted(every):
            self._hold(other, now_ms + wait_ms)
            until = own_ms + wait_ms
            if until >= self._until_own.get(other, until):
                self._until_own[other], self._why[other] = until, why_held(reply)

    def held_ms(self, op: Op, own_ms: int) -> int:
        """For how long a 429 still holds a kind of call."""
        return max(0, self._until_own.get(op, own_ms) - own_ms)

    def unread(self, op: Op) -> Unread:
        """What a question that is held says: what the 429 did."""
        return Unread(why=self._why.get(op, "429"))

    async def turn(
        self, op: Op, now: Callable[[], int], sleep: Sleep, most_ms: int | None = None
    ) -> bool:
        """Wait for a call's turn, and take it; False, and none is taken, where that would take
        longer. Whom another call came before has the next turn: where all have one limit, an end
        of many a second would leave none for anybody."""
        passed = False
        while (wait_ms := self.wait_ms(op, now())) > 0:
            if most_ms is not None and wait_ms > most_ms:
                return False
            if passed and wait_ms <= BETWEEN_MS:
                self.sent(op, now() + wait_ms)
                await sleep(wait_ms / S_MS)
                return True
            await sleep(min(wait_ms / S_MS, MOST_S))
            passed = True
        self.sent(op, now())
        return True

    def wait_ms(self, op: Op, now_ms: int) -> int:
        """How long until a call of a kind may be made."""
        return max(0, self._seen.limit(op) - now_ms)

    def _hold(self, op: Op, until_ms: int) -> None:
        self._seen.limits[op] = max(self._seen.limit(op), until_ms)
