"""What goes wrong, and when: of one schedule some kinds of faults, each at its own rate."""

from collections import Counter
from typing import TYPE_CHECKING

from tests.emulators.machines import HOUR, Machine, S

if TYPE_CHECKING:
    from tests.simulation.rentals.daemon import Daemon
    from tests.simulation.rentals.world import World

DAY = 24 * HOUR
OF_CALLS = {
    "create": ("lost_reply", "error_after", "error_before", "limited", "limited_after",
               "never_arrives", "late_effect", "reset", "no_capacity", "low_bid", "doubled", "hang",
               "price_higher"),
    "terminate": ("lost_reply", "error_after", "error_before", "limited", "never_arrives", "reset",
                  "ignored"),
    "list": ("error_before", "limited", "never_arrives", "lag", "page_fails", "empty",
             "success_false", "retired", "hides", "malformed"),
}  # fmt: skip
OF_OTHERS = ("error_before",)
OF_LEDGERS = ("disk_full",)
FULL_PART = 0.1  # of a rate: a ledger that can't be written is rarer than a bad reply
OF_MACHINES = ("outbid", "container_dies", "vanishes", "price_rise", "rise_asked")
# Clocks: right, a little off, by hours and days, 1970, and 2100.
SKEWS = (0, 0, 2 * S, -HOUR, HOUR, DAY, -DAY)
EPOCH_ENDS = (-20_000 * DAY, 28_000 * DAY)
# States that a crash alone makes last, and how likely it is there.
FRAGILE = {"interrupted": 0.3, "intended": 0.1}


class Faults:
    """All chance of a schedule's faults; `hits` counts (fault, state of a rental) pairs."""

    def __init__(self, world: "World") -> None:
        self.world, dice = world, world.dice
        self.on = True
        every = {one for those in OF_CALLS.values() for one in those} | {*OF_MACHINES, *OF_LEDGERS}
        usable = sorted(every - world.side.lacks)
        density = dice.choice((0.15, 0.3, 0.5))
        self.rates = {
            one: dice.choice((0.1, 0.25, 0.5)) for one in usable if dice.random() < density
        }
        self.crash_rate = dice.choice((0, 0, 0.002, 0.01, 0.03))
        self.hits: Counter[tuple[str, str]] = Counter()
        world.emulator.machines.dead_man_reaches = lambda now: not self._strikes("error_before")

    def skew_ms(self) -> int:
        """How wrong a process's clock is."""
        dice = self.world.dice
        return dice.choice(EPOCH_ENDS) if dice.random() < 0.2 else dice.choice(SKEWS)

    def _strikes(self, fault: str, part: float = 1.0) -> bool:
        return self.on and self.world.dice.random() < self.rates.get(fault, 0) * part

    def of_call(self, op: str, daemon: "Daemon", rental: str) -> str:
        """Which fault a call meets, "" for none."""
        if not self.on:
            return ""
        kinds = [one for one in OF_CALLS.get(op, OF_OTHERS) if one in self.rates]
        for fault in self.world.dice.sample(kinds, len(kinds)):
            if fault == "doubled" and self.world.clone is not None:
                continue
            if self._strikes(fault, 0.5 if op == "list" else 1.0):
                self.world.hit(f"{op}:{fault}", daemon.states(rental))
                return fault
        return ""

    def fills(self, daemon: "Daemon") -> bool:
        """Whether a write to the ledger fails: nothing of it is on the disk then."""
        full = self._strikes("disk_full", FULL_PART)
        if full:
            self.world.hit("disk_full", daemon.states())
        return full

    def crashes(self, daemon: "Daemon", step: str) -> bool:
        """Whether a process ends at this very step."""
        if not self.on or not self.crash_rate:
            return False
        rate = max([self.crash_rate, *(FRAGILE.get(one.state, 0) for one in daemon.open())])
        return self.world.dice.random() < rate

    def of_machines(self) -> None:
        """What machines do by themselves; called now and then."""
        world, now = self.world, self.world.now()
        world.emulator.machines.advance(now)
        live = [
            one
            for one in world.emulator.machines.all.values()
            if one.ended is None and one.by != "person"
        ]
        for fault in OF_MACHINES:
            if not live or not self._strikes(fault, 0.5):
                continue
            one = world.dice.choice(live)
            if fault == "container_dies" and one.status(now) != "up":
                continue
            for daemon in world.daemons.values():
                world.hit(fault, daemon.states(world.judge.rental_of(one)))
            self._do(fault, one, now)

    def _do(self, fault: str, one: Machine, now: int) -> None:
        emulator = self.world.emulator
        match fault:
            case "vanishes":
                emulator.machines.end(one, now)
            case "container_dies":
                dies = "error" if self.world.side.name == "lambdalabs" else "exited"
                emulator.machines.turn(one, dies, now)  # type: ignore[arg-type]
            case "price_rise":
                emulator.machines.raise_price(one, now, one.price_at(now) * 3 // 2)
            case "rise_asked":
                emulator.ask_rise(one.id, 2 * one.price)  # type: ignore[attr-defined]
            case "outbid":
                emulator.outbid(one.id, now)
