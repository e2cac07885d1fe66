"""What was spent: job costs added up by day, month, device, job or model, to the nano-dollar."""

import csv
import io
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from mathcore.units import DAY_MS, HOUR_MS, NUSD
from mesh.state.jobs import AttemptView, JobView

GROUPINGS = ("day", "month", "device", "job", "model")
KEY = "key"  # needs usage beside the jobs' bills: mesh/api/serving/usage.py
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
    key: str = ""  # whose requests, where the bill is split by key


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


def _day(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d")


PERIOD: dict[str, Callable[[Bill], str]] = {
    "day": lambda b: _day(b.ended_ms),
    "month": lambda b: _day(b.ended_ms)[:7],
    "device": lambda b: b.device_id,
    "job": lambda b: b.job_id,
    "model": lambda b: b.model,
    KEY: lambda b: b.key,
}


def cost_report(bills: Iterable[Bill], by: str) -> dict[str, object]:
    """All bills grouped by one of GROUPINGS or KEY, oldest or first name first, with the total.

    Each group has the seed's shape: {period, devices: [{device_id, model, hours_used, cost}],
    total_cost, total_throughput}; `*_nusd` are exact, `cost` and `hours_used` are for reading;
    total_throughput counts tokens generated.
    """
    groups: dict[str, list[Bill]] = defaultdict(list)
    for one in bills:
        groups[PERIOD[by](one)].append(one)
    rows = [_group(by, key, groups[key]) for key in sorted(groups)]
    total = sum(one.cost_nusd for group in groups.values() for one in group)
    return {"by": by, "groups": rows, "total_cost_nusd": total, "total_cost": _usd(total)}


def _group(by: str, key: str, bills: list[Bill]) -> dict[str, object]:
    devices: dict[str, list[Bill]] = defaultdict(list)
    for one in bills:
        devices[one.device_id].append(one)
    total = sum(one.cost_nusd for one in bills)
    return {
        "period" if by in ("day", "month") else by: key,
        "devices": [_device_row(name, devices[name]) for name in sorted(devices)],
        "jobs": sum(one.jobs for one in bills),
        "total_cost": _usd(total),
        "total_cost_nusd": total,
        "total_throughput": sum(one.tokens for one in bills),
    }


def _device_row(device_id: str, bills: list[Bill]) -> dict[str, object]:
    duration = sum(one.duration_ms for one in bills)
    cost = sum(one.cost_nusd for one in bills)
    return {
        "device_id": device_id,
        "model": bills[-1].device_model,
        "hours_used": round(duration / HOUR_MS, 6),
        "duration_ms": duration,
        "cost": _usd(cost),
        "cost_nusd": cost,
    }


def _usd(nusd: int) -> float:
    return nusd / NUSD


def cost_csv(report: dict[str, object]) -> str:
    """The report as CSV, one row per group and device."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    by = str(report["by"])
    key = "period" if by in ("day", "month") else by
    writer.writerow([key, "device_id", "device_model", "hours_used", "cost_usd", "cost_nusd"])
    groups = report["groups"]
    assert isinstance(groups, list)
    for group in groups:
        for row in group["devices"]:
            cells = (row[k] for k in ("device_id", "model", "hours_used"))
            usd = f"{row['cost_nusd'] / NUSD:.9f}"
            writer.writerow([_plain(group[key]), *map(_plain, cells), usd, row["cost_nusd"]])
    return out.getvalue()


def _plain(value: object) -> object:
    """A cell a spreadsheet won't run: text that begins like a formula gets a quote in front."""
    return f"'{value}" if isinstance(value, str) and value[:1] in "=+-@\t\r" and value else value
