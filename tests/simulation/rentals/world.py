"""One seeded schedule of one provider: requests, faults, crashes, hand-overs, copied disks, wrong
clocks, cuts; then quiet, in which all must come right. Raises Broken, with the seed, where an
invariant does not hold."""

import asyncio
import contextlib
import random
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any
from unittest.mock import patch

from mesh.edge.clouds.renting.account import Account
from mesh.edge.disk import StoreError
from mesh.ledger import hlc
from mesh.ledger.event import NO_PREV, Event
from mesh.policy.rentals.caps import reserve_nusd
from mesh.policy.rentals.values import Shares
from mesh.state.facts.fact import encode
from mesh.state.facts.rental import AccountTaken, RentalRequested, RequestEnded
from providers.rental.contract import Reply
from tests.emulators.base import Asked
from tests.emulators.machines import HOUR, MIN, Machine, S
from tests.simulation.clock import OWNER, Spins, VirtualLoop
from tests.simulation.rentals.clouds import SIDES, instance_id, offers_for
from tests.simulation.rentals.daemon import ACCOUNT, Daemon
from tests.simulation.rentals.faults import DAY, Faults
from tests.simulation.rentals.judge import Judge
from tests.simulation.rentals.plan import Plan

# An hour before midnight UTC: days change within many schedules.
START_MS = 20_000 * DAY + 23 * HOUR
GLANCE_S = 3.0
SETTLES_MS = 90 * MIN
ENDS_MS = 4 * HOUR
NUSD = 10**9
BROKE_DOWN = "breaks down"  # in what a schedule says of its end: its own bug, or its variant's


class Broken(AssertionError):
    """An invariant does not hold; the message names it and the seed."""


