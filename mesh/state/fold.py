"""State = all events folded in their total order: a function of the set, not of arrival."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from mesh.ledger.event import Event, order_key
from mesh.state import jobs
from mesh.state.billing import Bill, bill
from mesh.state.fleet import DeviceView, Payload, text
from mesh.state.jobs import JobView


@dataclass(slots=True)
class State:
    """What the ledger says is true now; `apply` is the only writer."""

    devices: dict[str, DeviceView] = field(default_factory=dict)
    jobs: dict[str, JobView] = field(default_factory=dict)
    bills: list[Bill] = field(default_factory=list)
    event_count: int = 0
    note_count: int = 0
    skipped_count: int = 0  # types of a newer peer: kept in the ledger, not understood here
    last_ms: int = 0


def fold(events: Iterable[Event]) -> State:
    """The state after these events, whatever order they come in."""
    state = State()
    for event in sorted(events, key=order_key):
        apply(state, event)
    return state


def apply(state: State, event: Event) -> None:
    """Fold one event in. Total: an unknown type is counted and skipped."""
    at_ms = order_key(event)[0]
    state.event_count += 1
    state.last_ms = max(state.last_ms, at_ms)
    payload = event.payload
    match event.event_type:
        case "device_registered":
            _register(state, event, at_ms)
        case "device_removed":
            state.devices.pop(event.device_id, None)
        case "note_added":
            state.note_count += 1
        case "job_submitted":
            job = jobs.submitted(payload, event.author, at_ms)
            state.jobs.setdefault(job.job_id, job)
        case kind if kind in jobs.MOVES:
            _move(state, event, payload, at_ms)
        case _:
            state.skipped_count += 1


def _register(state: State, event: Event, at_ms: int) -> None:
    state.devices[event.device_id] = DeviceView(
        device_id=event.device_id,
        name=text(event.payload, "name") or event.device_id,
        owner=event.author,
        seen_ms=at_ms,
        payload=event.payload,
    )


def _move(state: State, event: Event, payload: Payload, at_ms: int) -> None:
    before = state.jobs.get(text(payload, "job_id"))
    if before is None:
        return
    after = jobs.moved(before, event.event_type, event.device_id, payload, at_ms)
    state.jobs[after.job_id] = after
    if after.ended and not before.ended:
        device = state.devices.get(after.device_id)
        state.bills.append(bill(after, device.model if device else ""))
