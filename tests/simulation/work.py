"""Devices and jobs of simulated peers: names that carry their owner's key, and what comes next."""

from collections.abc import Iterable

from mesh.ledger.event import Event, order_key
from mesh.policy.commands import Command, PlaceJob, StartJob, StopJob, WatchJob
from mesh.state.fold import State
from mesh.state.peer_id import peer_id

COST_NUSD = 7  # of every job that ran to its end
TWICE = "j-twice-"  # what jobs are called whose home ends them again, at another price
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


def outcome(command: Command, state: State) -> tuple[str, dict[str, object], str]:
    """What a peer with one device writes when it carries out a command at once."""
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
        case StopJob():
            return "job_cancelled", named, device


def price_of(said: Iterable[Event], home: str) -> int:
    """What a job costs by the rules, from what counts of all that was said of it.

    Of one kind by one author the first counts, of all ends the first that the home, or whom it gave
    the job to, might say: a job completes only once it was dispatched or somebody asked to end it.
    """
    first: dict[tuple[str, str], Event] = {}
    for event in sorted(said, key=order_key):
        first.setdefault((event.event_type, event.author), event)
    may_say, known, under_way = {home}, False, False
    for (kind, author), event in first.items():
        if kind == "job_submitted":
            known = known or author == home
        elif kind == "job_cancel_requested":
            under_way = under_way or known
        elif known and author in may_say:
            if kind == "job_dispatched" and not under_way:
                under_way = True
                may_say.add(str(event.payload.get("owner", home)))
            if kind in ("job_failed", "job_cancelled") or (kind == "job_completed" and under_way):
                return _cost(event)
    return 0


def _cost(end: Event) -> int:
    cost = end.payload.get("actual_cost_nusd", 0)
    return cost if isinstance(cost, int) else 0
