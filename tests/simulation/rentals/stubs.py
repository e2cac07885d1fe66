"""What an actor needs of others, over the same machines: looks by SSH, a job, offers, keys."""

import asyncio
from collections.abc import Set
from typing import TYPE_CHECKING, Literal

from mesh.edge.clouds.renting.ports import MachineKeys, Needs, Work
from mesh.state.rentals.rental import Rental
from mesh.state.rentals.requests import Request
from providers.rental.contract import Offer, SshAt, Step
from tests.emulators.machines import Machine
from tests.simulation.rentals.clouds import machine_of, offers_for

if TYPE_CHECKING:
    from tests.simulation.rentals.daemon import Daemon

SSH_TIMEOUT_S = 10.0
KEYS = MachineKeys(
    user_public_key="ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE of-a-test",
    host_private_key="-----BEGIN OPENSSH PRIVATE KEY-----\nnone\n",
    host_public_key="ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIF of-a-machine",
)


class SimLadder:
    """Looks into machines as SSH would; a look renews the dead-man's lease."""

    def __init__(self, daemon: "Daemon") -> None:
        self.daemon, self.world = daemon, daemon.world

    async def probe(self, rental: Rental, ssh: SshAt, needs: Needs) -> Step | Literal[""]:
        self.daemon.step("probe")
        await asyncio.sleep(self.world.dice.randint(20, 400) / 1000)
        one, now = self._up(rental), self.world.now()
        if one is None:
            await asyncio.sleep(SSH_TIMEOUT_S)
            return ""
        step: Step | Literal[""] = ""
        if one.reached("engine", now):
            step = "engine"
        elif one.reached("sshd", now):
            step = "sshd"
        if step:
            self.world.emulator.machines.touch(one, now)
        return step

    async def work(self, rental: Rental) -> Work:
        one, now = self._up(rental), self.world.now()
        if one is None:
            return "none"
        end = one.extra.setdefault("job_end", now + self.world.lasts(rental.request_id))
        assert isinstance(end, int)
        return "begun" if now < end else "job_done"

    def _up(self, rental: Rental) -> Machine | None:
        self.world.emulator.machines.advance(self.world.now())
        one = machine_of(self.world.emulator, rental.instance_id)
        gone = one is None or one.ended is not None or self.daemon.cut
        return None if gone else one


class SimOffers:
    """Any offer that fits, those that failed lately last."""

    def __init__(self, daemon: "Daemon") -> None:
        self.world = daemon.world

    async def choose(self, request: Request, tried: tuple[str, ...]) -> Offer | str:
        await asyncio.sleep(self.world.dice.randint(1, 300) / 1000)
        found = offers_for(self.world.emulator, spot=request.spot)
        found = [one for one in found if one.hourly_nusd <= request.max_hourly_nusd]
        fresh = [one for one in found if one.offer_id not in tried[:3]] or found
        return self.world.dice.choice(fresh) if fresh else "no_offers"


class SimKeys:
    """Always the same: nothing here logs in."""

    async def make(self, rental_id: str) -> MachineKeys:
        return KEYS

    def forget(self, rental_ids: Set[str]) -> None:
        pass
