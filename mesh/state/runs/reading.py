"""What an event says of what ran, row by row. Pure: `Desk` is where rows are kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Protocol

from mathcore.units import DAY_MS
from mesh.ledger.event import Event, order_key
from mesh.state.bills.calendar import quarter
from mesh.state.bills.reading import FIRST_MS, LAST_MS, MAX_AMOUNT
from mesh.state.facts.device import DeviceRegistered
from mesh.state.facts.fact import decode, decode_once, text, whole
from mesh.state.facts.job import JobCompleted, JobDispatched, JobSubmitted, RunStopped
from mesh.state.facts.serving import UsageSummarised
from mesh.state.facts.telemetry import TelemetrySummarised
from mesh.state.jobs import MAX_ATTEMPTS, MAX_GANG
from mesh.state.peer_id import is_named_for
from mesh.state.runs.rows import (
    MAX_MARKS,
    JobRow,
    PaidRow,
    RunKey,
    RunRow,
    SeenKey,
    SentRow,
    UsedKey,
    UsedRow,
)
from mesh.state.serving.usage import MAX_ROWS

MEASURED: Final = "measured"
REMOVED: Final = "device_removed"
MAX_NAME: Final = 200  # characters of a name that is kept
ENDS: Final = frozenset({"job_completed", "job_failed", "job_cancelled"})
MARKS: Final = {"job_paused": True, "job_resumed": False}

Moment = tuple[int, int]  # ms, and which of the author's in it


class Desk(Protocol):
    """Where rows are kept. What is put takes the place of what was there."""

    def run(self, key: RunKey) -> RunRow | None:
        """What is known of an attempt."""

    def put_run(self, key: RunKey, row: RunRow) -> None:
        """Keep that of it; what its device costs changes from its begin on."""

    def put_job(self, author: str, job: str, at_ms: int, row: JobRow) -> None:
        """Keep what a job is; of one author the first word counts."""

    def put_sent(self, author: str, job: str, attempt: int, at_ms: int, row: SentRow) -> None:
        """Keep how an attempt was sent; of one author the first word counts."""

    def put_paid(self, author: str, device: str, at: Moment, row: PaidRow) -> None:
        """Keep what a device costs from then on."""

    def put_away(self, author: str, device: str, at: Moment) -> None:
        """An admin took a device away, whoever's it is."""

    def put_seen(self, key: SeenKey, to_ms: int, energy_mj: int | None) -> None:
        """Somebody watched a device all the while, and what it drew."""

    def add_used(self, key: UsedKey, row: UsedRow) -> None:
        """Add what requests used."""


def take(desk: Desk, event: Event, *, admin: bool = False) -> bool:
    """Keep what an event says of what ran; False where it says nothing of that. `admin`: whether
    its author might take others' devices away."""
    handler = _HANDLERS.get(event.event_type)
    if handler is not None:
        handler(desk, event)
    if admin and event.event_type == REMOVED and _is_placed(event):
        desk.put_away(event.author, event.device_id, order_key(event)[:2])
    return handler is not None


def _name(value: str) -> str:
    return value[:MAX_NAME]


def _key(event: Event) -> RunKey | None:
    """Which attempt an event is about; None where it names none that there can be."""
    job, attempt = text(event.payload, "job_id"), whole(event.payload, "attempt") or 1
    fits = 0 < len(job) <= MAX_NAME and 0 < attempt <= MAX_ATTEMPTS
    return RunKey(event.device_id[:MAX_NAME], event.author, job, attempt) if fits else None


def _submitted(desk: Desk, event: Event) -> None:
    fact, job = decode_once(JobSubmitted, event.payload), text(event.payload, "job_id")
    if 0 < len(job) <= MAX_NAME:
        # Only a key's own peer has jobs count for it; its id says whose it is.
        key = fact.key_id if is_named_for(event.author, fact.key_id) else ""
        row = JobRow(event.author, _name(fact.model or ""), _name(fact.label), _name(key))
        desk.put_job(event.author, job, order_key(event)[0], row)


def _dispatched(desk: Desk, event: Event) -> None:
    fact, key = decode_once(JobDispatched, event.payload), _key(event)
    plan = fact.plan or {}
    if key is not None:
        members = tuple(map(_name, fact.members[: MAX_GANG - 1]))
        row = SentRow(_name(str(plan.get("engine") or "")), members)
        desk.put_sent(event.author, key.job, key.attempt, order_key(event)[0], row)


