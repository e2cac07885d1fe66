"""Readers start from the snapshot, and answer as if they had folded every event."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.api.rows import status_dict
from mesh.edge.planning import plan_query
from mesh.edge.store.ledger import Ledger
from mesh.edge.store.state import current_state, fold_anew, load_state
from mesh.ledger.codec import MAX_INT
from mesh.ledger.event import Event
from mesh.state.answers import bills
from mesh.state.checkpoint import digest, pack
from mesh.state.facts.fact import Payload
from mesh.state.fleet import MOST_CARDS, spec
from mesh.state.fold import apply, fold
from mesh.state.members import Find
from mesh.state.state import State
from tests.golden.ledger import junk
from tests.state.job_story import ANA, T0, told
from tests.state.job_story import event as story

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

    def again(*given: Any, **named: Any) -> Any:
        folds.append(given)
        return fold_anew(*given, **named)

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


# In twos and threes, as no single one would do: what a plan over the devices of others rests on.
EXTREMES = (0, -1, 1, -MAX_INT, MAX_INT, 2**31, 2**40)
TEXTS = ("", "x" * 3000, "nan", "1e308", "1e-308", "-0.0", "0", "\0")


def _spoilt(draw: st.DrawFn, facts: Payload, depth: int = 2) -> Payload:
    """The facts with a few of them as nobody honest says them."""
    out = dict(facts)
    for name in draw(st.lists(st.sampled_from(sorted(facts)), max_size=3)):
        found = facts[name]
        if isinstance(found, dict) and depth:
            out[name] = _spoilt(draw, found, depth - 1)
        elif name != "job_id":
            text = isinstance(found, str)
            out[name] = draw(st.sampled_from([*(TEXTS if text else EXTREMES), [], None]))
    return out


@st.composite
def stories(draw: st.DrawFn) -> list[Event]:
    """A device and two jobs on it, told by a runner that says odd things."""
    said = [("device_registered", junk.DEVICE)]
    for job_id in ("j1", "j2"):
        job: Payload = {"job_id": job_id, "owner": ANA}
        said += [
            ("job_submitted", junk.SUBMITTED | job),
            ("job_dispatched", junk.DISPATCHED | job),
            ("job_started", junk.STARTED | job),
        ]
        if draw(st.booleans()):
            said += [("job_completed", junk.ENDED | job)]
    return [
        replace(story(kind, at), payload=_spoilt(draw, facts))
        for at, (kind, facts) in enumerate(said)
    ]


@settings(max_examples=40, deadline=None)
@given(stories())
def test_nothing_a_runner_signs_stops_a_plan_or_a_bill(events: list[Event]) -> None:
    state = told(events)
    for model in ("llama-3.1-8b", "llama-3.1-70b"):
        asked = {"model": model, "prompt_tokens": 1000, "tokens": 200}
        json.dumps(plan_query(state, asked, now=T0 + 10**6), allow_nan=False)
    json.dumps(status_dict(state, T0 + 10**6), allow_nan=False)
    assert all(one.cost_nusd >= 0 for one in bills(state))


def test_a_plan_without_ways_out_says_the_same_of_places_and_refusals() -> None:
    for batch in (1, 64):
        asked = {"model": "llama-3.1-8b", "context": 32_768, "batch": batch}
        asked["what_if"] = ["RTX 4090"]
        whole = plan_query(State(), asked)
        short = plan_query(State(), {**asked, "ways_out": False})
        assert bool(whole["ways_out"]) == (batch == 64)
        assert short == whole | {"ways_out": []}


def test_a_host_of_a_billion_cards_costs_a_plan_no_memory() -> None:
    """A plan has a place for each card: 2**31 of them took 16 GB of every peer that planned."""
    for count in (2**31, MAX_INT):
        card = junk.DEVICE | {"count": count}
        (device,) = told([replace(story("device_registered", 0), payload=card)]).devices.values()
        assert spec(device).count == MOST_CARDS
