"""What goes wrong in a schedule, and when: at a step of the protocol, or at any moment."""

from collections import Counter
from typing import TYPE_CHECKING

from tests.simulation.dispatch.machine import Machine
from tests.simulation.dispatch.steps import FAULTS, HANDS, PATIENCE, RARE, RAREST, STEPS

if TYPE_CHECKING:
    from tests.simulation.dispatch.daemon import Daemon
    from tests.simulation.dispatch.world import World

HOUR_MS = 3_600_000
# To 1970, to 2100, an hour either way, a minute, and right again.
JUMPS_MS = (-(1 << 42), 2_312_000_000_000, -HOUR_MS, HOUR_MS, 60_000, 0)
SLOW_S = 90.0
LOSE_A_PROCESS = ("crash", "reboot")


class Faults:
    """Armed faults wait for their step; some more strike at random moments."""

    def __init__(self, world: "World") -> None:
        self.world, self.rng = world, world.rng
        self.armed: dict[str, list[list[object]]] = {}  # by step: fault, times it may pass
        self.hits: Counter[tuple[str, str]] = Counter()
        self.taken: Counter[str] = Counter()
        self.skew_ms: dict[int, int] = {}
        self.ended = False
        self.full_disks = 0

    def plan(self, run_s: float) -> None:
        """What this schedule will meet."""
        for _ in range(self.rng.randrange(4, 13)):
            step = self.rng.choice(
                self.rng.choice((STEPS, STEPS, (*HANDS, "spawned"), RARE, RAREST))
            )
            patience = 0 if step in RARE else self.rng.randrange(PATIENCE)
            self.armed.setdefault(step, []).append([self.rng.choice(FAULTS), patience])
        for _ in range(self.rng.randrange(5)):
            self.world.loop.call_at(self.rng.random() * run_s, self._mishap)

    def end(self) -> None:
        """From now on nothing goes wrong."""
        self.ended = True
        self.armed.clear()
        self.world.net.heal()
        for machine in self.world.machines:
            machine.full_until_s = 0.0

    def at_step(self, daemon: "Daemon", step: str) -> None:
        """A daemon comes to a step: whatever waits for it strikes."""
        self.taken[step] += 1
        for one in list(self.armed.get(step, ())):
            fault, left = one
            if isinstance(left, int) and left:
                one[1] = left - 1
                continue
            self.armed[step].remove(one)
            self.hits[str(fault), step] += 1
            self.world.note(f"{daemon.machine.number} {fault} at {step}")
            if step == "spawned" and fault in LOSE_A_PROCESS and self.rng.random() < 0.7:
                self._lose_it_soon(daemon, str(fault))
            else:
                self.strike(daemon.machine, str(fault))

    def _lose_it_soon(self, daemon: "Daemon", fault: str) -> None:
        """A runner is on its way; somebody hurries or cancels, and then the process goes."""
        if self.rng.random() < 0.5:
            self.world.people.hurry(daemon)
        else:
            self.world.people.cancel_what_waits(daemon)
        delay = 0.05 + self.rng.random() * 0.4
        self.world.loop.call_later(delay, self._lose, daemon, fault)

    def _lose(self, daemon: "Daemon", fault: str) -> None:
        if not daemon.alive or self.ended:
            return
        if fault == "reboot":
            self.strike(daemon.machine, fault)
        else:  # and the next one is there before the runner
            self.down(daemon.machine, self.rng.random())

    def _mishap(self) -> None:
        if not self.ended:
            machine, fault = self.rng.choice(self.world.machines), self.rng.choice(FAULTS)
            self.world.note(f"{machine.number} {fault}")
            self.strike(machine, fault)

    def strike(self, machine: Machine, fault: str) -> None:
        """It happens to a machine, now."""
        now, net = self.world.loop.time(), self.world.net
        match fault:
            case "crash" | "reboot":
                self.down(machine, self.rng.choice((0.5, 5, 40, 120)) * self.rng.random())
                if fault == "reboot":
                    machine.reboot()
            case "split":
                self._split(machine, now + self.rng.random() * 120)
            case "slow link":
                net.slow[machine.number] = now + SLOW_S
            case "lossy link":
                net.lossy_until = now + self.rng.random() * 120
            case "clock jump":
                self.skew_ms[machine.number] = self.rng.choice(JUMPS_MS)
            case "full disk":
                self.full_disks += 1
                machine.full_until_s = now + self.rng.expovariate(1 / 20)

    def down(self, machine: Machine, back_s: float) -> None:
        """A daemon dies now; another run of it starts later."""
        daemon = self.world.daemons.pop(machine.number, None)
        if daemon is not None:
            daemon.crash()
        self.world.loop.call_later(back_s, self.world.start, machine)

    def _split(self, machine: Machine, until_s: float) -> None:
        """Two sides, or one pair that does not reach each other while others reach both."""
        others = [one for one in self.world.machines if one is not machine]
        if self.rng.random() < 0.5:
            self.world.net.cut(machine, self.rng.choice(others), until_s)
            return
        with_it = self.rng.sample(others, self.rng.randrange(len(others)))
        for one in [machine, *with_it]:
            for two in [each for each in others if each not in with_it]:
                self.world.net.cut(one, two, until_s)
