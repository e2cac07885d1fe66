"""What this peer should do next: pure, from the state alone, most urgent first."""

from mesh.policy.commands import Command, PlaceJob, StartJob, StopJob, WatchJob
from mesh.state.answers import held_jobs
from mesh.state.fold import State
from mesh.state.jobs import CANCELLING, PENDING, RUNNING, STARTING, JobView


def busy_devices(state: State) -> frozenset[str]:
    """Devices that hold an attempt. One job at a time each: memory promised once stays promised."""
    return frozenset(job.device_id for job in held_jobs(state).values())


def decide(state: State, me: str) -> list[Command]:
    """Commands for this peer's own jobs: stops, watches and starts, then placements by age."""
    mine = sorted(
        (job for job in state.jobs.values() if job.home == me and not job.ended),
        key=lambda job: (job.submitted_ms, job.job_id),
    )
    urgent = [command for job in mine if (command := _pressing(job)) is not None]
    waiting = [job for job in mine if job.status == PENDING]
    return [*urgent, *(PlaceJob(job.job_id) for job in waiting)]


def _pressing(job: JobView) -> Command | None:
    if job.status == CANCELLING:
        return StopJob(job.job_id)
    if job.status == RUNNING:
        return WatchJob(job.job_id)
    if job.status == STARTING:
        return StartJob(job.job_id)
    return None
