"""What people do with devices: drain and resume them, reserve and free them, here or from afar.

All of it goes by the product's own `Upkeep`: of a device of one's own at once, of another's by a
call that may be late, lost or heard twice.
"""

import contextlib
from typing import TYPE_CHECKING, Any

from mesh.api.errors import RequestError
from mesh.api.upkeep import DRAIN, MIN_RESERVED_MS, RESERVE, RESUME, UNRESERVE
from mesh.edge.disk import StoreError
from mesh.state.members import RUNNER

if TYPE_CHECKING:
    from tests.simulation.dispatch.daemon import Daemon
    from tests.simulation.dispatch.world import World


class Keepers:
    """Everybody who looks after devices."""

    def __init__(self, world: "World") -> None:
        self.world, self.rng = world, world.rng

    def plan(self, run_s: float) -> None:
        """How often this schedule's devices are drained and reserved."""
        loop = self.world.loop
        for _ in range(self.rng.choice((0, 0, 1, 2, 5))):
            loop.call_at(self.rng.random() * run_s, self._drain)
        for _ in range(self.rng.choice((0, 0, 0, 1, 2))):
            loop.call_at(self.rng.random() * run_s, self._reserve)

    def _drain(self) -> None:
        """For a while; now and then the owner's process goes meanwhile, or its clock jumps."""
        device = self._device()
        if device and self._ask(DRAIN, device, {}):
            self._meanwhile(device)
            back_s = self.rng.choice((5, 60, 200)) * self.rng.random()
            self.world.loop.call_later(back_s, self._ask, RESUME, device, {})

    def _reserve(self) -> None:
        """From now on or a little later, for somebody who asks for it; some give it back early."""
        device, length = self._device(), MIN_RESERVED_MS * self.rng.choice((1, 2, 5))
        daemon = self._somebody()
        if device and daemon is not None:
            later_ms = self.rng.choice((0, 0, 30_000, 3_000_000))
            body = {"for_ms": length, "from_ms": daemon.now_ms() + later_ms}
            self._ask(RESERVE, device, body, daemon)
            self._meanwhile(device)
            if self.rng.random() < 0.4:
                delay = 200 * self.rng.random()
                self.world.loop.call_later(delay, self._ask, UNRESERVE, device, {}, daemon)

    def _meanwhile(self, device: str) -> None:
        """What a drain or a reservation must outlive."""
        owner = next((one for one in self._daemons() if device in one.own_devices()), None)
        fault = self.rng.choice(("", "", "crash", "reboot", "clock jump"))
        if owner is not None and fault and not self.world.faults.ended:
            delay = self.rng.random() * 20
            self.world.loop.call_later(delay, self._strike, owner, fault)

    def _strike(self, owner: "Daemon", fault: str) -> None:
        if not self.world.faults.ended:
            self.world.note(f"{owner.machine.number} {fault} while its device is kept")
            self.world.faults.strike(owner.machine, fault)

    def _daemons(self) -> list["Daemon"]:
        return list(self.world.daemons.values())

    def _somebody(self) -> "Daemon | None":
        found = self._daemons()
        return self.rng.choice(found) if found else None

    def _device(self) -> str:
        """One that is registered; its first device is the one most jobs ask for."""
        found = [one.own_devices() for one in self._daemons() if one.own_devices()]
        return self.rng.choice(found)[0] if found else ""

    def _ask(
        self, verb: str, device: str, body: dict[str, Any], daemon: "Daemon | None" = None
    ) -> bool:
        """Whoever is there asks for it; False where nobody is."""
        daemon = daemon or self._somebody()
        if daemon is None or not daemon.alive or self.world.faults.ended:
            return False
        daemon.spawn(self.ask(daemon, verb, device, body))
        return True

    async def ask(self, daemon: "Daemon", verb: str, device: str, body: dict[str, Any]) -> None:
        """As the routes do it."""
        if not daemon.may(RUNNER):
            return
        self.world.note(f"{daemon.machine.number} asks to {verb} {device}")
        with contextlib.suppress(RequestError, StoreError):
            await daemon.upkeep.ask(verb, device, body)

    def open_all(self) -> None:
        """In the end every owner takes jobs again."""
        for daemon in self._daemons():
            for device in daemon.own_devices():
                if daemon.state.drained(device):
                    daemon.spawn(self.ask(daemon, RESUME, device, {}))
                for one in daemon.state.reserved(device, daemon.now_ms()):
                    body = {"reservation_id": one.reservation_id}
                    daemon.spawn(self.ask(daemon, UNRESERVE, device, body))