class World:
    """All of one schedule. `resends`: the HTTP library sends a mutation again by itself."""

    resends = False

    def __init__(self, seed: int, provider: str) -> None:
        self.seed, self.side = seed, SIDES[provider]
        self.dice = random.Random(f"{provider}{seed}")
        self.loop = VirtualLoop(self.dice)
        self.made, self.failed = 0, ""
        self.emulator = self.side.emulator(self.dice)
        self.key = self.emulator.key  # what the peers have
        self.quiet_ms = self.quiet_from = START_MS + self.dice.randint(8, 35) * MIN
        self.daemons: dict[str, Daemon] = {}
        self.clone: Daemon | None = None
        self.linked, self.lost = True, False
        self.job_ms: dict[str, int] = {}
        self.first: dict[str, int] = {}
        self.faults = Faults(self)
        self.judge = Judge(self)
        self.plan = Plan(self)
        tight = self.dice.random() < 0.15
        self.tight = tight
        day = self.dice.randint(8, 40) * NUSD if tight else None
        self.shares = Shares(day_nusd=day, month_nusd=60 * NUSD if tight else None)
        for n in range(3):  # the person's own machines, and one of another fleet
            label = ("", "my-training", "fl-m2-j1x1x1-ffffffff")[n]
            self.emulator.machines.make(
                label, START_MS - HOUR, price=900_000_000, storage=10_000_000, by="person"
            )

    # What is asked by all

    def now(self) -> int:
        """The true time, which is the provider's."""
        return START_MS + round(self.loop.time() * 1000)

    @property
    def hits(self) -> Counter[tuple[str, str]]:
        return self.faults.hits

    def name(self) -> str:
        self.made += 1
        return f"e{self.made:06d}"

    def fail(self, text: str) -> None:
        self.failed = self.failed or text

    def hit(self, fault: str, states: list[str]) -> None:
        for state in set(states):
            self.hits[fault, state] += 1

    def lasts(self, request_id: str) -> int:
        return self.job_ms.get(request_id, MIN)

    def handle(self, asked: Asked, fault: str, by: str) -> Reply:
        return self.emulator.handle(self.now(), asked, fault, by)

    def later(self, seconds: float, do: Callable[[], object]) -> None:
        """The world does it, whoever is dead by then."""
        token = OWNER.set(None)
        try:
            self.loop.call_later(seconds, do)
        finally:
            OWNER.reset(token)

    def appended(self, daemon: Daemon, event: Event) -> None:
        self.hits["event", event.event_type] += 1
        self.judge.appended(daemon, event)
        if self.linked and daemon is not self.clone:
            for other in self.daemons.values():
                if other is not daemon and other.alive:
                    self.later(
                        self.dice.randint(50, 900) / 1000,
                        lambda one=other: self.deliver(one, daemon),
                    )

    def deliver(self, other: Daemon, daemon: Daemon) -> None:
        if other.alive and self.linked:
            other.pull(daemon)

    # People

    def say(self, kind: str, payload: dict[str, object]) -> None:
        """Said by a person elsewhere, and known to every peer that is up."""
        name = self.name()
        event = Event(
            id=name, hash=name, timestamp="", device_id="", event_type=kind, payload=payload,
            author="home", seq=self.made, prev=NO_PREV, hlc=hlc.render(hlc.Stamp(self.now(), 0)),
            sig="", v=1,
        )  # fmt: skip
        for one in self.daemons.values():
            one.take(event)
            if one.alive:
                one.actor.notice()

    def submit(self, request_id: str) -> None:
        dice = self.dice
        service = dice.random() < 0.4
        prices = sorted(one.hourly_nusd for one in offers_for(self.emulator, spot=False))
        dearest = prices[min(len(prices) - 1, dice.randint(1, 8))]
        life = 3 * HOUR if service else dice.choice((20, 45)) * MIN
        self.job_ms[request_id] = 100 * DAY if service else dice.randint(3, 12) * MIN
        reserve = reserve_nusd(dearest, life)
        fact = RentalRequested(
            request_id=request_id,
            provider=self.side.name,
            account=ACCOUNT,
            max_hourly_nusd=dearest,
            life_ms=life,
            cap_nusd=reserve * (dice.choice((1, 2, 3)) if self.tight else 40) + 1,
            spot=dice.random() < 0.5,
            disk_bytes=40 << 30,
        )
        later = dice.choice((0, 0, dice.randint(0, 10) * MIN))
        self.at(later, lambda: self.say("rental_requested", encode(fact)))
        if dice.random() < 0.4:
            span = max(2, (self.quiet_ms - START_MS) // S)
            self.at(later + dice.randint(1, span) * S, lambda: self.cancel(request_id))

    def cancel(self, request_id: str) -> None:
        self.say("request_ended", encode(RequestEnded(request_id=request_id, why="cancelled")))

    def at(self, after_ms: int, do: Callable[[], object]) -> None:
        self.later(after_ms / 1000, do)

    # Processes and links

    def down(self, daemon: Daemon, rest_s: int = 0) -> None:
        """A process ends, and another begins later, with another clock."""
        if not daemon.alive:
            return
        self.hit("crash", daemon.states())
        daemon.crash()
        rest_ms = (rest_s or self.dice.choice((1, 5, 30, 200))) * S
        until = min(self.now() + rest_ms, max(self.quiet_ms, self.now() + S))
        self.at(until - self.now(), lambda: self.up(daemon))

    def up(self, daemon: Daemon) -> None:
        frozen = daemon is self.clone and not self.faults.on
        if daemon.alive or self.now() < daemon.gone_until_ms or frozen:
            return
        daemon.skew_ms = self.faults.skew_ms()
        daemon.boot += 1
        if self.linked and daemon is not self.clone:
            self.exchange()
        daemon.start()
        if abs(daemon.skew_ms) >= HOUR:
            self.hit("clock off", daemon.states())

    def exchange(self) -> None:
        if "B" in self.daemons:
            self.daemons["A"].pull(self.daemons["B"])
            self.daemons["B"].pull(self.daemons["A"])

    def freeze(self) -> None:
        """The fork was seen: a person ends the copy."""
        if self.clone is not None and self.clone.alive:
            self.clone.crash()
            self.clone.gone_until_ms = 1 << 62

    # A schedule

    def run(self, plot: Callable[["World"], Awaitable[None]] | None = None) -> None:
        """All of it, or a plot by hand without any faults; Broken where something does not hold."""
        asyncio.set_event_loop(self.loop)
        self.loop.set_exception_handler(self._unforeseen)
        told = patch.object(Account, "_report", lambda _, error: self._bug(error))
        try:
            with told:
                self.loop.run_until_complete(self._run() if plot is None else self._plot(plot))
        except Spins as spins:
            raise Broken(f"seed {self.seed}: {spins}") from None
        finally:
            self._end_tasks()
            asyncio.set_event_loop(None)
            self.loop.close()

    def _bug(self, error: Exception) -> None:
        """The actor goes on after a bug of its own; here it must have none."""
        if not isinstance(error, StoreError):
            self.fail(f"{BROKE_DOWN}\n{''.join(traceback.format_exception(error))}")

    def _unforeseen(self, _: object, said: dict[str, Any]) -> None:
        """A bug of the simulation's own must not look like a fault that was survived."""
        self.fail(f"{BROKE_DOWN}: {said['message']}: {said.get('exception')!r}")

    def _end_tasks(self) -> None:
        """Nothing may be left for the interpreter to complain about."""
        left = list(self.loop.tasks)
        for task in left:
            task.cancel()
        with contextlib.suppress(Spins, asyncio.CancelledError):
            self.loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))

    async def _plot(self, plot: Callable[["World"], Awaitable[None]]) -> None:
        self.faults.on = False
        await plot(self)
        self._check()

    async def _run(self) -> None:
        self.daemons["A"] = Daemon(self, "A", self.faults.skew_ms())
        if self.dice.random() < 0.6:
            self.daemons["B"] = Daemon(self, "B", self.faults.skew_ms())
        taken = AccountTaken(provider=self.side.name, account=ACCOUNT, epoch=1, peer="A")
        self.say("account_taken", encode(taken))
        for n in range(self.dice.randint(1, 4)):
            self.submit(f"j{n}")
        for one in self.daemons.values():
            one.start()
        self.plan.begin()
        while self.now() < self.quiet_ms:
            await self.glance()
        self.settle()
        await self.until(self.settled, SETTLES_MS, "settled")
        self.judge.noted["wanted until running"] += self.first.values()
        for request_id in list(self.job_ms):
            self.cancel(request_id)
        self.quiet_from = self.now()
        await self.until(self.gone, ENDS_MS, "absent")
        self.judge.check_end()
        if self.emulator.profile.has_charges and self.dice.random() < 0.25:
            await asyncio.sleep(5 * HOUR / S)
            self.judge.check_invoices()
        self._check()

    async def glance(self, seconds: float = GLANCE_S) -> None:
        await asyncio.sleep(seconds)
        self._check()

    def _check(self) -> None:
        if self.failed:
            raise Broken(f"seed {self.seed}: {self.failed}")

    async def until(
        self, holds: Callable[[], bool], limit_ms: int, what: str, every_s: float = GLANCE_S
    ) -> None:
        end = self.now() + limit_ms
        while not holds():
            if self.now() > end:
                raise Broken(f"seed {self.seed}: not {what} within {limit_ms // MIN} min of quiet")
            await self.glance(every_s)

    def settle(self) -> None:
        """No more faults from now on."""
        self.faults.on, self.linked, self.lost = False, True, False
        self.freeze()
        for machine in self.emulator.machines.all.values():
            machine.hidden = (0, 0)
        for one in self.daemons.values():
            one.cut, one.gone_until_ms = False, 0
            self.up(one)
        self.exchange()
        self.quiet_from = max(self.quiet_from, self.now())

    def owner(self) -> Daemon:
        """The peer that has the account, by its own disk."""
        return max(self.daemons.values(), key=lambda one: (one.owns, one.owner))

    def settled(self) -> bool:
        """Every wanted request has a machine that runs; every unwanted rental is absent."""
        owner = self.owner()
        if not owner.owns or self.judge.twins:
            return False
        rentals, good = owner.open(), True
        waits = owner.actor.reasons
        for request in owner.state.rentals.wanted(self.side.name, ACCOUNT):
            mine = [one for one in rentals if one.request_id == request.request_id and one.wanted]
            running = any(one.state == "running" for one in mine)
            if waits.get(request.request_id, "").endswith("_cap"):
                continue
            if running:
                since = max(0, self.now() - self.quiet_from)
                self.first.setdefault(request.request_id, since)
            good = good and running
        unknown = {instance_id(one, self.side.name) for one in self.left()}
        unknown -= {one.instance_id for one in rentals}
        unwanted = any(not one.wanted for one in rentals if one.author or one.is_twin)
        return good and not unknown and not unwanted

    def gone(self) -> bool:
        """Nothing of ours is left, and its ledger says so."""
        return not self.left() and not self.owner().open()

    def left(self) -> list[Machine]:
        """Our machines that are not ended."""
        self.emulator.machines.advance(self.now())
        every = self.emulator.machines.all.values()
        return [one for one in every if one.ended is None and one.by != "person"]
