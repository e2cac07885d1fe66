"""Readers start from the snapshot, and answer as if they had folded every event."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mesh.api.rows import status_dict
from mesh.edge.store.ledger import Ledger
from mesh.edge.store.state import current_state, fold_anew, load_state
from mesh.ledger.event import Event
from mesh.state.checkpoint import digest, pack
from mesh.state.fold import State, apply, fold
from mesh.state.members import Find

NOW = 1_800_000_000_000


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path) as opened:
        opened.append("device_registered", "d", {"name": "d"}, NOW - 1)
        yield opened


def finish(ledger: Ledger, job_id: str, cost: int) -> None:
    """Record a whole job's life."""
    job = {"job_id": job_id}
    end = {**job, "actual_cost_nusd": cost, "actual_duration_ms": 1000}
    ledger.append_many(
        [
            ("job_submitted", "d", {**job, "model": "m"}),
            ("job_dispatched", "d", job),
            ("job_started", "d", job),
            ("job_completed", "d", end),
        ],
        NOW,
    )


def test_a_snapshot_and_the_events_after_it_are_the_whole_ledger(ledger: Ledger) -> None:
    finish(ledger, "j1", 5)
    ledger.put_checkpoint(ledger.last_cursor(), pack(current_state(ledger)))
    finish(ledger, "j2", 7)
    state = current_state(ledger)
    assert digest(state) == digest(fold(event for _, event in ledger.events()))
    assert status_dict(state, NOW)["cost_total_nusd"] == 12


def test_a_snapshot_that_is_not_one_is_passed_over(ledger: Ledger) -> None:
    finish(ledger, "j1", 5)
    ledger.put_checkpoint(ledger.last_cursor(), b"not a snapshot")
    assert current_state(ledger).jobs["j1"].cost_nusd == 5


def test_an_event_that_changes_the_retired_past_costs_a_whole_fold(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.put_checkpoint(0, pack(fold([])))
    finish(ledger, "j1", 5)
    folds: list[object] = []

    def stale(state: State, event: Event, find: Find) -> None:
        apply(state, event, find)
        state.stale = state.stale or not folds

    def again(*given: Any) -> Any:
        folds.append(given)
        return fold_anew(*given)

    monkeypatch.setattr("mesh.edge.store.state.apply", stale)
    monkeypatch.setattr("mesh.edge.store.state.fold_anew", again)
    assert current_state(ledger).jobs["j1"].cost_nusd == 5
    assert len(folds) == 1


def test_asking_for_every_job_brings_the_retired_ones_back(ledger: Ledger) -> None:
    for number in range(600):
        finish(ledger, f"j{number}", 1)
    assert len(load_state(ledger.home).jobs) == 512
    assert len(load_state(ledger.home, every_job=True).jobs) == 600
    assert status_dict(load_state(ledger.home), NOW)["jobs"] == {"succeeded": 600}


def test_events_come_in_total_order_page_by_page(ledger: Ledger) -> None:
    for step in (5, 1, 9):
        ledger.append_many([("note_added", "", {"text": "x"})] * 400, NOW + step)
    stamps = [event.hlc for event in ledger.ordered()]
    assert stamps == sorted(stamps)
    assert len(stamps) == 1201
