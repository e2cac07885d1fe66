"""Rented machines on a virtual clock: how they boot, break and end, and what the meter counts."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from providers.rental.contract import Status

S = 1000
MIN = 60 * S
HOUR = 60 * MIN
# How long each step takes after the one before, seconds at least and at most.
BOOT = {
    "placed": (2, 12),
    "image": (5, 30),
    "container": (3, 10),
    "sshd": (2, 8),
    "engine": (3, 15),
}
# The status once a step is done.
AFTER: dict[str, Status] = {"placed": "image", "image": "container", "container": "up"}
ORDER: tuple[Status, ...] = ("placing", "image", "container", "up")


@dataclass
class Machine:
    """One machine. Rates are nano-dollars an hour; `line` only ever grows."""

    id: str
    label: str
    price: int  # while it is up
    storage: int  # while it is not
    by: str  # who made it: "person", or a caller's name
    created: int
    ttl: int  # its dead-man's last moment, ms after its container began
    lease: int  # and so long after the last contact
    spot: bool = False
    host_id: str = ""
    extra: dict[str, object] = field(default_factory=dict)  # what one provider's shapes need
    boots: dict[str, int] = field(default_factory=dict)  # step -> when it is done
    line: list[tuple[int, Status, int]] = field(default_factory=list)  # (since, status, rate)
    contract: list[tuple[int, int]] = field(default_factory=list)  # (since, price)
    ended: int | None = None
    hidden: tuple[int, int] = (0, 0)  # listings lack it from, to
    listed: bool = False  # ever shown by a listing
    touched: int = 0  # last contact, for the dead-man
    step: int = 1  # ms: what it ran is billed as a multiple of it

    def status(self, t: int) -> Status:
        return next((s for at, s, _ in reversed(self.line) if at <= t), "placing")

    def rate(self, t: int) -> int:
        return next((r for at, _, r in reversed(self.line) if at <= t), 0)

    def price_at(self, t: int) -> int:
        return next((p for at, p in reversed(self.contract) if at <= t), self.price)

    def reached(self, step: str, t: int) -> bool:
        return step in self.boots and self.boots[step] <= t and self.status(t) == "up"

    def meter(self, now: int, begin: int = 0) -> int:
        """Rate x ms in [begin, now), exact: divide by HOUR for nano-dollars."""
        total, line = 0, [*self.line, (max(now, self.line[-1][0] if self.line else 0), "", 0)]
        for (a, _, rate), (b, _, _) in zip(line, line[1:], strict=False):
            total += rate * max(0, min(b, now) - max(a, begin))
        return total + (self._begun_step() if begin < (self.ended or now) < now else 0)

    def _begun_step(self) -> int:
        """Of the step in which it ended, what it did not run."""
        paid = [(at, rate) for at, _, rate in self.line if rate > 0]
        if self.ended is None or not paid:
            return 0
        return paid[-1][1] * (-(self.ended - paid[0][0]) % self.step)


class Machines:
    """All machines of one account, and what happens to them by themselves.

    `advance(now)` plays what is due; whoever drives the clock calls it before anything else.
    """

    def __init__(
        self,
        dice: random.Random,
        *,
        from_create: bool,
        dead_man: bool,
        billed_dead: bool,
        step: int = 1,
        first: int = 70,
    ) -> None:
        """`from_create`: billed in full at once. `billed_dead`: also when nothing runs in it.
        `step`: of how many ms what is billed is a multiple. `first`: the number before the first
        machine's."""
        self.dice = dice
        self.from_create, self.dead_man, self.billed_dead = from_create, dead_man, billed_dead
        self.step = step
        self.all: dict[str, Machine] = {}
        self.now = 0
        self._due: list[tuple[int, int, Callable[[int], None]]] = []
        self._n = first
        self._turn = 0
        self.on_created: Callable[[Machine, int], None] = lambda machine, now: None
        self.on_ended: Callable[[Machine, int], None] = lambda machine, now: None
        # Whether the dead-man's own call to the API gets through at `now`.
        self.dead_man_reaches: Callable[[int], bool] = lambda now: True

    def at(self, t: int, do: Callable[[int], None]) -> None:
        self._turn += 1
        heapq.heappush(self._due, (t, self._turn, do))

    def next_at(self) -> int | None:
        """When something happens next."""
        return self._due[0][0] if self._due else None

    def advance(self, now: int) -> None:
        while self._due and self._due[0][0] <= now:
            t, _, do = heapq.heappop(self._due)
            self.now = max(self.now, t)
            do(self.now)
        self.now = max(self.now, now)

    def make(
        self,
        label: str,
        now: int,
        *,
        price: int,
        storage: int,
        by: str = "caller",
        ttl: int = 10**12,
        lease: int = 30 * MIN,
        spot: bool = False,
        hang: str = "",
        stopped: bool = False,
        host_id: str = "",
    ) -> Machine:
        """`hang`: the step that is never done. `stopped`: as a bid too low leaves it."""
        self._n += 1
        one = Machine(
            f"{self._n:07d}", label, price, storage, by, now, ttl, lease, spot=spot, host_id=host_id
        )
        one.step = self.step
        one.contract.append((now, price))
        one.line.append((now, "placing", price if self.from_create else storage))
        self.all[one.id] = one
        if by == "person" or stopped:
            one.line[-1] = (now, "up" if by == "person" else "stopped", storage)
        else:
            self._boot(one, now, hang)
        self.on_created(one, now)
        return one

    def _boot(self, one: Machine, now: int, hang: str) -> None:
        t = now
        for step, (low, high) in BOOT.items():
            t += self.dice.randint(low * S, high * S)
            if step == hang:
                break
            one.boots[step] = t
            if step in AFTER:
                self.at(t, lambda now, status=AFTER[step]: self.turn(one, status, now))
        if "container" in one.boots and self.dead_man:
            one.touched = one.boots["container"]
            self.at(one.touched + min(one.lease, one.ttl), lambda now: self._dead_man(one, now))

    def turn(self, one: Machine, status: Status, now: int) -> None:
        """The next status of its own life; never back to an earlier one of its boot."""
        before = one.status(now)
        if one.ended is not None or before not in ORDER:
            return
        if status in ORDER and ORDER.index(status) < ORDER.index(before):
            return
        full = status == "up" or (self.from_create if status in ORDER else self.billed_dead)
        one.line.append((now, status, one.price_at(now) if full else one.storage))

    def end(self, one: Machine, now: int) -> None:
        if one.ended is None:
            one.ended = now
            one.line.append((now, "terminating", 0))
            self.on_ended(one, now)

    def touch(self, one: Machine, now: int) -> None:
        """Somebody was in it."""
        one.touched = max(one.touched, now)

    def _dead_man(self, one: Machine, now: int) -> None:
        """Inside the rental, with a key of its own; tried each minute, for the API may be away."""
        if one.ended is not None or one.status(now) != "up":
            return
        last = min(one.touched + one.lease, one.boots["container"] + one.ttl)
        if now < last:
            self.at(last, lambda now: self._dead_man(one, now))
        elif not self.dead_man_reaches(now):
            self.at(now + MIN, lambda now: self._dead_man(one, now))
        else:
            self.end(one, now)

    def raise_price(self, one: Machine, now: int, price: int) -> None:
        if one.ended is None:
            one.contract.append((now, price))
            if one.rate(now) > one.storage:
                one.line.append((now, one.status(now), price))

    def visible(self, now: int, as_of: int) -> list[Machine]:
        """What a listing made at `now` of the state at `as_of` shows, by id."""
        shown = [
            one
            for one in self.all.values()
            if one.created <= as_of
            and (one.ended is None or as_of < one.ended)
            and not one.hidden[0] <= now < one.hidden[1]
        ]
        for one in shown:
            one.listed = True
        return sorted(shown, key=lambda one: one.id)
