"""A damaged ledger is noticed before it is written on, and made anew from what is sound in it."""

import json
import os
import random
import shutil
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from mesh.cli.ledger import repair as command
from mesh.edge.disk import LedgerDamaged
from mesh.edge.store.care import look
from mesh.edge.store.care.repair import repair
from mesh.edge.store.ledger import Ledger, LedgerBusy, Reader, StoreError
from mesh.ledger import ids, signing
from mesh.ledger.event import NO_PREV
from mesh.sync.desk import Desk
from mesh.sync.session import Session
from tests.edge.store.events import CYD, NOW, line
from tests.edge.store.old_ledger import write_old

CYDS = signing.author_of(CYD)
MAIN = line(1, 2600, NO_PREV, "a note of some length, as people write them")
BESIDE = line(2590, 20, ids.event_hash(MAIN[2588][1]), "beside")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed ledger: two full segments and an open one of Cyd's, another branch, own notes."""
    home = tmp_path_factory.mktemp("sound")
    with Ledger.open(home) as ledger:
        for start in range(0, len(MAIN), 500):
            ledger.take_in(MAIN[start : start + 500])
            ledger.append("note_added", "", {"text": f"mine {start}"}, NOW + start)
        ledger.take_in(BESIDE)
        ledger.put_checkpoint(3, b"state")
    return home


@pytest.fixture
def home(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "home"))


def flip(path: Path, start: int, size: int) -> None:
    data = bytearray(path.read_bytes())
    data[start : start + size] = bytes(b ^ 0xFF for b in data[start : start + size])
    path.write_bytes(data)


def bodies(home: Path) -> set[str]:
    reader = Reader.open(home)
    found = {event.id for _, event in reader.events()}
    reader.close()
    return found


def pump(one: Ledger, two: Ledger) -> None:
    """Let two ledgers sync until they have nothing to say."""
    ends = [(Session(ledger, lambda author, seq: True, Desk()), ledger) for ledger in (one, two)]
    silent = 0
    while silent < 2:
        data = ends[0][0].outgoing(0)
        silent = silent + 1 if data is None else 0
        if data is not None:
            ends[1][0].receive(data, 0)
        ends.reverse()


@pytest.mark.parametrize("seed", range(24))
def test_whatever_is_sound_is_kept_and_a_peer_brings_the_rest(
    home: Path, sound: Path, seed: int
) -> None:
    rng = random.Random(seed)
    path = home / "ledger.db"
    size = path.stat().st_size
    for _ in range(rng.choice((1, 1, 3))):
        flip(path, rng.randrange(size), rng.choice((1, 64, 5000, 40_000)))
    damaged = path.read_bytes()
    report = repair(home)
    if report.sound:
        assert path.read_bytes() == damaged
        return
    assert (home / report.aside).read_bytes() == damaged
    kept = bodies(home)
    assert len(kept) == report.kept
    assert kept <= bodies(sound)
    with Ledger.open(home) as ledger, Ledger.open(sound) as peer:
        assert [cursor for cursor, _ in ledger.events()] == list(range(1, report.kept + 1))
        assert all(finding.text.startswith("fork:") for finding in ledger.verify().findings)
        pump(ledger, peer)
        assert ledger.tips() == peer.tips()
        assert all(finding.text.startswith("fork:") for finding in ledger.verify().findings)
    assert bodies(home) == bodies(sound)


@pytest.mark.parametrize(("start", "end"), [(0, 16), (0, 100), (16, 18), (100, 108), (0, 4096)])
def test_a_database_that_sqlite_cannot_even_open_gives_back_almost_all(
    home: Path, sound: Path, start: int, end: int
) -> None:
    """Its first page tells where everything else is, and holds nothing else."""
    flip(home / "ledger.db", start, end - start)
    report = repair(home)
    assert report.sound or bodies(home) == bodies(sound)


