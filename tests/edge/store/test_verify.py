"""Verification uses what it found before and several processes, and trusts neither."""

import json
import os
import shutil
import sqlite3
from collections.abc import Iterable
from pathlib import Path

import pytest

from mesh.edge.identity import load_or_create
from mesh.edge.store.care import checks, marks, pool
from mesh.edge.store.ledger import Ledger, Reader, StoreError
from mesh.edge.store.reports import VerifyReport
from mesh.edge.store.sealed.shelf import digest_of
from mesh.ledger import ids, signing
from mesh.ledger.event import NO_PREV
from tests.edge.store.events import CYD, NOW, line

MAIN = line(1, 3100, NO_PREV, "main")
BESIDE = line(2500, 30, ids.event_hash(MAIN[2498][1]), "beside")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed ledger of three full segments and an open one."""
    home = tmp_path_factory.mktemp("sound")
    with Ledger.open(home) as ledger:
        ledger.take_in(MAIN)
        ledger.append("note_added", "", {}, NOW)
    return home


@pytest.fixture
def home(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "home"))


def verified(home: Path, *, every: bool = False) -> VerifyReport:
    reader = Reader.open(home)
    report = reader.verify(every=every)
    reader.close()
    return report


def signatures(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Whose signatures are checked from now on."""
    seen: list[str] = []
    real = signing.verify

    def verify(author: str, sig: bytes, body: bytes) -> bool:
        seen.append(author)
        return real(author, sig, body)

    monkeypatch.setattr(signing, "verify", verify)
    return seen


def change(home: Path, number: int) -> None:
    """Change a byte of a full segment, and the digest in the database with it."""
    db = sqlite3.connect(home / "ledger.db")
    (data,) = db.execute("SELECT data FROM segments WHERE segment = ?", (number,)).fetchone()
    data = data[:5000] + bytes([data[5000] ^ 1]) + data[5001:]
    values = (data, digest_of(data), number)
    db.execute("UPDATE segments SET data = ?, digest = ? WHERE segment = ?", values)
    db.commit()
    db.close()


