"""Watches the person, the power and the devices, and has preemptible attempts give way to them.

What happens to an attempt is its home's and its owner's business: they stand behind `Yields`, which
does what is decided and writes the events. Nothing is read while nothing preemptible is there.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Protocol, final

from mesh.policy.yield_settings import YieldPolicies
from mesh.policy.yielding import (
    Decision,
    DeviceFacts,
    Hold,
    MachineFacts,
    RunningAttempt,
    Yielding,
    step,
)
from providers.presence.facts import Power, Presence

# A person's return is seen within this, and half of the 2 s it may take is left for the pause.
EVERY_S = 1.0

log = logging.getLogger("fleet.yielding")


class Yields(Protocol):
    """Who runs this machine's attempts."""

    def running(self) -> Sequence[RunningAttempt]:
        """Every attempt on this machine that has not ended, preemptible or not."""

    def waiting(self) -> frozenset[str]:
        """Devices of this machine that preemptible work waits for."""

    async def pause(self, job_id: str, attempt: int, code: str, text: str) -> bool:
        """Stop its tree, then tell the fleet (job_paused). False: not possible."""

    async def resume(self, job_id: str, attempt: int, code: str, text: str) -> bool:
        """Let its tree go on, then tell the fleet (job_resumed). False: it has ended."""

    async def stop(self, job_id: str, attempt: int, code: str, text: str) -> None:
        """End the attempt, saved where its engine can, and queue the job again; returns at once.

        An attempt that has ended by itself meanwhile is left as it ended.
        """


class Senses(Protocol):
    """The machine itself; `providers.presence.reading.PresenceReader` is one."""

    async def read_presence(self) -> Presence:
        """Whether somebody is there."""

    async def read_power(self) -> Power:
        """Mains or battery."""


Gauges = Callable[[str], DeviceFacts]  # what is known of a device now, without waiting


@final
class YieldWatcher:
    """One for each daemon; `run` is a task of its loop."""

    def __init__(
        self,
        yields: Yields,
        senses: Senses,
        gauges: Gauges,
        policies: YieldPolicies,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.yields = yields
        self.senses = senses
        self.gauges = gauges
        self.policies = policies
        self.clock = clock
        self.state = Yielding()
        self._desktop = False  # once seen, it stays: between two sessions a desktop has none

    async def run(self) -> None:
        """Until it is cancelled; what goes wrong in a look is written down, and the next comes."""
        while True:
            try:
                await self.look()
            except Exception:
                log.exception("a look at who needs this machine failed")
            await asyncio.sleep(EVERY_S)

    async def look(self) -> None:
        """Read once and do what that asks for; all at once, so that no slow one delays another."""
        attempts = self.yields.running()
        waited_for = self.yields.waiting()
        devices = waited_for | {key for one in attempts if one.preemptible for key in one.devices}
        if not devices:
            self.state = Yielding()
            return
        presence, power = await asyncio.gather(
            self.senses.read_presence(), self.senses.read_power()
        )
        # Who runs may have changed while the answers were waited for.
        attempts = [one for one in self.yields.running() if one.preemptible]
        devices = waited_for | {key for one in attempts for key in one.devices}
        self.state, decisions = step(
            self.state,
            self.policies,
            self._machine(presence, power),
            {device_id: self.gauges(device_id) for device_id in devices},
            attempts,
            int(self.clock() * 1000),
        )
        done = await asyncio.gather(*map(self._do, decisions), return_exceptions=True)
        for error in done:
            if isinstance(error, Exception):
                log.error("an attempt could not give way: %s", error)

    def hold(self, device_id: str) -> Hold | None:
        """Why nothing preemptible may start on this device, as of the last look; None = it may."""
        return self.state.hold(device_id)

    def _machine(self, presence: Presence, power: Power) -> MachineFacts:
        self._desktop = self._desktop or presence.desktop
        return MachineFacts(
            desktop=self._desktop,
            present=presence.present,
            idle_ms=presence.idle_ms,
            on_mains=power.on_mains,
            battery_percent=power.percent,
            text=presence.text,
        )

    async def _do(self, decision: Decision) -> None:
        """What can't be paused is stopped: its owner waits for the machine."""
        what = decision.job_id, decision.attempt, decision.code, decision.text
        if decision.kind == "resume":
            await self.yields.resume(*what)
        elif decision.kind == "stop" or not await self.yields.pause(*what):
            await self.yields.stop(*what)
