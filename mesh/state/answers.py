"""What may be asked of a state: who has which device, what has ended, what it cost."""

from collections.abc import Iterator
from dataclasses import replace

from mesh.state.billing import Bill, job_bills, totals_bill
from mesh.state.fleet import host
from mesh.state.jobs import CANCELLING, PAUSED, QUEUED, RUNNING, AttemptView, JobView
from mesh.state.state import State

# Statuses of a job whose device, or a place in its queue, is promised to it.
HELD = frozenset({QUEUED, RUNNING, PAUSED, CANCELLING})


def holds(state: State, job: JobView) -> bool:
    """Whether a job has its device: only the device's owner can have said so."""
    owner = state.owner(job.device_id)
    taken = owner in (job.dispatched_by, job.started_by) or (job.accepted_ms and owner == job.owner)
    return owner != "" and bool(taken)


def are_one_gang(state: State, devices: tuple[str, ...]) -> bool:
    """Whether devices may be one attempt's: of one owner, in one host.

    Nobody books another's device by naming it. A device that its owner took away stays the owner's.
    """
    known = [view for one in devices if (view := state.devices.get(one)) is not None]
    owners, hosts = {state.owner(one) for one in devices}, {host(view) for view in known}
    return len(owners) == 1 and "" not in owners and len(hosts) <= 1


def devices_of(state: State, one: AttemptView | JobView) -> tuple[str, ...]:
    """The devices an attempt has: all it was sent to, or the first alone where they are no gang."""
    devices = one.devices
    return devices if len(devices) < 2 or are_one_gang(state, devices) else devices[:1]


def held_jobs(state: State) -> dict[str, JobView]:
    """The jobs that have a device, by id; their `members` are those that count."""
    jobs = list(state.jobs.items())
    return {
        job_id: _with_its_devices(state, job)
        for job_id, job in jobs
        if job.status in HELD and holds(state, job)
    }


def holders(state: State) -> dict[str, JobView]:
    """For each device that is taken, a job that has it."""
    return {one: job for job in held_jobs(state).values() for one in job.devices}


def _with_its_devices(state: State, job: JobView) -> JobView:
    """As held_jobs says."""
    return replace(job, members=devices_of(state, job)[1:]) if job.members else job


def ended_jobs(state: State) -> list[JobView]:
    """The ended jobs that are kept whole, by their end."""
    every = [job for job in list(state.jobs.values()) if job.ended]
    return sorted(every, key=lambda job: (job.ended_ms, job.job_id))


def bills(state: State) -> Iterator[Bill]:
    """Every ended attempt's bill that its device's owner made: retired ones added up.

    Who does not own a device can't spend on it, nor have had it; a job that never ran is listed
    whoever ended it.
    """
    for (day, device_id, model, by), total in sorted(state.totals.items()):
        if not total.cost_nusd or by == state.owner(device_id):
            yield totals_bill(day, device_id, state.device_model(device_id), model, total)
    for job in [*ended_jobs(state), *_tried_again(state)]:
        for one in job_bills(job, state.device_model):
            free = not one.cost_nusd and not one.duration_ms
            if free or one.ended_by == state.owner(one.device_id):
                yield one


def _tried_again(state: State) -> list[JobView]:
    """Jobs that have not ended and have attempts that did."""
    return [job for job in list(state.jobs.values()) if job.earlier and not job.ended]


def job_counts(state: State) -> dict[str, int]:
    """How many jobs are in each status, retired ones too."""
    counts: dict[str, int] = {}
    here = ((job.status, 1) for job in state.jobs.values())
    for status, count in (*state.retired.statuses(), *here):
        counts[status] = counts.get(status, 0) + count
    return counts
