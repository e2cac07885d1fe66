"""Schedules of dispatch hold every invariant, broken variants are caught, and a few plots by hand.

`scripts/sim dispatch` is the long lane: ten thousand seeds, and every variant.
"""

import subprocess
import sys
from collections.abc import Callable

import pytest

from mesh.state.jobs import FAILED, SUCCEEDED
from mesh.state.peer_id import short_id
from tests.simulation.dispatch.machine import Machine
from tests.simulation.dispatch.mutants import MUTANTS
from tests.simulation.dispatch.report import BROKE_DOWN, play
from tests.simulation.dispatch.world import World

SEEDS = 15
FAST = ("answers_before_the_disk", "ignores_a_cancel_while_queued", "gang_leak")
LONG_S = 300.0  # a job of this length does not end while a plot is played
PATIENCE_S = 120.0
CUT_S = 1e9


def test_schedules_hold() -> None:
    text = _sim("--count", str(SEEDS))
    assert f"{SEEDS} schedules, 0 failures" in text, text


def test_a_seed_plays_the_same_schedule_again() -> None:
    assert play(7).told == play(7).told


@pytest.mark.parametrize("name", FAST)
def test_a_broken_variant_is_caught(name: str) -> None:
    assert f"{name}: caught by seed" in _sim("--broken", name)


@pytest.mark.parametrize("name", MUTANTS)
def test_a_variant_is_broken_and_does_not_break_down(name: str) -> None:
    assert BROKE_DOWN not in play(0, name).fault


def _sim(*arguments: str) -> str:
    command = [sys.executable, "-m", "tests.simulation.dispatch.sim", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


async def until(world: World, what: Callable[[], bool]) -> None:
    end_s = world.loop.time() + PATIENCE_S
    while not what():
        assert world.loop.time() < end_s, world.told[-20:]
        await world.look()


async def sent(world: World, home: Machine, owner: Machine, seconds: float) -> str:
    """A job of one machine's that may run on another's device alone."""
    job_id = f"j-{short_id(home.author)}-1"
    on = {"on": f"dev-{short_id(owner.author)}-0"}
    await until(world, lambda: on["on"] in world.daemons[home.number].state.devices)
    await world.people.submit(world.daemons[home.number], job_id, seconds, on)
    return job_id


def status(world: World, machine: Machine, job_id: str) -> str:
    """As a machine's daemon knows it; "" where it has not heard of the job."""
    job = world.daemons[machine.number].state.jobs.get(job_id)
    return job.status if job is not None else ""


def test_a_cancel_reaches_an_owner_that_the_home_does_not_reach() -> None:
    async def plot(world: World) -> None:
        await world.begin()
        home, owner, _ = world.machines
        job_id = await sent(world, home, owner, LONG_S)
        await until(world, lambda: bool(owner.starts))
        world.net.cut(home, owner, CUT_S)
        await world.people.cancel(world.daemons[1], job_id)
        asked_s = world.loop.time()
        await until(world, lambda: owner.starts[0].ends_s < world.loop.time())
        assert world.loop.time() - asked_s < 20
        await until(world, lambda: status(world, home, job_id) == "cancelled")

    World(1, 3, quiet=True).run(plot)


def test_a_job_runs_on_when_its_home_is_gone_and_ends_for_whoever_adopted_it() -> None:
    async def plot(world: World) -> None:
        await world.begin()
        home, owner, third = world.machines
        job_id = await sent(world, home, owner, 60.0)
        await until(world, lambda: bool(owner.starts))
        world.faults.down(home, CUT_S)
        for adopter in (owner, third):  # two at once: the higher key decides
            await world.people.adopt(world.daemons[adopter.number], job_id)
        await until(world, lambda: status(world, third, job_id) == SUCCEEDED)
        for machine in (owner, third):
            assert world.daemons[machine.number].state.jobs[job_id].home == third.author
        assert len(owner.starts) == 1

    World(2, 3, quiet=True).run(plot)


def test_a_job_that_no_owner_has_fails_with_the_reason_when_its_home_took_what_was_typed() -> None:
    async def plot(world: World) -> None:
        await world.begin()
        home, owner, third = world.machines
        world.net.cut(home, owner, CUT_S)
        job_id = await sent(world, home, owner, LONG_S)
        await until(world, lambda: status(world, third, job_id) == "pending")
        world.faults.down(home, CUT_S)
        await world.people.adopt(world.daemons[3], job_id)
        await until(world, lambda: status(world, third, job_id) == FAILED)
        job = world.daemons[3].state.jobs[job_id]
        assert (job.reason, job.text) == ("setup", "its request is gone from this machine")

    World(3, 3, quiet=True).run(plot)


def test_the_old_home_steps_down_when_it_hears_and_the_job_runs_once() -> None:
    async def plot(world: World) -> None:
        await world.begin()
        home, owner, third = world.machines
        job_id = await sent(world, home, owner, 30.0)
        await until(world, lambda: status(world, third, job_id) != "")
        world.net.cut(home, third, CUT_S)
        await world.people.adopt(world.daemons[3], job_id)
        await until(world, lambda: world.daemons[1].state.jobs[job_id].home == third.author)
        await until(world, lambda: status(world, home, job_id) == SUCCEEDED)
        assert len(owner.starts) == 1

    World(4, 3, quiet=True).run(plot)