def test_only_what_is_new_has_its_signatures_checked_again(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = signatures(monkeypatch)
    assert verified(home).ok
    assert len(seen) == 3101
    seen.clear()
    assert verified(home) == verified(home)
    assert len(seen) == 2 * 101
    seen.clear()
    assert verified(home, every=True).ok
    assert len(seen) == 3101
    with Ledger.open(home) as ledger:
        ledger.take_in(line(3101, 950, ids.event_hash(MAIN[-1][1]), "main"))
        seen.clear()
        assert ledger.verify().count == 4051
    assert len(seen) == 1000 + 51


def test_marks_that_this_peer_did_not_sign_mark_nothing(home: Path, tmp_path: Path) -> None:
    """Who changes a segment can compute its mark, and copy a mark file that another peer signed."""
    assert verified(home).ok
    change(home, 1)
    db = sqlite3.connect(home / "ledger.db")
    checker = checks.Checker(db)
    part = checks.Part(1, checker._rows.name(1), 1, sealed=True)
    rows = checker._main(checks._SEALED, 1, 1001)
    forged = checker._mark(part, checker._blob(part), rows, checker._before(1, 1001))
    db.close()
    who = load_or_create(home)
    known = marks.load(home, who)
    assert known[part.key, 1] != forged
    known[part.key, 1] = forged
    said = json.loads((home / marks.FILE).read_text())
    said["marks"] = [[author, number, mark.hex()] for (author, number), mark in known.items()]
    (home / marks.FILE).write_text(json.dumps(said))
    assert 1001 <= verified(home).findings[0].seq <= 2000
    (tmp_path / "other").mkdir()
    marks.save(home, load_or_create(tmp_path / "other"), known)
    assert 1001 <= verified(home).findings[0].seq <= 2000
    marks.save(home, who, known)  # only the key itself can say so
    assert verified(home).ok
    assert not verified(home, every=True).ok


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"marks": 5, "sig": "00"}', '{"marks": [[1, "x", 2]], "sig": ""}']
)
def test_a_garbled_mark_file_marks_nothing(
    home: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    (home / marks.FILE).write_text(text)
    seen = signatures(monkeypatch)
    assert verified(home).ok
    assert len(seen) == 3101


def test_where_nothing_can_be_written_everything_is_checked_each_time(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Ledger.open(home):
        pass
    home.chmod(0o500)
    monkeypatch.setattr(
        marks, "write_private", lambda *_: (_ for _ in ()).throw(PermissionError(13, "no"))
    )
    try:
        assert verified(home).ok
    finally:
        home.chmod(0o700)
    assert not (home / marks.FILE).exists()


def test_a_forked_ledger_has_marks_too(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Ledger.open(home) as ledger:
        ledger.take_in(BESIDE)
    assert [finding.text[:5] for finding in verified(home).findings] == ["fork:"]
    seen = signatures(monkeypatch)
    assert [finding.text[:5] for finding in verified(home).findings] == ["fork:"]
    assert len(seen) == 101 + len(BESIDE)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE open_bodies SET sig = zeroblob(64) WHERE cursor IN (SELECT e.cursor FROM events e"
        " JOIN forks f ON f.author = e.author AND f.seq = e.seq AND f.hash = e.hash LIMIT 1)",
        "DELETE FROM events WHERE cursor IN (SELECT e.cursor FROM events e JOIN forks f"
        " ON f.author = e.author AND f.seq = e.seq AND f.hash = e.hash ORDER BY e.seq LIMIT 1)",
        "DELETE FROM forks WHERE seq = 2510",
        "UPDATE forks SET seq = 2600 WHERE seq = 2510",
    ],
)
def test_a_change_of_another_branch_is_found(home: Path, statement: str) -> None:
    with Ledger.open(home) as ledger:
        ledger.take_in(BESIDE)
    verified(home)
    db = sqlite3.connect(home / "ledger.db")
    assert db.execute(statement).rowcount == 1
    db.commit()
    db.close()
    texts = [finding.text for finding in verified(home).findings]
    assert [text for text in texts if not text.startswith("fork:")] != []


@pytest.fixture
def spread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes, also for a short ledger."""
    monkeypatch.setattr(pool, "PARTS_FOR_TWO", 2)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)


@pytest.mark.usefixtures("spread")
def test_several_processes_find_what_one_finds(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = signatures(monkeypatch)
    assert verified(home).count == 3101
    assert seen == []  # nothing was left to this process
    change(home, 0)
    change(home, 2)
    many = verified(home)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    (home / marks.FILE).unlink()
    assert many == verified(home)
    assert {finding.seq // 1000 for finding in many.findings} >= {0, 2}


@pytest.mark.usefixtures("spread")
def test_a_process_that_the_system_ends_is_done_without(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> Iterable[checks.Checked]:
        yield pool.Checker(sqlite3.connect(home / "ledger.db")).check(
            checks.Part(1, signing.author_of(CYD), 0, sealed=True)
        )
        raise pool.BrokenProcessPool

    monkeypatch.setattr(pool, "_spread", broken)
    assert (verified(home).ok, verified(home).count) == (True, 3101)


def test_events_of_one_author_in_another_order_are_found(home: Path) -> None:
    """Nothing signed says when an event came, but none came before its predecessor."""
    db = sqlite3.connect(home / "ledger.db")
    for new, old in ((-1, 5), (5, 6), (6, -1)):
        db.execute("UPDATE events SET cursor = ? WHERE cursor = ?", (new, old))
    db.commit()
    db.close()
    assert [(f.seq, f.text) for f in verified(home).findings] == [
        (6, "stored as number 5, before its predecessor")
    ]


def test_an_event_without_its_body_is_never_read_as_another(home: Path) -> None:
    """An event beside the main line has no place in a segment; the one there is another's."""
    with Ledger.open(home) as ledger:
        ledger.take_in(BESIDE)
        last = ledger.last_cursor()
    db = sqlite3.connect(home / "ledger.db")
    db.execute("DELETE FROM open_bodies WHERE cursor = ?", (last,))
    db.commit()
    db.close()
    reader = Reader.open(home)
    with pytest.raises(StoreError, match=f"event {last} is damaged"):
        list(reader.events(after=last - 3))
    reader.close()
    assert "has no body and signature, or they are not bytes" in {
        finding.text for finding in verified(home).findings
    }
