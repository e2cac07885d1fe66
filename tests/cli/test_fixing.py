"""`fleet doctor --fix` mends what is safe to mend, one question each, and touches nothing else."""

import json
import os
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mesh.cli.app import fleet
from mesh.cli.operations import mend
from mesh.cli.operations.mend import ABANDONED_S, mends
from mesh.edge.bills.schema import open_bills
from mesh.edge.store.ledger import Ledger
from tests.cli.fixed_fleet import write_ledger


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    found = tmp_path / "home"
    monkeypatch.setenv("FLEET_HOME", str(found))
    write_ledger(found)
    return found


def ask(*words: str, stdin: str = "") -> Result:
    return CliRunner().invoke(fleet, ["doctor", *words], input=stdin)


def fixed(home: Path) -> dict[str, str]:
    rows = json.loads(ask("--fix", "-y", "-o", "json").stdout)["mends"]
    assert mends(home) == []
    return {row["what"]: row["did"] for row in rows}


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_sound_home_has_nothing_to_mend(home: Path) -> None:
    said = ask("--fix", "-y")
    assert said.stdout.startswith("nothing here that mends itself\n")
    assert "left for a person:\ndaemon: down (fleet up --detach)" in said.stdout


def test_what_others_can_read_is_made_private_again(home: Path) -> None:
    (home / "jobs").mkdir(mode=0o755)
    (home / "token").write_text("secret")
    for path, wrong in ((home / "identity.key", 0o644), (home / "token", 0o666), (home, 0o755)):
        path.chmod(wrong)
    assert "fleet doctor --fix" in ask().stdout
    assert fixed(home) == {
        str(home): "chmod 700",
        "jobs": "chmod 700",
        "identity.key": "chmod 600",
        "token": "chmod 600",
    }
    assert [mode(home / name) for name in ("identity.key", "token", "jobs")] == [
        0o600,
        0o600,
        0o700,
    ]


def test_a_link_is_not_followed(home: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("not ours")
    (tmp_path / "elsewhere").chmod(0o644)
    (home / "fleet.toml").symlink_to(tmp_path / "elsewhere")
    assert fixed(home) == {}
    assert mode(tmp_path / "elsewhere") == 0o644


def test_what_a_killed_daemon_left_is_removed(home: Path) -> None:
    (home / "daemon.json").write_text('{"pid": 0, "url": "", "started_ms": 0}')
    (home / "daemon.json").chmod(0o600)
    assert fixed(home) == {"daemon.json": "remove it"}
    assert not (home / "daemon.json").exists()


def test_nothing_is_removed_under_somebody_who_writes_the_ledger(home: Path) -> None:
    for name in ("daemon.json", "bills.db"):
        (home / name).write_bytes(b"no database" * 1000)
        (home / name).chmod(0o600)
    with Ledger.open(home):
        assert mends(home) == []
    assert {one.what for one in mends(home)} == {"daemon.json", "bills.db"}


def test_a_look_at_a_sound_home_takes_no_lock_from_a_daemon_that_starts(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mend, "_is_free", lambda _: pytest.fail("the lock was taken"))
    assert mends(home) == []


def test_damaged_bills_are_removed_and_sound_ones_stay(home: Path) -> None:
    open_bills(home).close()
    assert fixed(home) == {}
    (home / "bills.db").write_bytes(b"no database" * 1000)
    assert list(fixed(home)) == ["bills.db"]
    assert not (home / "bills.db").exists()


def test_copies_of_a_backup_that_was_cut_off_go_and_one_under_way_stays(home: Path) -> None:
    for name in (".backup-old", ".backup-now"):
        (home / name).mkdir(mode=0o700)
    for name in (".export-old", ".import-now"):
        (home / name).touch(mode=0o600)
    then = time.time() - ABANDONED_S - 60
    for name in (".backup-old", ".export-old"):
        os.utime(home / name, (then, then))
    assert list(fixed(home)) == [".backup-old", ".export-old"]
    assert (home / ".backup-now").is_dir()
    assert (home / ".import-now").exists()


def test_a_home_that_is_not_there_is_made_private(home: Path) -> None:
    home.rename(home.with_name("gone"))
    assert fixed(home) == {str(home): "make it"}
    assert mode(home) == 0o700


def test_each_mend_is_asked_for_and_no_means_no(home: Path) -> None:
    (home / "identity.key").chmod(0o644)
    (home / "ledger.db").chmod(0o640)
    said = ask("--fix", stdin="n\ny\n")
    assert said.exit_code == 0
    assert "identity.key: not done: left as it is: you said no" in said.stdout
    assert [mode(home / "identity.key"), mode(home / "ledger.db")] == [0o644, 0o600]


def test_a_mend_that_fails_is_said_and_the_next_one_is_tried(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise OSError(30, "Read-only file system")

    one = mend.Mend(what="a", state="is wrong", does="mend it", run=refuse)
    two = mend.Mend(what="b", state="is wrong", does="mend it", run=lambda: None)
    monkeypatch.setattr("mesh.cli.operations.fixing.mends", lambda _: [one, two])
    said = ask("--fix", "-y").stdout
    assert "a: not done: mend it: Read-only file system" in said
    assert "b: done: mend it" in said


def test_ledger_and_key_are_the_same_bytes_after_every_mend(home: Path) -> None:
    kept = {name: (home / name).read_bytes() for name in ("ledger.db", "identity.key")}
    for path in (home, *home.iterdir()):
        path.chmod(0o755)
    (home / "daemon.json").write_text("{")
    (home / "bills.db").write_bytes(b"no database" * 1000)
    ask("--fix", "-y")
    assert {name: (home / name).read_bytes() for name in kept} == kept


@pytest.mark.parametrize("words", [("-y",), ("--fix", "-o", "json")])
def test_what_asks_nobody_is_said_in_full(home: Path, words: tuple[str, ...]) -> None:
    assert ask(*words).exit_code == 2