def test_a_page_in_the_middle_costs_its_events_and_those_after_them(home: Path) -> None:
    db = sqlite3.connect(home / "ledger.db")
    db.execute("UPDATE segments SET data = substr(data, 1, 70000) WHERE segment = 1")
    db.commit()
    db.close()
    report = repair(home)
    (lost,) = report.lost
    assert lost.author == CYDS
    assert 1000 < lost.after < 2000
    assert lost.beyond == 2609
    assert report.kept == lost.after + 6


def test_what_only_the_log_had_is_kept(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with Ledger.open(tmp_path / "live") as ledger:
        for count in (10, 50):
            ledger._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            ledger.append_many([("note_added", "", {"text": str(i)}) for i in range(count)], NOW)
        for path in ledger.home.iterdir():
            if not path.name.endswith("-shm"):
                shutil.copy(path, home)
    assert (home / "ledger.db-wal").stat().st_size > 10_000
    flip(home / "ledger.db", _root(tmp_path / "live" / "ledger.db", "authors"), 4096)
    report = repair(home)
    assert (report.sound, report.kept) == (False, 60)
    assert not (home / "ledger.db-wal").exists()
    assert (home / f"{report.aside}-wal").exists()


def test_what_an_earlier_log_left_in_the_file_is_not_taken_for_news(tmp_path: Path) -> None:
    """A log is written over from its beginning; behind its end are older copies of pages."""
    home = tmp_path / "home"
    home.mkdir()
    with Ledger.open(tmp_path / "live") as ledger:
        ledger._db.execute("PRAGMA wal_autocheckpoint=0")
        for _ in range(30):
            ledger.append_many([("note_added", "", {"text": "x"})] * 5, NOW)
        assert ledger._db.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()[0] == 0
        ledger.append_many([("note_added", "", {"text": "y"})] * 5, NOW)
        for path in ledger.home.iterdir():
            if not path.name.endswith("-shm"):
                shutil.copy(path, home)
    flip(home / "ledger.db", _root(tmp_path / "live" / "ledger.db", "authors"), 4096)
    assert repair(home).kept == 155


def test_a_ledger_of_an_old_format_is_repaired_too(tmp_path: Path) -> None:
    write_old(tmp_path, 2, MAIN[:1500])
    db = sqlite3.connect(tmp_path / "ledger.db")
    db.execute("UPDATE events SET body = substr(body, 2) WHERE seq = 1200")
    db.commit()
    db.close()
    with pytest.raises(StoreError, match="damaged"):
        Ledger.open(tmp_path)
    report = repair(tmp_path)
    assert report.kept == 1199
    assert [(lost.after, lost.beyond) for lost in report.lost] == [(1199, 1500)]
    with Ledger.open(tmp_path) as ledger:
        assert ledger.verify().ok


def test_a_sound_ledger_is_left_alone(home: Path) -> None:
    before = (home / "ledger.db").read_bytes()
    assert repair(home).sound
    assert (home / "ledger.db").read_bytes() == before
    names = {
        path.name.removesuffix("-wal").removesuffix("-shm") for path in home.glob("ledger.db*")
    }
    assert names == {"ledger.db"}


def test_a_repair_that_is_cut_off_changes_nothing(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flip(home / "ledger.db", 0, 100)
    before = (home / "ledger.db").read_bytes()

    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("mesh.edge.store.care.repair.swap", cut)
        with pytest.raises(KeyboardInterrupt):
            repair(home)
    assert (home / "ledger.db").read_bytes() == before
    assert repair(home).kept == 2600 + 20 + 6


def test_it_waits_for_no_daemon_and_makes_no_ledger(home: Path, tmp_path: Path) -> None:
    with Ledger.open(home), pytest.raises(LedgerBusy):
        repair(home)
    with pytest.raises(StoreError, match="no ledger in"):
        repair(tmp_path)


def test_the_new_file_is_private(home: Path) -> None:
    flip(home / "ledger.db", 0, 100)
    repair(home)
    assert stat.S_IMODE((home / "ledger.db").stat().st_mode) == 0o600


def test_the_command_says_what_was_kept_and_what_is_missing(home: Path) -> None:
    db = sqlite3.connect(home / "ledger.db")
    db.execute("UPDATE segments SET data = x'00' WHERE segment = 1")
    db.commit()
    db.close()
    env = {"FLEET_HOME": str(home)}
    done = CliRunner().invoke(command, [], env=env)
    assert done.exit_code == 0, done.output
    assert done.output.startswith("1006 events kept; the damaged file is ledger.db.damaged-")
    assert ": events 1001 to 2609 at least are missing" in done.output
    assert "at the next sync" in done.output
    again = CliRunner().invoke(command, ["-o", "json"], env=env)
    assert json.loads(again.output)["sound"] is True


DAMAGE = {
    "a cut file": lambda path: os.truncate(path, path.stat().st_size // 2),
    "a changed body": lambda path: _run(
        path, "UPDATE open_bodies SET body = substr(body, 2) WHERE cursor = 2610"
    ),
    "a missing event": lambda path: _run(path, "DELETE FROM events WHERE cursor = 2605"),
    "a missing table": lambda path: _run(path, "DROP TABLE segments"),
    "no database": lambda path: flip(path, 0, 100),
    "a garbled index": lambda path: flip(path, _root(path, "events_order"), 4096),
    "a garbled table": lambda path: flip(path, _root(path, "events"), 4096),
}


def _run(path: Path, statement: str) -> None:
    db = sqlite3.connect(path)
    db.execute(statement)
    db.commit()
    db.close()


def _root(path: Path, name: str) -> int:
    db = sqlite3.connect(path)
    (page,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (name,)).fetchone()
    db.close()
    return (int(page) - 1) * 4096


@pytest.mark.parametrize("small", [look.SMALL_BYTES, 0], ids=["small", "large"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_nobody_writes_on_a_damaged_ledger(
    home: Path, damage: str, small: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(look, "SMALL_BYTES", small)
    Ledger.open(home).close()
    DAMAGE[damage](home / "ledger.db")
    before = (home / "ledger.db").read_bytes()
    with pytest.raises(LedgerDamaged) as error:
        Ledger.open(home)
    assert error.value.hint == "run: fleet repair"
    assert (home / "ledger.db").read_bytes() == before
    assert repair(home).kept >= 1
    Ledger.open(home).close()


def test_the_look_at_the_start_is_as_long_for_a_long_ledger(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted in statements and rows, so that a slow machine changes nothing."""
    monkeypatch.setattr(look, "SMALL_BYTES", 0)
    monkeypatch.setattr(look, "PROBES", 16)
    monkeypatch.setattr(look, "NEWEST", 100)
    said: list[str] = []
    with Ledger.open(home) as ledger:
        ledger._db.set_trace_callback(said.append)
        look.look(ledger._db, home / "ledger.db")
        ledger._db.set_trace_callback(None)
    assert len(said) <= 16 + 5


def test_a_database_found_malformed_at_work_names_the_repair(home: Path) -> None:
    reader = Reader.open(home)
    flip(home / "ledger.db", 4096, (home / "ledger.db").stat().st_size - 4096)
    with pytest.raises(LedgerDamaged, match="malformed") as error:
        list(reader.events())
    reader.close()
    assert error.value.hint == "run: fleet repair"


def test_fleet_up_refuses_a_damaged_ledger_and_names_the_repair(home: Path) -> None:
    flip(home / "ledger.db", _root(home / "ledger.db", "events"), 4096)
    before = (home / "ledger.db").read_bytes()
    done = subprocess.run(
        [sys.executable, "-m", "mesh", "up"],
        capture_output=True,
        text=True,
        env=os.environ | {"FLEET_HOME": str(home), "FLEET_LISTEN": "none"},
    )
    assert done.returncode == 4, done.stderr
    assert "try: fleet repair" in done.stderr
    assert (home / "ledger.db").read_bytes() == before
