"""`fleet import` beside a running daemon and without one: the same lines, the same account."""

import json
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Fleet


@pytest.fixture
def export(tmp_path: Path) -> list[str]:
    """The lines of another peer's ledger: nine notes."""
    other = Fleet(tmp_path / "other")
    for n in range(9):
        other.ok("note", f"note {n}")
    other.ok("export", tmp_path / "other.jsonl")
    lines = (tmp_path / "other.jsonl").read_text().splitlines()
    assert len(lines) == 9
    return lines


def notes(fleet: Fleet) -> list[str]:
    return [e["payload"]["text"] for e in fleet.json("events") if e["event_type"] == "note_added"]


@pytest.mark.parametrize("daemon", [True, False])
def test_every_line_of_an_import_is_accounted_for(
    fleet: Fleet, tmp_path: Path, export: list[str], *, daemon: bool
) -> None:
    if daemon:
        fleet.up()
    bad = tmp_path / "bad.jsonl"
    tampered = export[3].replace("note 3", "note X")
    bad.write_text("\n".join([*export[:3], tampered, *export[4:], "", "no json", *export[:1]]))
    done = fleet.run("import", bad)
    assert done.code == 4
    # Three before the change, two lines that are no event of anybody's, five that wait for the one
    # that was changed, and the first again.
    said = "11 lines: 3 admitted, 1 already known, 5 wait for an event before them, 2 rejected\n"
    assert done.out == said
    named = done.err.splitlines()
    assert named[0] == "line 4: its id does not match its content"
    assert named[1].startswith("line 11: not JSON")
    assert named[2].startswith("fleet: 2 of the 11 lines of ")
    assert len(named) == 3
    (tmp_path / "missing.jsonl").write_text(export[3])
    report = fleet.json("import", tmp_path / "missing.jsonl")
    assert (report["lines"], report["admitted"], report["rejected_count"]) == (1, 1, 0)
    assert notes(fleet) == [f"note {n}" for n in range(9)]
    assert fleet.run("verify").code == 0


def test_a_running_daemon_knows_at_once_what_was_imported_and_keeps_no_copy(
    fleet: Fleet, tmp_path: Path, export: list[str]
) -> None:
    fleet.up()
    before = fleet.json("status")["events"]
    assert "9 lines: 9 admitted" in fleet.ok("import", tmp_path / "other.jsonl")
    assert fleet.json("status")["events"] == before + 9
    assert "9 already known" in fleet.ok("import", tmp_path / "other.jsonl")
    assert not list(fleet.home.glob(".import-*"))
    done = fleet.run("import", __file__)
    assert done.code == 3
    assert f"cannot import {__file__}: no line of it is an event" in done.err


def test_an_identity_is_told_as_text_and_as_json(fleet: Fleet) -> None:
    assert fleet.run("id").code == 3
    fleet.ok("note", "makes the key")
    assert json.loads(fleet.ok("id", "-o", "json"))["peer_id"] == fleet.ok("id").strip()
