"""What the ledger on disk tells neighbours, and what it keeps of forks."""

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mesh.edge.store.ledger import Ledger, Reader, StoreError
from mesh.edge.store.writer import MAX_SIBLINGS
from mesh.ledger import document, gate, ids, signing
from mesh.ledger.event import NO_PREV
from mesh.sync.manifest import Tip, digest
from tests.edge.store.events import CYD, NOW, line, signed


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path / "home") as opened:
        yield opened


def notes(ledger: Ledger, count: int) -> None:
    ledger.append_many([("note_added", "", {"text": str(i)}) for i in range(count)], NOW)


def all_of(ledger: Ledger, author: str, events: int, size: int = 1 << 20) -> list[list[bytes]]:
    """An author's bodies, page by page."""
    pages: list[list[bytes]] = []
    after, more = 0, True
    while more:
        page = ledger.page(author, after, events, size)
        pages.append([body for _, body in page.envelopes])
        after, more = page.last, page.more
    return pages


def test_tips_are_the_same_after_a_restart(tmp_path: Path) -> None:
    with Ledger.open(tmp_path) as ledger:
        assert ledger.tips() == {}
        notes(ledger, 3)
        ledger.take_in(line(1, 5, NO_PREV, "x"))
        before = ledger.tips()
        assert before[ledger.author].seq == 3
    with Ledger.open(tmp_path) as ledger:
        assert ledger.tips() == before
        assert ledger.tip(ledger.author) == before[ledger.author]
        assert ledger.tip("ff" * 32) is None


def test_a_failed_commit_leaves_the_tips_as_they_were(ledger: Ledger) -> None:
    notes(ledger, 3)
    before = ledger.tips()
    with pytest.raises(StoreError):
        ledger.append_many([("note_added", "", {}), ("note_added", "", {"x": 0.5})], NOW)
    assert ledger.tips() == before
    assert ledger.tip_until(ledger.author, 2) == Tip(2, *ledger.hashes_at(ledger.author, 2))


class Refusing:
    """A database whose disk is full whenever a transaction is to be committed."""

    def __init__(self, db: Any) -> None:
        self.db = db

    def execute(self, query: str, *more: object) -> object:
        if query == "COMMIT":
            raise sqlite3.OperationalError("database or disk is full")
        return self.db.execute(query, *more)

    def __getattr__(self, name: str) -> object:
        return getattr(self.db, name)


def test_what_the_disk_refused_to_commit_is_told_to_nobody(ledger: Ledger) -> None:
    notes(ledger, 3)
    db, last = ledger._db, ledger.last_cursor()
    ledger._db = Refusing(db)  # type: ignore[assignment,misc]
    with pytest.raises(StoreError, match="disk is full"):
        ledger.append("note_added", "", {"text": "refused"}, NOW)
    ledger._db = db  # type: ignore[misc]
    assert ledger.committed(last) == []
    kept = ledger.append("note_added", "", {"text": "kept"}, NOW)
    assert ledger.committed(last) == [(last + 1, kept)]


def test_pages_cover_everything_once_whatever_their_size(ledger: Ledger) -> None:
    notes(ledger, 25)
    whole = [body for page in all_of(ledger, ledger.author, 1000) for body in page]
    assert len(whole) == 25
    for events, size in ((1, 1 << 20), (7, 1 << 20), (25, 1 << 20), (1000, 1), (1000, 2000)):
        pages = all_of(ledger, ledger.author, events, size)
        assert [body for page in pages for body in page] == whole
        assert all(len(page) <= events for page in pages)
    assert all_of(ledger, "ff" * 32, 10) == [[]]


def test_new_events_are_reported_also_those_that_had_waited(ledger: Ledger) -> None:
    events = line(1, 6, NO_PREV, "x")
    assert ledger.take_in(events[3:]).events == ()
    assert [e.seq for e in ledger.take_in(events[:2]).events] == [1, 2]
    intake = ledger.take_in([events[2]])
    assert [e.seq for e in intake.events] == [3, 4, 5, 6]
    assert [type(outcome) for outcome in intake.outcomes] == [gate.Accept]
    assert ledger.take_in(events).events == ()


def test_a_page_never_ends_between_branches_of_one_seq(ledger: Ledger) -> None:
    trunk = line(1, 4, NO_PREV, "trunk")
    prev = ids.event_hash(trunk[-1][1])
    branches = [line(5, 3, prev, name) for name in ("one", "two", "three")]
    for branch in [trunk, *branches]:
        ledger.take_in(branch)
    author = signing.author_of(CYD)
    for events in range(1, 15):
        pages = all_of(ledger, author, events)
        assert sum(map(len, pages)) == 13
        assert len({body for page in pages for body in page}) == 13