def _started(desk: Desk, event: Event) -> None:
    key = _key(event)
    row = None if key is None else desk.run(key)
    if key is not None and (row is None or not row.started_ms):
        row = row or RunRow()
        row.started_ms = row.told_ms = order_key(event)[0]
        desk.put_run(key, row)


def _marked(desk: Desk, event: Event) -> None:
    key = _key(event)
    row = None if key is None else desk.run(key)
    if key is None or row is None or row.ended_ms or len(row.marks) >= MAX_MARKS:
        return
    row.marks = [*row.marks, (order_key(event)[0], MARKS[event.event_type])]
    desk.put_run(key, row)


def _ended(desk: Desk, event: Event) -> None:
    key = _key(event)
    row = None if key is None else desk.run(key)
    if key is None or row is None or row.ended_ms:
        return  # it never ran, or was told already
    stopped = decode_once(RunStopped, event.payload)
    row.ended_ms = row.told_ms = max(order_key(event)[0], row.started_ms)
    row.duration_ms = min(stopped.actual_duration_ms, LAST_MS)
    if stopped.energy_basis == MEASURED:
        row.energy_mj = min(stopped.energy_mj, MAX_AMOUNT)
    if event.event_type == "job_completed":
        done = decode_once(JobCompleted, event.payload)
        row.prompt_tokens, row.generated_tokens = done.prompt_tokens, done.tokens_generated
        row.prefill_mtps, row.throughput_mtps = done.prefill_mtps, done.throughput_mtps
    desk.put_run(key, row)


def _registered(desk: Desk, event: Event) -> None:
    _paid(desk, event, paid_row(decode(DeviceRegistered, event.payload)))


def paid_row(fact: DeviceRegistered) -> PaidRow:
    """What a registration says of a device's cost."""
    return PaidRow(
        price_nusd=fact.price_nusd,
        resale_nusd=fact.resale_nusd,
        lifetime_months=fact.lifetime_months,
        tariff_nusd_per_kwh=fact.tariff_nusd_per_kwh,
        watts=fact.watts * (fact.count or 1),
        hourly_nusd=fact.hourly_nusd,
    )


def _removed(desk: Desk, event: Event) -> None:
    _paid(desk, event, PaidRow(gone=True))


def _paid(desk: Desk, event: Event, row: PaidRow) -> None:
    if _is_placed(event):
        desk.put_paid(event.author, event.device_id, order_key(event)[:2], row)


def _is_placed(event: Event) -> bool:
    """Whether it is about a device that there can be, at a time of which there are bills."""
    return 0 < len(event.device_id) <= MAX_NAME and FIRST_MS <= order_key(event)[0] < LAST_MS


def _summarised(desk: Desk, event: Event) -> None:
    """An hour of telemetry: its peer watched the device, and may have read its meter."""
    fact = decode_once(TelemetrySummarised, event.payload)
    from_ms, to_ms = fact.begun_ms, fact.begun_ms + fact.span_ms
    if not (FIRST_MS <= from_ms < to_ms <= min(LAST_MS, order_key(event)[0] + DAY_MS)):
        return
    joules = fact.energy_joules if fact.energy_basis == MEASURED else None
    energy_mj = None if joules is None or not 0 <= joules * 1000 <= MAX_AMOUNT else joules * 1000
    key = SeenKey(event.device_id[:MAX_NAME], event.author, from_ms, order_key(event)[0])
    desk.put_seen(key, to_ms, energy_mj)


def _used(desk: Desk, event: Event) -> None:
    fact = decode_once(UsageSummarised, event.payload)
    told_ms = order_key(event)[0]
    at_ms = quarter(min(fact.begun_ms, told_ms))
    for row in fact.rows[:MAX_ROWS]:
        used = UsedRow(
            row.cost_nusd,
            row.prompt_tokens,
            row.cached_tokens,
            row.generated_tokens,
            row.requests,
        )
        key = UsedKey(
            device=_name(row.device_id),
            author=event.author,
            at_ms=at_ms,
            job=_name(row.job_id),
            key=_name(row.key_id),
            model=_name(row.model),
            told_ms=quarter(told_ms),
        )
        desk.add_used(key, used)


_HANDLERS: Final[Mapping[str, Callable[[Desk, Event], None]]] = {
    "job_submitted": _submitted,
    "job_dispatched": _dispatched,
    "job_started": _started,
    **dict.fromkeys(MARKS, _marked),
    **dict.fromkeys(ENDS, _ended),
    "device_registered": _registered,
    REMOVED: _removed,
    "telemetry_summarised": _summarised,
    "usage_summarised": _used,
}
