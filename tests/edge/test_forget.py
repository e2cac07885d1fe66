"""What forgetting a job erases, what it cannot, and which jobs it refuses."""

from pathlib import Path

import pytest

from mesh.api.bodies import Body
from mesh.api.errors import RequestError
from mesh.edge.jobs.forget import forget, told, typed_in_ledger
from mesh.edge.jobs.private import keep_request
from mesh.ledger.event import Event
from mesh.state.fold import fold
from mesh.state.state import State
from tests.state.test_fold import ANA, BEN, event

OLD = {"kind": "command", "command": ["env", "API_KEY=sk-12345"], "cwd": "/srv"}


def new_style(home: Path, job_id: str) -> dict[str, object]:
    sealed = keep_request(home, job_id, Body(prompt="secret"))
    return {"kind": "model", "body_hash": sealed.body_hash, "body_bytes": sealed.body_bytes}


def story(job_id: str, at: int, author: str = ANA, **asked: object) -> list[Event]:
    """A job that failed."""
    text = "exit code 7: last words"
    return [
        event("job_submitted", at, author, job_id=job_id, **asked),
        event("job_failed", at + 1, author, job_id=job_id, reason="exit", text=text),
    ]


def forgotten(home: Path, events: list[Event], job_id: str, keep: int = 512) -> dict[str, object]:
    def every() -> State:
        return fold(events)

    return forget(home, ANA, fold(events, keep), job_id, every)


@pytest.mark.parametrize("keep", [512, 0])
def test_a_job_is_erased_also_when_it_ended_long_ago(tmp_path: Path, keep: int) -> None:
    events = story("j1", 1, **new_style(tmp_path, "j1"))
    found = forgotten(tmp_path, events, "j1", keep)
    assert found["erased"] == ["request"]
    assert found["kept"] == []
    assert told(found) == "forgot j1: request (1 file)"
    again = forgotten(tmp_path, events, "j1", keep)
    assert (again["files"], again["kept"]) == (0, [])
    assert told(again) == "nothing of j1 is left on this machine"


@pytest.mark.parametrize("keep", [512, 0])
def test_what_an_earlier_program_signed_is_said_to_stay(tmp_path: Path, keep: int) -> None:
    (said,) = forgotten(tmp_path, story("j1", 1, **OLD), "j1", keep)["kept"]  # type: ignore[misc]
    assert "its command, folder, last words on every peer" in said


def test_a_job_of_another_home_one_that_runs_and_one_nobody_knows_are_refused(
    tmp_path: Path,
) -> None:
    events = [
        *story("bens", 1, BEN, **OLD),
        event("job_submitted", 5, job_id="waits", kind="command"),
    ]
    new_style(tmp_path, "waits")
    for job_id, code, says in (
        ("bens", "NotHere", "belongs to peer"),
        ("waits", "NotEnded", "is pending"),
        ("nosuch", "NotFound", "nosuch"),
    ):
        with pytest.raises(RequestError, match=says) as caught:
            forgotten(tmp_path, events, job_id)
        assert caught.value.code == code
    assert (tmp_path / "jobs" / "waits" / "request.json").exists()


def test_old_events_that_hold_what_was_typed_are_counted_up_to_a_bound(tmp_path: Path) -> None:
    asked = [
        {"prompt": "hi", "model": "m"},
        {"model": "/home/ana/m.gguf"},
        OLD,
        {"model": "meta-llama/Llama-3.1-8B"},
        new_style(tmp_path, "j"),
    ]
    events = [event("job_submitted", at, job_id=f"j{at}", **one) for at, one in enumerate(asked)]
    rows = list(enumerate([event("note_added", 99, prompt="not a job"), *events], 1))
    assert typed_in_ledger(iter(rows)) == 3
    assert typed_in_ledger(iter(rows), most=2) == 1
