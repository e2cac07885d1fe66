"""What must hold once everything has settled: states, jobs, and who is billed for what."""

from collections import Counter
from typing import TYPE_CHECKING

from mesh.state.answers import bills
from mesh.state.checkpoint import digest
from mesh.state.jobs import CANCELLED, FAILED, SUCCEEDED, JobView
from tests.simulation.dispatch.machine import Program

if TYPE_CHECKING:
    from tests.simulation.dispatch.daemon import Daemon
    from tests.simulation.dispatch.judge import Judge
    from tests.simulation.dispatch.world import World

RATE_NUSD_PER_MS = 1000  # of every device here: 3.6 $/h


def everything(judge: "Judge") -> None:
    """All agree, nothing is lost, and the bill is what ran."""
    world = judge.world
    daemons = list(world.daemons.values())
    if len({digest(one.state) for one in daemons}) > 1:
        world.fail("peers with the same events hold different states")
    state = daemons[0].state
    for job_id, event in world.people.jobs.items():
        known = job_id in state.jobs or job_id in state.retired
        if not known and daemons[0].counts(event):
            world.fail(f"{job_id} was acknowledged and is lost")
    for one in daemons:
        _bills_are_what_ran(judge, one)
    for job in state.jobs.values():
        _outcome(judge, job)


def _bills_are_what_ran(judge: "Judge", daemon: "Daemon") -> None:
    world, ran, billed = judge.world, Counter[str](), Counter[str]()
    for programs in judge.runs.values():
        for one in programs:
            ms = round((one.ends_s - one.begun_s) * 1000)
            for device in () if judge.stray(one) else one.devices:
                ran[_place(world, device)] += RATE_NUSD_PER_MS * ms
    for bill in bills(daemon.state):
        billed[_place(world, bill.device_id)] += bill.cost_nusd
    for device in ran | billed:
        if ran[device] != billed[device]:
            world.fail(f"{billed[device]} billed on {device}, and {ran[device]} ran")


def _place(world: "World", device_id: str) -> str:
    """A device; its owner where somebody's word did not count for a while: an attempt whose number
    comes again has run there on another device."""
    return device_id.rpartition("-")[0] if world.roles.changed else device_id


def _outcome(judge: "Judge", job: JobView) -> None:
    """A job ends as its programs did, and never as something nobody wanted or had."""
    runs = [one for one in judge.runs[job.job_id] if not judge.stray(one)]
    well = any(one.reason == "ok" for one in runs)
    if (job.status == SUCCEEDED) != well:
        how = "ran" if well else "did not run"
        judge.world.fail(f"{job.job_id} is {job.status}, and {how} to its end")
    if job.status == CANCELLED and job.job_id not in judge.cancelled:
        judge.world.fail(f"{job.job_id} is cancelled, and nobody wanted that")
    if job.status == FAILED and not _may_fail(judge, job, runs):
        judge.world.fail(f"{job.job_id} failed of {job.reason}: {job.text}")


def _may_fail(judge: "Judge", job: JobView, runs: list[Program]) -> bool:
    """Its program was lost, the disk was full, what was typed went with its home, or the device it
    asked for is of a peer that may run nothing for others."""
    if job.reason == "lost":
        return any(one.reason == "lost" for one in runs)
    if job.reason == "removed":
        return job.job_id in judge.given_up
    if job.reason == "no_resource":
        return judge.world.roles.changed
    if job.reason == "interrupted":  # at the word of somebody who does not count any more
        return judge.world.roles.changed and job.job_id in judge.cancelled
    setup = judge.world.faults.full_disks > 0 or job.job_id in judge.adopted
    return job.reason == "setup" and setup
