"""A ledger that an earlier program wrote goes on: read as it is, lifted at the first writing."""

import sqlite3
from pathlib import Path

import pytest

from mesh.edge.store.care import lift
from mesh.edge.store.forks import forks
from mesh.edge.store.ledger import Ledger, Reader, StoreError
from mesh.ledger import ids, signing
from mesh.ledger.event import NO_PREV
from tests.edge.store.events import CYD, line
from tests.edge.store.old_ledger import write_old

AUTHOR = signing.author_of(CYD)
MAIN = line(1, 2005, NO_PREV, "main")
BESIDE = line(1998, 6, ids.event_hash(MAIN[1996][1]), "beside")
LATER = line(2010, 2, "ab" * 32, "later")


@pytest.fixture(params=[1, 2])
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A home of a format: two full segments, an open one, in the second also another branch."""
    write_old(tmp_path, request.param, MAIN, BESIDE, LATER)
    return tmp_path


def told(shelf: Reader | Ledger) -> list[object]:
    """All that a reader can learn of a ledger."""
    ordered = [event.id for event in shelf.ordered()]
    return [list(shelf.events()), ordered, shelf.count(), shelf.last_cursor(), shelf.last_ms()]


def test_it_says_the_same_before_and_after_and_nothing_is_lost(old: Path) -> None:
    reader = Reader.open(old)
    before, forked, snapshot = told(reader), forks(old), reader.get_checkpoint()
    version = reader._db.execute("PRAGMA user_version").fetchone()[0]
    assert {finding.text[:5] for finding in reader.verify().findings} <= {"fork:"}
    reader.close()
    with Ledger.open(old) as ledger:
        assert told(ledger) == before
        assert [cursor for cursor, _ in ledger.events()] == list(range(1, ledger.count() + 1))
        assert ledger.get_checkpoint() == snapshot == (3, b"\x01\x02")
        assert ledger.forked() == forked == ({} if version == 1 else {AUTHOR: 1998})
        assert {finding.text[:5] for finding in ledger.verify().findings} <= {"fork:"}
        held = ledger._db.execute("SELECT seq, sig, body FROM held ORDER BY arrival").fetchall()
        assert held == [(seq, *event) for seq, event in enumerate(LATER, 2010)]


def test_a_lifted_ledger_goes_on(old: Path) -> None:
    with Ledger.open(old) as ledger:
        more = line(2006, 3, ids.event_hash(MAIN[-1][1]), "main")
        assert len(ledger.take_in(more).events) == 3
        ledger.append("note_added", "", {}, 1_790_000_000_000)
        page = ledger.page(AUTHOR, 2000, 100, 1 << 20)
        assert [event for event in page.envelopes if event in MAIN] == MAIN[2000:]
        opened = ledger.segment(AUTHOR)
        assert opened is not None
        assert sorted(opened[1].events()) == list(range(2001, 2009))
        ledger.take_in(BESIDE)
        assert {finding.text[:5] for finding in ledger.verify().findings} == {"fork:"}


def test_it_takes_less_room_and_leaves_nothing_behind(old: Path) -> None:
    before = (old / "ledger.db").stat().st_size
    with Ledger.open(old):
        pass
    assert (old / "ledger.db").stat().st_size < before / 2
    assert [path.name for path in old.iterdir() if "lifting" in path.name] == []


def test_a_lift_that_is_cut_off_begins_again(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Reader.open(old)
    before = told(whole)
    whole.close()

    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(lift, "swap", cut)
        with pytest.raises(KeyboardInterrupt):
            Ledger.open(old)
    (old / lift.DRAFT).write_bytes(b"left over by a power cut")
    again = Reader.open(old)
    assert told(again) == before
    again.close()
    with Ledger.open(old) as ledger:
        assert told(ledger) == before


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET body = substr(body, 2) WHERE seq = 700",
        "UPDATE events SET hash = hex(randomblob(32)) WHERE seq = 700",
        "UPDATE events SET sig = 5 WHERE seq = 700",
        "DELETE FROM events WHERE seq = 700",
        "DELETE FROM events WHERE seq >= 2001",
        "UPDATE events SET cursor = 9000 WHERE seq = 1000",
    ],
)
def test_a_damaged_one_is_left_as_it_is_and_repair_is_named(old: Path, statement: str) -> None:
    db = sqlite3.connect(old / "ledger.db")
    db.execute(statement)
    db.commit()
    db.close()
    with pytest.raises(StoreError, match="is damaged") as error:
        Ledger.open(old)
    assert error.value.hint == "fleet repair"
    db = sqlite3.connect(old / "ledger.db")
    assert db.execute("PRAGMA user_version").fetchone()[0] < 3
    db.close()
