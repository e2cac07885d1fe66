"""State = all events folded in their total order: a function of the set, not of arrival.

It is a product of small folds, one per device and per job, and each keeps what it needs to give an
event that arrives late its place. Only the newest ended jobs stay whole; older ones are totals.
"""

from bisect import insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from mathcore.units import DAY_MS
from mesh.ledger.event import Event, order_key
from mesh.state import jobs
from mesh.state.billing import Bill, Totals, bill, totals_bill
from mesh.state.facts.device import DeviceRegistered
from mesh.state.facts.fact import decode
from mesh.state.facts.job import JobFact
from mesh.state.fleet import DeviceView
from mesh.state.jobs import JobView
from mesh.state.members import ADMIN, Members
from mesh.state.members import TYPES as MEMBERSHIP
from mesh.state.timeline import Key, Timeline, step_of

# Ended jobs kept whole, about 4 KB each; a million-event ledger must not fill a daemon's memory.
KEEP_ENDED = 512
NEVER: Key = (0, 0, "", 0, "")  # before every event


@dataclass(slots=True)
class State:
    """What the ledger says is true now; `apply` is the only writer."""

    devices: dict[str, DeviceView] = field(default_factory=dict)
    jobs: dict[str, JobView] = field(default_factory=dict)
    timelines: dict[str, Timeline] = field(default_factory=dict)
    ended: list[tuple[Key, str]] = field(default_factory=list)  # jobs kept whole, by their end
    retired: dict[str, str] = field(default_factory=dict)  # older ended jobs: id -> status
    retired_until: Key = NEVER  # no retired job ended later
    totals: dict[tuple[int, str, str], Totals] = field(default_factory=dict)  # of retired jobs
    device_keys: dict[str, Key] = field(default_factory=dict)  # the fact each device rests on
    device_founders: dict[str, tuple[Key, str]] = field(default_factory=dict)  # and its owner
    device_refused: dict[str, Key] = field(default_factory=dict)  # the last word of somebody else
    device_models: dict[str, str] = field(default_factory=dict)  # also of removed devices
    device_model_keys: dict[str, Key] = field(default_factory=dict)
    event_count: int = 0
    # Of the last event folded in, in the order of commits: one ledger's own, not compared.
    cursor: int = field(default=0, compare=False)
    note_count: int = 0
    skipped_count: int = 0  # types of a newer peer: kept in the ledger, not understood here
    untrusted_count: int = 0  # by authors who may not say such things: kept, but not believed
    last_ms: int = 0
    members: Members = field(default_factory=Members)
    keep_ended: int = KEEP_ENDED
    stale: bool = False  # an event changed what is no longer kept: fold the whole ledger again


def fold(events: Iterable[Event], keep_ended: int = KEEP_ENDED) -> State:
    """The state after these events, whatever order they come in."""
    return fold_ordered(sorted(events, key=order_key), keep_ended)


def fold_ordered(
    events: Iterable[Event], keep_ended: int = KEEP_ENDED, members: Members | None = None
) -> State:
    """The state after events that come in total order, one at a time.

    Never stale if `members` knows every membership event already; else fold again with what it
    learned (`state.members.anew()`).
    """
    state = State(keep_ended=keep_ended, members=members or Members())
    for event in events:
        apply(state, event)
    return state


def apply(state: State, event: Event) -> None:
    """Fold one event in. Total: an unknown type is counted and skipped."""
    state.event_count += 1
    state.last_ms = max(state.last_ms, order_key(event)[0])
    if event.event_type in MEMBERSHIP:
        state.stale = state.members.take(event) or state.stale
        return
    if not state.members.counts(event):
        state.untrusted_count += 1
        return
    match event.event_type:
        case "device_registered" | "device_removed":
            _device(state, event)
        case "note_added":
            state.note_count += 1
        case kind if kind == "job_submitted" or kind in jobs.MOVES:
            _job(state, event)
        case _:
            state.skipped_count += 1


