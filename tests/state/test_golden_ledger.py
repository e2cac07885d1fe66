"""A ledger that an earlier program wrote reads, verifies and folds as it did then.

tests/golden/ledger/README.md says how the kept files were made.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mesh.cli.ledger import verify
from mesh.cli.money.cost import cost
from mesh.edge.discovery.sightings import Sightings
from mesh.edge.identity import fleet_of, fleet_root
from mesh.edge.pairing.book import PairingBook
from mesh.edge.store.ledger import Ledger, Reader
from mesh.edge.store.state import load_state, members_of, whole_fold
from mesh.state.checkpoint import unpack
from mesh.state.fold import fold_all
from tests.golden.ledger.describe import canonical, described, digest, learned

KEPT = Path(__file__).parent.parent / "golden" / "ledger"
NOW = 1_791_300_000_000


def kept(name: str) -> Any:
    return json.loads((KEPT / name).read_text())


def plain(value: object) -> Any:
    """As JSON gives it back."""
    return json.loads(canonical(value))


@pytest.fixture(scope="module")
def then() -> Any:
    return kept("expected.json")


@pytest.fixture
def imported(tmp_path: Path) -> Iterator[Ledger]:
    """A new peer of that fleet, which was handed the exported file."""
    shutil.copy(KEPT / "home" / "fleet.json", tmp_path)
    with Ledger.open(tmp_path) as ledger:
        ledger.import_(KEPT / "ledger.jsonl")
        yield ledger


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The state directory as the earlier program left it."""
    return Path(shutil.copytree(KEPT / "home", tmp_path / "home"))


def as_read_now(state: Any) -> Any:
    """Since 0.2 an event of a newer version of a known type is kept and not read; it is a note.

    Since 0.3 a job that runs on its home's own device says whose that is.
    """
    counts = {**state["counts"]}
    counts["notes"] -= 1
    counts["types of a newer peer"] += 1
    jobs = {name: {**job, "owner": _owner(job)} for name, job in state["jobs"].items()}
    return {**state, "counts": counts, "jobs": jobs}


def _owner(job: Any) -> str:
    return job["owner"] or (job["home"] if job["device_id"] else "")


def command(home: Path, verb: Any, *words: str) -> Any:
    done = CliRunner().invoke(verb, [*words, "-o", "json"], env={"FLEET_HOME": str(home)})
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_every_event_is_taken_in_and_verifies(imported: Ledger, then: Any) -> None:
    assert imported.verify().ok
    assert imported.count() == then["events"]
    assert sorted({e.event_type for _, e in imported.events()}) == then["types"]


def test_what_was_taken_in_is_exported_byte_for_byte(imported: Ledger, tmp_path: Path) -> None:
    imported.export(tmp_path / "again.jsonl")
    assert (tmp_path / "again.jsonl").read_bytes() == (KEPT / "ledger.jsonl").read_bytes()


def test_it_folds_to_the_same_state(imported: Ledger, then: Any) -> None:
    assert digest(then["state"]) == then["sha256"]
    assert plain(described(whole_fold(imported))) == as_read_now(then["state"])


def test_older_jobs_add_up_to_the_same_totals(imported: Ledger, then: Any) -> None:
    events = [event for _, event in imported.events()]
    few = fold_all(events, members_of(fleet_of(imported.home)), keep_ended=3)
    assert plain(described(few)) == as_read_now(then["with three ended jobs kept"])


def test_the_planner_learns_the_same_from_it(imported: Ledger, then: Any) -> None:
    found = plain(learned(whole_fold(imported)))
    assert sum(map(len, found.values())) == 5
    assert found == then["state"]["learned"]


def test_a_device_with_one_job_at_a_time_costs_what_its_owner_said(
    imported: Ledger, then: Any
) -> None:
    said = next(one for one in then["state"]["bills"] if one["device_id"] == "dev-yenoicjm-gpu0")
    report = command(imported.home, cost, "--by", "device")
    (row,) = (one["devices"][0] for one in report["groups"] if one["device"] == said["device_id"])
    assert (row["duration_ms"], row["cost_nusd"]) == (2950, 43635)
    assert (said["duration_ms"], said["cost_nusd"]) == (2950, 43635)


def test_a_home_of_then_opens_verifies_and_folds_the_same(home: Path, then: Any) -> None:
    assert command(home, verify) == then["verify"]
    assert plain(described(load_state(home))) == as_read_now(then["state"])
    assert plain(described(load_state(home, every_job=True))) == as_read_now(then["state"])


def test_a_snapshot_of_then_is_read_as_it_was_meant_or_not_at_all(home: Path, then: Any) -> None:
    """A renamed field with a default would come back empty; FOLD_VERSION must say so."""
    reader = Reader.open(home)
    found = reader.get_checkpoint()
    reader.close()
    assert found is not None
    state = unpack(found[1])
    assert state is None or plain(described(state)) == then["state"]


def test_a_home_of_then_can_be_written_on(home: Path, then: Any) -> None:
    with Ledger.open(home) as ledger:
        ledger.append("note_added", "", {"text": "still here"}, NOW)
        assert ledger.verify().ok
        assert ledger.count() == then["events"] + 1


def test_the_files_beside_a_ledger_of_then_are_read(home: Path, then: Any) -> None:
    fleet = fleet_of(home)
    assert fleet is not None
    assert fleet.root == fleet_root(home) == then["state"]["members"]["root"]
    (invite,) = PairingBook(home).open_invites(1_791_127_000_000)
    assert (invite.role, invite.uses, invite.used_by) == ("runner", 2, [])
    assert Sightings(home).given() == [("10.9.8.7", 7433)]


def test_a_copied_key_is_found_out_as_it_was(tmp_path: Path) -> None:
    then = kept("fork.json")
    with Ledger.open(tmp_path) as ledger:
        report = ledger.import_(KEPT / "fork.jsonl")
        assert report.admitted == then["admitted"]
        assert [one.text for one in report.rejected] == then["rejected"]
        found = [[one.author, one.seq, one.text] for one in ledger.verify().findings]
        assert found == then["findings"]
        assert plain(described(whole_fold(ledger))) == then["state"]
