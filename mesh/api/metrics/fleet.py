"""Jobs, served models, peers and the ledger as metrics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from mesh.api.metrics.text import Family, counter, gauge
from mesh.state.answers import job_counts
from mesh.state.jobs import (
    CANCELLED,
    CANCELLING,
    DISPATCHED,
    FAILED,
    PAUSED,
    PENDING,
    QUEUED,
    RUNNING,
    SUCCEEDED,
)
from mesh.state.serving.usage import Used
from mesh.state.state import State

STATUSES: Final = (
    PENDING, QUEUED, DISPATCHED, RUNNING, PAUSED, CANCELLING, SUCCEEDED, FAILED, CANCELLED,
)  # fmt: skip
WAITING: Final = (PENDING, QUEUED, DISPATCHED)
TOKENS: Final = ("prompt", "cached", "generated")


def job_families(state: State) -> Iterator[Family]:
    """Jobs by status, and how many wait: that there is none of a status is known."""
    counts = job_counts(state)
    yield gauge(
        "fleet_jobs",
        "Jobs the ledger knows, by status.",
        (({"status": one}, counts.get(one, 0)) for one in STATUSES),
    )
    yield gauge(
        "fleet_jobs_waiting",
        "Jobs that have not begun.",
        [({}, sum(counts.get(one, 0) for one in WAITING))],
    )


def served_families(state: State) -> Iterator[Family]:
    """What requests to served models used, by model."""
    models: dict[str, Used] = {}
    for (_, _, model, _), used in state.usage.items():
        models[model] = models.get(model, Used()) + used
    yield counter(
        "fleet_requests_total",
        "Requests to served models.",
        (({"model": name}, used.requests) for name, used in models.items()),
    )
    yield counter(
        "fleet_request_errors_total",
        "Requests that ended in an error.",
        (({"model": name}, used.errors) for name, used in models.items()),
    )
    yield counter(
        "fleet_tokens_total",
        "Tokens of those requests: read, read from a cache, generated.",
        (
            ({"model": name, "kind": kind}, getattr(used, f"{kind}_tokens"))
            for name, used in models.items()
            for kind in TOKENS
        ),
    )


def peer_families(rows: Iterable[Mapping[str, Any]]) -> Iterator[Family]:
    """The members of the fleet, and how far each is from this one; this one is none of them."""
    peers = [
        ({"peer": row["name"], "peer_id": row["peer_id"]}, row) for row in rows if _is_other(row)
    ]
    yield gauge(
        "fleet_peer_linked",
        "1: a link to this member is open.",
        ((labels, int(row["state"] == "online")) for labels, row in peers),
    )
    yield gauge(
        "fleet_peer_last_heard_timestamp_seconds",
        "When this member was last heard, seconds since 1970.",
        ((labels, row["last_seen_ms"] / 1000) for labels, row in peers if row["last_seen_ms"]),
    )
    yield gauge(
        "fleet_peer_events_behind",
        "Events this member has and we do not yet.",
        ((labels, row["sync"]["behind"]) for labels, row in peers if row["sync"]),
    )


def _is_other(row: Mapping[str, Any]) -> bool:
    return not row["you"] and row["state"] != "removed"


def ledger_families(state: State, loop_lag_s: float) -> Iterator[Family]:
    """The ledger, and how the daemon keeps up."""
    yield counter("fleet_ledger_events_total", "Events in the ledger.", [({}, state.event_count)])
    yield gauge(
        "fleet_loop_lag_seconds",
        "How long the daemon took to come back to this question.",
        [({}, loop_lag_s)],
    )