def bills(state: State) -> Iterator[Bill]:
    """Every ended job's bill: retired ones added up by day, device and model."""
    for (day, device_id, model), total in sorted(state.totals.items()):
        yield totals_bill(day, device_id, state.device_models.get(device_id, ""), model, total)
    for _, job_id in state.ended:
        job = state.jobs[job_id]
        yield bill(job, state.device_models.get(job.device_id, ""))


def job_counts(state: State) -> dict[str, int]:
    """How many jobs are in each status, retired ones too."""
    counts: dict[str, int] = {}
    for status in [*state.retired.values(), *(job.status for job in state.jobs.values())]:
        counts[status] = counts.get(status, 0) + 1
    return counts


def _device(state: State, event: Event) -> None:
    """The latest fact in total order wins, whichever arrives first."""
    key, removes = order_key(event), event.event_type == "device_removed"
    if not _owns(state, event, key, removes=removes):
        state.untrusted_count += 1
        refused = state.device_refused.get(event.device_id, key)
        state.device_refused[event.device_id] = max(refused, key)
        return
    facts = decode(DeviceRegistered, event.payload) if not removes else None
    if facts is not None and key > state.device_model_keys.get(event.device_id, NEVER):
        state.device_model_keys[event.device_id] = key
        state.device_models[event.device_id] = facts.model
    if key <= state.device_keys.get(event.device_id, NEVER):
        return
    state.device_keys[event.device_id] = key
    if facts is None:
        state.devices.pop(event.device_id, None)
        return
    state.devices[event.device_id] = DeviceView(
        device_id=event.device_id,
        name=facts.name or event.device_id,
        owner=event.author,
        seen_ms=key[0],
        payload=event.payload,
    )


def _owns(state: State, event: Event, key: Key, *, removes: bool) -> bool:
    """Whether this author may speak of the device: its owner is whoever named it first, for good.

    An admin may remove it, too. A first word that arrives late changes what was refused before.
    """
    founder = state.device_founders.get(event.device_id)
    if not removes and (founder is None or key < founder[0]):
        other = founder is not None and founder[1] != event.author
        early = state.device_refused.get(event.device_id, NEVER) > key
        state.stale = state.stale or other or early
        founder = (key, event.author)
        state.device_founders[event.device_id] = founder
    if founder is None:
        return False
    if event.author == founder[1]:
        return True
    return removes and state.members.role_at(event.author, event.seq) == ADMIN


def _job(state: State, event: Event) -> None:
    job_id = decode(JobFact, event.payload).job_id
    if job_id in state.retired:
        # After its end every event is an echo; before it, the end itself may change.
        state.stale = state.stale or order_key(event) <= state.retired_until
        return
    timeline = state.timelines.setdefault(job_id, Timeline())
    before = timeline.ended
    timeline.take(step_of(event))
    if timeline.view is not None:
        state.jobs[job_id] = timeline.view
    if timeline.ended != before:
        _rank_end(state, job_id, before, timeline.ended)


def _rank_end(state: State, job_id: str, before: Key | None, after: Key | None) -> None:
    """Keep `ended` sorted, and its oldest entry out of memory once there are too many."""
    if before is not None:
        state.ended.remove((before, job_id))
        # A job that ended earlier than it seemed may have pushed out one that should have stayed.
        state.stale = state.stale or bool(state.retired)
    if after is not None:
        insort(state.ended, (after, job_id))
    while len(state.ended) > state.keep_ended:
        _retire(state, *state.ended.pop(0))


def _retire(state: State, key: Key, job_id: str) -> None:
    """Only the job's bill and its status remain."""
    state.retired_until = max(state.retired_until, key)
    job = state.jobs.pop(job_id)
    del state.timelines[job_id]
    state.retired[job_id] = job.status
    one = bill(job, "")
    group = (one.ended_ms // DAY_MS, one.device_id, one.model)
    state.totals[group] = state.totals.get(group, Totals()) + one
