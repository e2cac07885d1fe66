"""What `fleet doctor` says of homes that a daemon cannot use, and how every command ends there."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from mesh.cli.app import fleet, run
from mesh.cli.exits import BROKEN_LEDGER, CANNOT, USAGE
from mesh.cli.machines.doctor import _check_daemon
from mesh.cli.operations.faults import UNPACK, faults
from mesh.edge.announcement import new_token, read_token, token
from mesh.edge.home.backup import save_to
from mesh.edge.home.restore import restore
from mesh.edge.identity import load_or_create, reset
from mesh.edge.signing.highwater import HighWater
from mesh.edge.store.ledger import Ledger, Reader
from mesh.ledger.event import Event
from mesh.sync.manifest import Tip
from tests.cli.fixed_fleet import NOW, write_ledger
from tests.support.daemons import Asked
from tests.support.daemons import asked as asked


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home that was at work, and is at rest."""
    found = tmp_path / "home"
    monkeypatch.setenv("FLEET_HOME", str(found))
    author = write_ledger(found)
    with Ledger.open(found) as ledger:
        last: Event = ledger.append("note_added", ledger.peer_id, {"text": "the last"}, NOW)
    HighWater(found).write(author, Tip(last.seq, last.hash))
    return found


def doctor() -> str:
    """Its table, the words of each cell in a row."""
    done = CliRunner().invoke(fleet, ["doctor"], env={"COLUMNS": "400"}, catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    path.chmod(0o600)


def lose_ledger(home: Path) -> None:
    for end in ("-wal", "-shm"):
        (home / f"ledger.db{end}").unlink(missing_ok=True)
    write(home / "ledger.db", b"")


def test_a_sound_home_has_no_fault(home: Path) -> None:
    assert list(faults(home)) == []
    assert list(faults(home / "nowhere")) == []


def test_the_home_of_a_daemon_that_runs_has_no_fault(asked: Asked) -> None:
    assert list(faults(asked.fleet.home)) == []


def test_a_key_that_is_cut_short_is_told(home: Path) -> None:
    write(home / "identity.key", b"0123456789")
    assert "identity.key has 10 bytes, a key has 32" in doctor()
    assert "put it back from a backup" in doctor()


def test_a_key_that_is_gone_is_told_before_a_start_makes_a_new_peer(home: Path) -> None:
    was = load_or_create(home).peer_id[:7]
    (home / "identity.key").unlink()
    [(what, text, fix)] = faults(home)
    assert what == "identity.key"
    assert text == f"is missing: this machine is {was}, and a start makes it a new peer"
    assert fix == UNPACK
    (home / "high-water.json").unlink()
    [(_, text, fix)] = faults(home)
    assert text == "is missing: a start makes one, and this machine a new peer"
    assert not (home / "identity.key").exists()


def test_another_key_than_the_one_that_signed_here_is_told(home: Path) -> None:
    was = load_or_create(home).peer_id[:7]
    write(home / "identity.key", bytes([9]) * 32)
    [(_, text, fix)] = faults(home)
    assert text == f"is another than this home signed with: that was {was}'s"
    assert "go on as a new peer" in fix
    (home / "high-water.json").unlink()  # then the ledger tells
    [(_, text, _)] = faults(home)
    assert text == "signed nothing that is in this ledger; others did"


def test_a_key_that_its_owner_changed_is_no_fault(home: Path) -> None:
    reset(home)
    assert list(faults(home)) == []
    (home / "high-water.json").unlink()
    assert list(faults(home)) == []


@pytest.mark.parametrize("held", [b"", b" \n", b"\xff\xfe", "é".encode(), b"a\nb", b"a\x00b"])
def test_a_token_that_no_request_can_carry_is_made_anew(home: Path, held: bytes) -> None:
    write(home / "token", held)
    assert "holds no token" in doctor()
    assert "fleet doctor --fix" in doctor()
    assert run(["doctor", "--fix", "-y"]) == 0
    made = read_token(home)
    assert len(made) > 30
    assert "holds no token" not in doctor()
    write(home / "token", held)
    assert token(home) == read_token(home) != made
    assert (home / "token").stat().st_mode & 0o777 == 0o600


def test_a_token_that_is_one_stays(home: Path) -> None:
    made = new_token(home)
    assert token(home) == token(home) == made
    assert run(["doctor", "--fix", "-y"]) == 0
    assert read_token(home) == made


@pytest.mark.parametrize("command", [["status"], ["ps"], ["cost"], ["verify"]])
def test_an_empty_ledger_is_called_empty_and_a_backup_takes_its_place(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    save_to(home, tmp_path / "saved.tar", NOW, with_key=True)
    lose_ledger(home)
    assert run(command) == CANNOT
    said = capsys.readouterr().err
    assert "ledger.db is empty" in said
    assert said.endswith("move it away, then fleet restore FILE; without a backup: fleet up\n")
    assert "ledger.db is empty" in doctor()
    (home / "ledger.db").rename(tmp_path / "away")  # as the hint says
    assert restore(home, tmp_path / "saved.tar").kept == ()
    assert run(["status"]) == 0


def test_an_empty_file_is_where_an_honest_new_ledger_begins(tmp_path: Path) -> None:
    write(tmp_path / "ledger.db", b"")
    with Ledger.open(tmp_path) as ledger:
        ledger.append("note_added", ledger.peer_id, {"text": "first"}, NOW)
    reader = Reader.open(tmp_path)
    assert reader.count() == 1
    assert reader.authors() == {load_or_create(tmp_path).author}
    reader.close()


FOLDERS = (
    "daemon.json", "fleet.json", "fleet.toml", "identity.key", "ledger.db", "ledger.lock", "token",
)  # fmt: skip


@pytest.mark.parametrize("name", [*FOLDERS, "high-water.json"])
def test_a_folder_where_a_file_is_wanted_is_told(home: Path, name: str) -> None:
    if (home / name).exists():
        (home / name).unlink()
    (home / name).mkdir(mode=0o700)
    rows = [one for one in doctor().splitlines() if one.startswith(name)]
    assert any("is a folder, and a file is wanted" in one and "move it away" in one for one in rows)


def test_a_file_where_a_folder_is_wanted_is_told(home: Path) -> None:
    shutil.rmtree(home / "jobs", ignore_errors=True)
    write(home / "jobs", b"")
    assert ("jobs", "is a file, and a folder is wanted", "move it away") in list(faults(home))


def put(name: str, data: bytes) -> Callable[[Path], None]:
    return lambda home: write(home / name, data)


def number(home: Path, version: int) -> None:
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(home / "ledger.db")) as db:
        db.execute(f"PRAGMA user_version={version}")


BROKEN: dict[str, tuple[Callable[[Path], None], int, str]] = {
    "settings of other bytes": (put("fleet.toml", b"\xff\xfe"), USAGE, "is not text in UTF-8"),
    "settings that are none": (put("fleet.toml", b"[]"), USAGE, "fleet.toml cannot be read"),
    "a fleet that is none": (put("fleet.json", b"{"), CANNOT, "fleet.json is damaged"),
    "a ledger of other bytes": (put("ledger.db", b"0123"), BROKEN_LEDGER, "not a database"),
    "a ledger without its number": (lambda home: number(home, 0), BROKEN_LEDGER, "no format"),
    "a ledger of format -5": (lambda home: number(home, -5), BROKEN_LEDGER, "has format -5"),
    "a ledger of the future": (lambda home: number(home, 99), CANNOT, "install a newer"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_home_is_one_line_for_a_command_and_a_row_for_doctor(
    home: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    spoil, code, text = BROKEN[kind]
    spoil(home)
    assert run(["cost"]) == code
    said = capsys.readouterr().err
    assert text in said
    assert ". try: " in said
    assert said.count("\n") == 1
    assert text in doctor()


def test_a_ledger_that_lost_its_number_is_repaired_whole(home: Path) -> None:
    reader = Reader.open(home)
    count = reader.count()
    reader.close()
    number(home, 0)
    assert run(["repair"]) == 0
    reader = Reader.open(home)
    assert reader.count() == count
    reader.close()


@pytest.mark.parametrize("name", FOLDERS)
def test_a_start_says_in_one_line_which_folder_is_in_its_way(home: Path, name: str) -> None:
    if (home / name).exists():
        (home / name).unlink()
    (home / name).mkdir(mode=0o700)
    alone = {"FLEET_LISTEN": "none", "FLEET_DISCOVERY": "", "FLEET_GATEWAY_PORT": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "mesh", "up"],
        env=os.environ | alone, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == (USAGE if name == "fleet.toml" else CANNOT)
    assert name in done.stderr
    assert "away" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_daemon_that_its_files_do_not_name_is_told_with_its_process(home: Path) -> None:
    write(home / "daemon.json", b"{")
    with Ledger.open(home):
        _, text, fix = _check_daemon(home, None)
    assert f"process {os.getpid()} writes the ledger" in text
    assert f"kill {os.getpid()}, then fleet up --detach" in fix
    assert _check_daemon(home, None) == ("daemon", "down", "fleet up --detach")
