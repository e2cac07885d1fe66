"""What may be asked of a state: who has which device, what has ended, what it cost."""

from collections.abc import Iterator

from mesh.state.billing import Bill, bill, totals_bill
from mesh.state.fold import State
from mesh.state.jobs import JobView


def holds(state: State, job: JobView) -> bool:
    """Whether a job has its device: only the device's owner can have said so."""
    owner = state.owner(job.device_id)
    return owner != "" and owner in (job.home, job.started_by, job.ended_by)


def held_jobs(state: State) -> dict[str, JobView]:
    """The jobs that have a device, by id."""
    jobs = list(state.jobs.items())
    return {job_id: job for job_id, job in jobs if not job.ended and holds(state, job)}


def ended_jobs(state: State) -> list[JobView]:
    """The ended jobs that are kept whole, by their end."""
    every = sorted(one for each in state.ended.values() for one in each)
    return [state.jobs[job_id] for _, job_id in every]


def bills(state: State) -> Iterator[Bill]:
    """Every ended job's bill that its device's owner made: retired ones added up.

    Who does not own a device can't spend on it; a job that cost nothing is listed whoever ended it.
    """
    for (day, device_id, model, by), total in sorted(state.totals.items()):
        if not total.cost_nusd or by == state.owner(device_id):
            yield totals_bill(day, device_id, state.device_model(device_id), model, total)
    for job in ended_jobs(state):
        if not job.cost_nusd or job.ended_by == state.owner(job.device_id):
            yield bill(job, state.device_model(job.device_id))


def job_counts(state: State) -> dict[str, int]:
    """How many jobs are in each status, retired ones too."""
    counts: dict[str, int] = {}
    here = ((job.status, 1) for job in state.jobs.values())
    for status, count in (*state.retired.statuses(), *here):
        counts[status] = counts.get(status, 0) + count
    return counts
