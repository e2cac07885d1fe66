"""What jobs cost, as the owners of their devices said at their ends, to the nano-dollar.

It is the quick word of `fleet status`; bills are made in `mesh.state.bills`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from mathcore.units import DAY_MS
from mesh.state.jobs import AttemptView, JobView

# No total is higher: a snapshot holds no larger number. Whoever signs such costs is shown with it.
MOST = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """The cost of one ended attempt on one device; it counts on the UTC day the attempt ended.

    `jobs` > 1 stands for that many older ones of one day, device and model; their job_id is "". It
    is 0 for an attempt beside the one that counts as the job's.
    """

    job_id: str
    device_id: str
    device_model: str
    model: str
    ended_ms: int
    duration_ms: int
    cost_nusd: int
    tokens: int
    ended_by: str = ""  # who said so
    jobs: int = 1


@dataclass(frozen=True, slots=True)
class Totals:
    """What jobs of one day, device and model add up to, MOST at the most."""

    jobs: int = 0
    duration_ms: int = 0
    cost_nusd: int = 0
    tokens: int = 0

    def __add__(self, one: Bill) -> "Totals":
        return Totals(
            min(MOST, self.jobs + one.jobs),
            min(MOST, self.duration_ms + one.duration_ms),
            min(MOST, self.cost_nusd + one.cost_nusd),
            min(MOST, self.tokens + one.tokens),
        )


def totals_bill(day: int, device_id: str, device_model: str, model: str, total: Totals) -> Bill:
    """The bill that stands for all of `total`; `day` counts from the epoch."""
    return Bill(
        job_id="",
        device_id=device_id,
        device_model=device_model,
        model=model,
        ended_ms=day * DAY_MS,
        duration_ms=total.duration_ms,
        cost_nusd=total.cost_nusd,
        tokens=total.tokens,
        jobs=total.jobs,
    )


def job_bills(job: JobView, device_model: Callable[[str], str] = lambda _: "") -> Iterator[Bill]:
    """What each ended attempt of a job cost on each of its devices; the job counts once, with the
    attempt that counts."""
    model = job.model or job.label or " ".join(job.command[:1])
    if job.ended:
        whole = Bill(
            job_id=job.job_id,
            device_id=job.device_id,
            device_model="",
            model=model,
            ended_ms=job.ended_ms,
            ended_by=job.ended_by,
            duration_ms=job.duration_ms,
            cost_nusd=job.cost_nusd,
            tokens=job.tokens_generated,
        )
        yield from _by_device(whole, job, device_model)
    for one in job.earlier:
        if one.ended:
            whole = Bill(
                job_id=job.job_id,
                device_id=one.device_id,
                device_model="",
                model=model,
                ended_ms=one.ended_ms,
                ended_by=one.ended_by,
                duration_ms=one.duration_ms,
                cost_nusd=one.cost_nusd,
                tokens=one.tokens,
                jobs=0,
            )
            yield from _by_device(whole, one, device_model)


def _by_device(
    whole: Bill, ran: JobView | AttemptView, device_model: Callable[[str], str]
) -> Iterator[Bill]:
    """The bill of an attempt as one for each device; all is the first's where no shares are told.

    Each device was had for the whole time; what was made with them counts once.
    """
    costs = ran.costs_nusd if len(ran.costs_nusd) == len(ran.members) + 1 else (whole.cost_nusd,)
    yield replace(whole, device_model=device_model(whole.device_id), cost_nusd=costs[0])
    for device_id, cost in zip(ran.members, costs[1:], strict=False):
        yield replace(
            whole,
            device_id=device_id,
            device_model=device_model(device_id),
            cost_nusd=cost,
            tokens=0,
            jobs=0,
        )
