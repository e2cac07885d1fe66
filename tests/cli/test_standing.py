"""One line on where a job stands: why it waits, when it should start and end, its deadline."""

from pathlib import Path
from typing import Any

import pytest

from mesh.api.rows import job_row
from mesh.cli.jobs.standing import (
    MAX_TOLD,
    NO_DAEMON,
    deadline_text,
    expected_text,
    standing_text,
    tell_waiting,
    when_text,
    with_standing,
)
from tests.state.job_story import ANA, T0, event, owned, told

SOON = {"start_p50_ms": 2000, "start_p90_ms": 4100, "end_p50_ms": 65_000, "end_p90_ms": 90_000}


def news(status: str, **more: Any) -> dict[str, Any]:
    empty = {"waiting": "", "waiting_code": "", "standing": None, "expected": None}
    return {"status": status, "devices": ["rig"], **empty, **more}


def test_a_job_that_waits_says_why_and_when_it_starts() -> None:
    said = news("queued", waiting="Busy: rig runs j-1", standing={**SOON, "p_ppm": 834_000})
    assert standing_text(said) == (
        "waits: Busy: rig runs j-1; starts in about 2.0 s (9 in 10: 4.1 s), "
        "ends in about 1 min 5 s (9 in 10: 1 min 30 s), deadline met with 83 %"
    )


def test_a_job_that_begins_says_where_and_when_it_should_end() -> None:
    expected = {"end_p50_ms": T0, "end_p90_ms": T0 + 20_000, "p_ppm": 999_999}
    said = news("running", expected=expected)
    assert standing_text(said) == (
        "on rig: should end 2027-01-15 08:00:00 UTC (9 in 10 by 2027-01-15 08:00:20), "
        "deadline met with 99 %"
    )
    assert standing_text(news("running")) == "on rig"


def test_what_nobody_can_say_is_left_out() -> None:
    assert when_text({}) == ""
    assert when_text({"start_p50_ms": 0, "start_p90_ms": 0}) == "starts at once"
    assert expected_text(None) == ""
    assert expected_text({"end_p50_ms": None, "end_p90_ms": None, "p_ppm": None}) == ""
    assert standing_text(news("queued")) == ""


@pytest.mark.parametrize(("ppm", "shown"), [(0, "1 %"), (1_000_000, "99 %"), (504_000, "50 %")])
def test_no_chance_is_called_sure(ppm: int, shown: str) -> None:
    assert when_text({"p_ppm": ppm}) == f"deadline met with {shown}"


def row_of(*more: Any, now: int = T0 + 50) -> dict[str, Any]:
    """A job of Ana's with a deadline of a minute, as a row."""
    asked = {"job_id": "j", "kind": "command", "deadline": "1m"}
    state = told([*owned("d"), event("job_submitted", 0, **asked), *more])
    return job_row(state, state.jobs["j"], now)


ACCEPTED = (
    event("job_dispatched", 10, job_id="j", attempt=1, expected={**SOON, "p_ppm": 700_000}),
)


def test_a_job_shows_what_was_predicted_beside_what_came() -> None:
    row = row_of(*ACCEPTED)
    assert row["expected"]["start_p50_ms"] == T0 + 10 + 2000
    assert row["deadline_ms"] == T0 + 60_000
    assert deadline_text(row) == "2027-01-15 08:01:00 UTC, expected with 70 %"
    took = {"actual_duration_ms": 1, "actual_cost_nusd": 0}
    ended = event("job_completed", 59_000, job_id="j", attempt=1, **took)
    assert deadline_text(row_of(*ACCEPTED, ended)).split(", ")[1] == "met"
    late = event("job_completed", 61_000, job_id="j", attempt=1, **took)
    assert deadline_text(row_of(*ACCEPTED, late)).split(", ")[1] == "missed"
    assert deadline_text(row_of(*ACCEPTED, now=T0 + 60_001)).split(", ")[1] == "missed"


@pytest.mark.parametrize("deadline", ["99999999h", "9" * 30 + "h", "soon", "-1m"])
def test_what_another_program_made_up_is_no_time(deadline: str) -> None:
    """Years that no calendar has would end the program that shows them."""
    asked = {"job_id": "j", "kind": "command", "deadline": deadline}
    made_up = {name: 10**30 for name in SOON} | {"start_p50_ms": -5, "p_ppm": -7}
    story = [event("job_submitted", 0, **asked)]
    story.append(event("job_dispatched", 1, job_id="j", attempt=1, expected=made_up))
    state = told([*owned("d"), *story])
    row = job_row(state, state.jobs["j"], T0)
    assert expected_text(row["expected"]) == ""
    assert deadline_text(row) == ""


def test_without_a_deadline_or_a_prediction_nothing_is_said_of_them() -> None:
    state = told([*owned("d"), event("job_submitted", 0, job_id="j", kind="command")])
    row = job_row(state, state.jobs["j"], T0)
    assert (row["expected"], row["deadline_ms"], row["deadline_met"]) == (None, None, None)
    assert deadline_text(row) == ""


def test_without_a_daemon_this_peers_jobs_wait_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mesh.cli.jobs.standing._is_ours", lambda row, home: row["home"] == ANA)
    rows = [
        {"job_id": "j", "status": status, "waiting": "", "home": home}
        for home, status in ((ANA, "queued"), ("b", "pending"), (ANA, "running"))
    ]
    assert [one["waiting"] for one in with_standing(rows, tmp_path)] == [NO_DAEMON, "", ""]


def test_below_the_table_those_that_came_first_say_why_they_wait(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = [
        {**news("queued", waiting=f"Busy: rig runs j-{n}"), "job_id": f"k-{n}"}
        for n in reversed(range(7))
    ]
    tell_waiting([{**news("running"), "job_id": "r"}, *rows, {**news("queued"), "job_id": "q"}])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "k-0 waits: Busy: rig runs j-0"
    assert len(lines) == MAX_TOLD + 1
    assert lines[-1] == "and 2 more that wait; fleet job ID says why"
