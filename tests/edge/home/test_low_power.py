"""On battery, unasked work waits and says why; on mains, or where nobody can tell, it does not."""

import asyncio
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from mesh.edge.clouds.prices.market import RESTING_MS
from mesh.edge.home import low_power
from mesh.edge.home.low_power import LowPower
from mesh.edge.models import hashing as hashing_module
from mesh.edge.models.hashing import Hashing
from mesh.edge.models.local import LocalModels
from providers.presence.facts import Power
from tests.edge.clouds.stand_in import VAST, Peer, StandIn, offer, profile
from tests.state.job_story import T0
from tests.support.tiny_gguf import write_tiny_gguf
from tests.support.waiting import wait_until

BATTERY = Power(on_mains=False, percent=63)
MAINS = Power(on_mains=True, percent=63)


class Machine:
    """Whose plug a test pulls."""

    def __init__(self, power: Power) -> None:
        self.power = power
        self._reads = asyncio.Condition()

    async def read_power(self) -> Power:
        async with self._reads:
            self._reads.notify_all()
        return self.power

    async def read_twice(self) -> None:
        """Until a reading that began after the call is told."""
        for _ in range(2):
            async with self._reads:
                await self._reads.wait()


@pytest.mark.parametrize(
    ("power", "text"),
    [
        (BATTERY, "on battery, 63 % left"),
        (Power(on_mains=False, percent=None), "on battery"),
        (MAINS, ""),
        (Power(on_mains=None, percent=None), ""),
    ],
)
async def test_only_a_machine_known_to_be_on_battery_rests(power: Power, text: str) -> None:
    low = LowPower(Machine(power))
    assert (low.rests(), low.text()) == (False, "")
    await low.look()
    assert (low.rests(), low.text()) == (bool(text), text)


async def test_a_plug_is_noticed_while_the_daemon_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(low_power, "EVERY_S", 0.0)
    machine = Machine(MAINS)
    low = LowPower(machine)
    task = asyncio.create_task(low.run())
    for power in (BATTERY, MAINS):
        machine.power = power
        async with asyncio.timeout(60):
            await machine.read_twice()
        assert low.rests() is not power.on_mains
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_on_battery_a_cloud_is_asked_once_and_then_hourly() -> None:
    cloud = StandIn((offer(0.4),), profile(has_spot=False))
    peer = Peer({VAST: cloud})
    peer.watch.rests = lambda: True
    for step in range(RESTING_MS // 60_000):
        peer.now = T0 + step * 60_000
        await peer.watch.turn()
    assert len(cloud.asked) == 1
    peer.now = T0 + RESTING_MS
    await peer.watch.turn()
    assert len(cloud.asked) == 2


def test_models_are_hashed_by_themselves_on_mains_alone_and_at_once_for_who_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashing_module, "FIRST_S", 0.0)
    monkeypatch.setattr(hashing_module, "AGAIN_S", 0.001)
    for seed, name in enumerate(("one", "two")):
        (tmp_path / name).mkdir()
        write_tiny_gguf(tmp_path / name / f"{name}.gguf", seed=seed)
    local = LocalModels(tmp_path / "home", [str(tmp_path / "one"), str(tmp_path / "two")])
    hashing, looked = Hashing(local), threading.Semaphore(0)
    on_battery = [True]

    def rests() -> bool:
        looked.release()
        return on_battery[0]

    hashing.rests = rests
    thread = threading.Thread(target=hashing._slowly, daemon=True)
    thread.start()
    try:
        for _ in range(5):
            assert looked.acquire(timeout=60)
        assert not any(one.identity.root for one in local.all(anew=True))
        asked = next(one for one in local.all() if one.model.name == "one")
        hashing.ask(asked)
        wait_until(lambda: not isinstance(hashing.ask(asked), int), "the one that is waited for")
        on_battery[0] = False
        wait_until(
            lambda: all(one.identity.root for one in local.all(anew=True)), "all of them on mains"
        )
    finally:
        hashing.close()
        thread.join(timeout=60)
