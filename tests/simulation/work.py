"""Devices and jobs of simulated peers: names that carry their owner's key, and what comes next."""

from collections.abc import Iterable

from mesh.ledger.event import Event, order_key
from mesh.policy.commands import Command, EndJob, PlaceJob, StartJob, StopJob, WatchJob
from mesh.state.peer_id import peer_id
from mesh.state.state import State

COST_NUSD = 7  # of every job that ran to its end
TWICE = "j-twice-"  # what jobs are called whose home ends them again, at another price
ENDS = ("job_completed", "job_failed", "job_cancelled")
SHORT = 10  # characters of a peer id in a device's or a job's name


def short(author: str) -> str:
    """The part of a name that says whose it is."""
    return peer_id(author).replace("-", "")[:SHORT].lower()


def whose(name: str) -> str:
    """The part of a device's or a job's name that says whose it is; "" for none."""
    parts = name.split("-")
    return parts[1] if len(parts) > 1 else ""


def device_id(author: str, serial: int = 0) -> str:
    """A device of this key."""
    return f"dev-{short(author)}-{serial}"


def job_id(author: str, number: int) -> str:
    """A job whose home is this key."""
    return f"j-{short(author)}-{number:x}"


def outcome(command: Command, state: State) -> tuple[str, dict[str, object], str] | None:
    """What a peer with one device writes when it carries out a command at once; None for nothing:
    nobody here asks other owners."""
    named: dict[str, object] = {"job_id": command.job_id, "attempt": 1}
    job = state.jobs[command.job_id]
    device = device_id(job.home)
    match command:
        case PlaceJob():
            return "job_dispatched", named, device
        case StartJob():
            return "job_started", named, device
        case WatchJob():
            done = {
                "actual_cost_nusd": COST_NUSD,
                "actual_duration_ms": 1000,
                "tokens_generated": 5,
            }
            return "job_completed", named | done, device
        case StopJob() | EndJob():
            return "job_cancelled", named, device
        case _:
            return None


def price_of(said: Iterable[Event], home: str) -> int:
    """What a job costs by the rules, from what counts of all that was said of it.

    Of one kind, author and attempt the first counts. The home says where attempts go; of each the
    first end by whoever has the device counts, else by the home. Of an attempt that was never
    dispatched the home may say that the job ends there, not that it succeeded.
    """
    first: dict[tuple[str, str, object], Event] = {}
    for event in sorted(said, key=order_key):
        first.setdefault((event.event_type, event.author, event.payload.get("attempt", 1)), event)
    if not any(kind == "job_submitted" and author == home for kind, author, _ in first):
        return 0
    owners = {
        number: str(event.payload.get("owner") or home)
        for (kind, author, number), event in first.items()
        if kind == "job_dispatched" and author == home
    }
    ends = {number: _end(first, number, owner, home) for number, owner in owners.items()}
    won = [one for one in ends.values() if one is not None and one.event_type == "job_completed"]
    if won:
        return _cost(min(won, key=order_key))
    if owners:
        last = ends[max(owners, key=str)]
        return 0 if last is None else _cost(last)
    loose = [
        event
        for (kind, author, _), event in first.items()
        if kind in ("job_failed", "job_cancelled") and author == home
    ]
    return _cost(min(loose, key=order_key)) if loose else 0


def _end(
    first: dict[tuple[str, str, object], Event], number: object, owner: str, home: str
) -> Event | None:
    """How an attempt ended."""
    for who in (owner, home):
        found = [first[kind, who, number] for kind in ENDS if (kind, who, number) in first]
        if found:
            return min(found, key=order_key)
    return None


def _cost(end: Event) -> int:
    cost = end.payload.get("actual_cost_nusd", 0)
    return cost if isinstance(cost, int) else 0