@pytest.mark.parametrize("first", [0, 1, 2])
def test_a_forked_tip_does_not_depend_on_which_branch_came_first(
    tmp_path: Path, first: int
) -> None:
    trunk = line(1, 4, NO_PREV, "trunk")
    prev = ids.event_hash(trunk[-1][1])
    branches = [line(5, 3, prev, "one"), line(5, 1, prev, "two"), line(5, 9, prev, "three")]
    tips = []
    for order in (branches, branches[first:] + branches[:first], branches[::-1]):
        shutil.rmtree(tmp_path / "a", ignore_errors=True)
        with Ledger.open(tmp_path / "a") as ledger:
            ledger.take_in([event for part in (trunk, *order) for event in part])
            tips.append(ledger.tips())
            assert ledger.forked() == {signing.author_of(CYD): 5}
            assert [f.text[:5] for f in ledger.verify().findings] == ["fork:"]
    assert len({digest(one) for one in tips}) == 1
    (tip,) = tips[0].values()
    assert (tip.seq, tip.fork) == (13, 5)


def test_a_branch_over_a_sealed_segment_verifies(tmp_path: Path) -> None:
    trunk = line(1, 990, NO_PREV, "trunk")
    prev = ids.event_hash(trunk[-1][1])
    with Ledger.open(tmp_path) as ledger:
        ledger.take_in(trunk + line(991, 5, prev, "one"))
        ledger.take_in(line(991, 40, prev, "two"))
        head = ids.event_hash(line(991, 5, prev, "one")[-1][1])
        ledger.take_in(line(996, 20, head, "one"))
    with Ledger.open(tmp_path) as ledger:
        assert ledger.count() == 990 + 25 + 40
        assert [f.text[:5] for f in ledger.verify().findings] == ["fork:"]
        assert len({event.id for event in ledger.ordered()}) == 1055


def test_a_missing_branch_event_is_found(tmp_path: Path) -> None:
    trunk = line(1, 4, NO_PREV, "trunk")
    prev = ids.event_hash(trunk[-1][1])
    with Ledger.open(tmp_path) as ledger:
        ledger.take_in(trunk + line(5, 2, prev, "one"))
        ledger.take_in(line(5, 3, prev, "two"))
    db = sqlite3.connect(tmp_path / "ledger.db")
    db.execute("DELETE FROM events WHERE cursor = 8")
    db.commit()
    db.close()
    texts = [finding.text for finding in Reader.open(tmp_path).verify().findings]
    assert "an event of a fork is not among the events" in texts


def test_branches_at_one_seq_have_a_limit(ledger: Ledger) -> None:
    for i in range(MAX_SIBLINGS + 3):
        (outcome,) = ledger.take_in([signed(1, NO_PREV, str(i))]).outcomes
    assert isinstance(outcome, gate.Reject)
    assert outcome.full
    assert ledger.count() == MAX_SIBLINGS


def test_a_sealed_segment_is_the_same_bytes_live_and_at_once(tmp_path: Path) -> None:
    events = line(1, document.SEGMENT_EVENTS, NO_PREV, "x")
    blobs = []
    for name, step in (("live", 250), ("once", len(events))):
        with Ledger.open(tmp_path / name) as ledger:
            for start in range(0, len(events), step):
                ledger.take_in(events[start : start + step])
            blobs += ledger._db.execute("SELECT data FROM segments").fetchall()
            assert ledger._db.execute("SELECT COUNT(*) FROM increments").fetchone() == (0,)
            assert ledger.segment(signing.author_of(CYD)) is None
    assert len(blobs) == 2
    assert blobs[0] == blobs[1]


def test_copies_of_a_disk_with_one_clock_have_one_order(tmp_path: Path) -> None:
    trunk = line(1, 2, NO_PREV, "trunk")
    prev = ids.event_hash(trunk[-1][1])
    branches = [signed(3, prev, name) for name in ("one", "two", "three", "four")]
    orders = []
    for name, order in (("a", branches), ("b", branches[::-1])):
        with Ledger.open(tmp_path / name) as ledger:
            ledger.take_in(trunk + order)
            orders.append([event.id for event in ledger.ordered()])
            ledger.export(tmp_path / f"{name}.jsonl")
    assert len(orders[0]) == 6
    assert orders[0] == orders[1]
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
