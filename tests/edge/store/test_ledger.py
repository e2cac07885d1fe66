"""The ledger on disk keeps what it acknowledged, and notices any byte that changed."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.edge.store.ledger import Ledger, LedgerBusy, Reader, StoreError
from mesh.edge.store.sealed.shelf import digest_of
from mesh.ledger.event import Event, order_key

NOW = 1_790_000_000_000


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path / "home") as opened:
        yield opened


def notes(ledger: Ledger, count: int, now: int = NOW) -> list[Event]:
    return ledger.append_many([("note_added", "", {"text": str(i)}) for i in range(count)], now)


def tamper(home: Path, statement: str, values: tuple[object, ...] = ()) -> None:
    """Change a closed ledger behind its back."""
    db = sqlite3.connect(home / "ledger.db")
    db.execute(statement, values)
    db.commit()
    db.close()


def test_what_is_appended_is_chained_and_reads_back(ledger: Ledger) -> None:
    first = ledger.append("note_added", "dev-1", {"text": "hello"}, NOW)
    second = ledger.append("note_added", "dev-1", {"text": "again"}, NOW - 5000)
    assert (first.seq, second.seq) == (1, 2)
    assert first.prev == "0" * 64
    assert first.timestamp == "2026-09-21T14:13:20.000Z"
    assert order_key(second) > order_key(first)
    with Ledger.open(ledger.home.with_name("other")) as other:
        assert other.author != ledger.author
    reader = Reader.open(ledger.home)
    assert list(reader.events()) == [(1, first), (2, second)]
    assert list(reader.events(after=1)) == [(2, second)]
    assert list(reader.events(limit=1)) == [(1, first)]
    assert (reader.count(), reader.last_ms()) == (2, NOW)
    reader.close()


def test_a_ledger_goes_on_where_it_stopped_also_across_a_sealed_segment(tmp_path: Path) -> None:
    with Ledger.open(tmp_path) as ledger:
        notes(ledger, 1003)
    with Ledger.open(tmp_path) as ledger:
        assert ledger.append("note_added", "", {}, NOW).seq == 1004
        assert len(list(ledger.events())) == 1004
        report = ledger.verify()
    assert (report.ok, report.count, report.findings) == (True, 1004, ())


def test_a_second_writer_is_told_who_holds_the_ledger(ledger: Ledger) -> None:
    with pytest.raises(LedgerBusy, match=f"process {os.getpid()}"):
        Ledger.open(ledger.home)


def test_a_missing_ledger_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no ledger in") as error:
        Reader.open(tmp_path)
    assert error.value.hint == "run: fleet up"


def test_a_file_that_is_no_database_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"not a database" * 1000)
    with pytest.raises(StoreError, match="not a database"):
        Reader.open(tmp_path)
    with pytest.raises(StoreError, match="not a database"):
        Ledger.open(tmp_path)


def test_a_home_that_cannot_be_made_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot open the ledger"):
        Ledger.open(tmp_path / "file" / "home")


@pytest.mark.parametrize(
    "payload", [{"x": 0.5}, {"x": 2**60}, {"x": "a" * 70_000}, {"x": object()}]
)
def test_a_payload_without_canonical_bytes_leaves_the_ledger_as_it_was(
    ledger: Ledger, payload: dict[str, object]
) -> None:
    with pytest.raises(StoreError, match="cannot record note_added"):
        ledger.append_many([("note_added", "", {}), ("note_added", "", payload)], NOW)
    assert ledger.count() == 0
    assert ledger.append("note_added", "", {}, NOW).seq == 1


def test_a_full_disk_loses_nothing_and_the_next_append_works(ledger: Ledger) -> None:
    notes(ledger, 5)
    pages = ledger._db.execute("PRAGMA page_count").fetchone()[0]
    ledger._db.execute(f"PRAGMA max_page_count = {pages + 2}")
    for _ in range(2):
        with pytest.raises(StoreError, match="full") as error:
            ledger.append("note_added", "", {"text": "x" * 50_000}, NOW)
    assert "free some disk space" in error.value.hint
    assert ledger.count() == 5
    ledger._db.execute("PRAGMA max_page_count = 1000000")
    assert ledger.append("note_added", "", {}, NOW).seq == 6
    assert ledger.verify().findings == ()


def test_a_reader_needs_neither_keys_nor_documents(tmp_path: Path) -> None:
    with Ledger.open(tmp_path) as ledger:
        notes(ledger, 2)
    code = (
        "import sys; from pathlib import Path; from mesh.edge.store.ledger import Reader\n"
        "print(len(list(Reader.open(Path(sys.argv[1])).events())))\n"
        "print([m for m in ('nacl', 'automerge', 'platformdirs', 'asyncio') if m in sys.modules])"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    assert out.stdout.split("\n")[:2] == ["2", "[]"]


def test_a_reader_reads_a_copy_that_nobody_can_write(tmp_path: Path) -> None:
    with Ledger.open(tmp_path) as ledger:
        notes(ledger, 2)
    (tmp_path / "ledger.db").chmod(0o400)
    tmp_path.chmod(0o500)
    try:
        reader = Reader.open(tmp_path)
        assert len(list(reader.events())) == 2
        assert reader.verify().ok
        reader.close()
    finally:
        tmp_path.chmod(0o700)


def test_a_ledger_that_grows_while_it_is_checked_is_no_damage(ledger: Ledger) -> None:
    notes(ledger, 50)
    done = threading.Event()

    def grow() -> None:
        while not done.is_set():
            ledger.append("note_added", "", {}, NOW)

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        reports = [ledger.verify() for _ in range(10)]
        ledger.export(ledger.home / "out.jsonl")
        seen = [event.seq for _, event in ledger.events()]
    finally:
        done.set()
        writer.join()
    assert [report.findings for report in reports] == [()] * 10
    assert seen == list(range(1, len(seen) + 1))


def test_a_checkpoint_is_kept_and_replaced(ledger: Ledger) -> None:
    assert ledger.get_checkpoint() is None
    ledger.put_checkpoint(3, b"old")
    ledger.put_checkpoint(7, b"new")
    assert ledger.get_checkpoint() == (7, b"new")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed ledger of 1003 events: one sealed segment, one open."""
    home = tmp_path_factory.mktemp("sound")
    with Ledger.open(home) as ledger:
        notes(ledger, 1003)
    return home


def changed(value: object, name: str) -> object:
    """The same kind of value with one bit of it flipped."""
    if isinstance(value, int):
        return value ^ (1 << 20)
    assert isinstance(value, bytes)
    place = random.Random(name).randrange(len(value))
    return value[:place] + bytes([value[place] ^ 1]) + value[place + 1 :]


COLUMNS = ["cursor", "author", "seq", "hlc_ms", "hlc_counter", "hash"]


@pytest.mark.parametrize(
    ("column", "seq"),
    [(column, seq) for column in COLUMNS for seq in (1, 500, 1000, 1001, 1003)]
    + [(column, seq) for column in ("body", "sig") for seq in (1001, 1003)],
)
@pytest.mark.parametrize("before", ["never verified", "verified before"])
def test_a_change_of_any_column_of_any_event_is_found_and_named(
    sound: Path, tmp_path: Path, column: str, seq: int, before: str
) -> None:
    home = tmp_path / "home"
    shutil.copytree(sound, home)
    if before == "verified before":
        assert Reader.open(home).verify().ok
    table, where = "events", "seq = ?"
    if column in ("body", "sig"):
        table, where = "open_bodies", "cursor = (SELECT cursor FROM events WHERE seq = ?)"
    db = sqlite3.connect(home / "ledger.db")
    (value,) = db.execute(f"SELECT {column} FROM {table} WHERE {where}", (seq,)).fetchone()
    db.close()
    new = changed(value, column)
    tamper(home, f"UPDATE {table} SET {column} = ? WHERE {where}", (new, seq))
    report = Reader.open(home).verify()
    assert not report.ok
    named = new if column == "seq" else seq
    assert named in [finding.seq for finding in report.findings]


@pytest.mark.parametrize("place", [0, 1, 40, 60, 100, 5000, 64_072, 64_080, 70_000, -1])
@pytest.mark.parametrize("trusts", ["marks", "nothing"])
def test_a_changed_byte_of_a_sealed_segment_is_found_also_where_it_was_verified_before(
    sound: Path, tmp_path: Path, place: int, trusts: str
) -> None:
    every = trusts == "nothing"
    home = tmp_path / "home"
    shutil.copytree(sound, home)
    assert Reader.open(home).verify().ok
    db = sqlite3.connect(home / "ledger.db")
    (blob,) = db.execute("SELECT data FROM segments").fetchone()
    db.close()
    at = place % len(blob)
    new = blob[:at] + bytes([blob[at] ^ 4]) + blob[at + 1 :]
    tamper(home, "UPDATE segments SET data = ?", (new,))
    assert not Reader.open(home).verify(every=every).ok
    tamper(home, "UPDATE segments SET digest = ?", (digest_of(new),))  # who changes one, changes it
    assert not Reader.open(home).verify(every=every).ok


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM events WHERE seq = 700",
        "DELETE FROM events WHERE seq = 1003",
        "DELETE FROM events WHERE seq > 1000",
        "DELETE FROM events WHERE seq <= 1000",
        "DELETE FROM open_bodies WHERE cursor = 1003",
        "DELETE FROM increments WHERE seq = 1002",
        "DELETE FROM segments",
        "DELETE FROM authors",
        "INSERT INTO authors VALUES (7, x'00')",
        "INSERT INTO open_bodies VALUES (5000, x'00', x'00')",
        "INSERT INTO open_bodies SELECT 700, sig, body FROM open_bodies WHERE cursor = 1003",
        "INSERT INTO forks VALUES (1, 700, x'00')",
        "INSERT INTO forks SELECT author, seq, hash FROM events WHERE seq = 700",
        "UPDATE segments SET data = x'00'",
        "UPDATE segments SET data = 1000000000000",
        "UPDATE segments SET digest = x'00'",
        "UPDATE segments SET segment = 9223372036854775807",
        "UPDATE increments SET seq = 5000 WHERE seq = 1003",
        "UPDATE increments SET author = 'nobody'",
        "UPDATE open_bodies SET body = 'text', sig = 5 WHERE cursor = 1002",
        "UPDATE events SET author = CAST(x'fffe' AS TEXT) WHERE seq = 9",
        "UPDATE events SET seq = 'nine' WHERE seq = 9",
        "UPDATE events SET hash = 'nine' WHERE seq = 1000",
        "INSERT INTO increments VALUES ('', 1, x'00')",
        "INSERT INTO increments VALUES (1, 1, x'00')",
        "DROP TABLE segments",
    ],
)
def test_any_other_damage_is_a_finding_and_never_a_traceback(
    sound: Path, tmp_path: Path, statement: str
) -> None:
    home = tmp_path / "home"
    shutil.copytree(sound, home)
    tamper(home, statement)
    assert not Reader.open(home).verify().ok


@settings(max_examples=40, deadline=None)
@given(place=st.floats(0.001, 0.999), size=st.sampled_from([1, 64, 5000]))
def test_a_damaged_file_never_raises_anything_but_a_store_error(
    sound: Path, tmp_path_factory: pytest.TempPathFactory, place: float, size: int
) -> None:
    home = tmp_path_factory.mktemp("damaged")
    data = bytearray((sound / "ledger.db").read_bytes())
    start = int(len(data) * place)
    data[start : start + size] = bytes(b ^ 0xFF for b in data[start : start + size])
    (home / "ledger.db").write_bytes(data)
    try:
        reader = Reader.open(home)
    except StoreError:
        return
    report = reader.verify()
    assert report.ok == (not report.findings)
    reader.close()
    shutil.rmtree(home)


def test_a_damaged_last_event_does_not_become_a_link(tmp_path: Path) -> None:
    with Ledger.open(tmp_path) as ledger:
        notes(ledger, 3)
    tamper(tmp_path, "UPDATE open_bodies SET sig = zeroblob(64) WHERE cursor = 3")
    with (
        Ledger.open(tmp_path) as ledger,
        pytest.raises(StoreError, match="last event of author .* is damaged"),
    ):
        ledger.append("note_added", "", {}, NOW)


def test_an_export_is_in_total_order_and_an_import_is_idempotent(
    ledger: Ledger, tmp_path: Path
) -> None:
    notes(ledger, 30)
    path = tmp_path / "out.jsonl"
    assert ledger.export(path) == 30
    first = json.loads(path.read_text().splitlines()[0])
    assert set(first) == {
        "id",
        "timestamp",
        "device_id",
        "event_type",
        "payload",
        "author",
        "seq",
        "prev",
        "hlc",
        "sig",
        "v",
    }
    with Ledger.open(tmp_path / "b") as other:
        own = other.append("note_added", "", {"text": "mine"}, NOW + 1)
        report = other.import_(path)
        assert (report.admitted, report.known, report.rejected) == (30, 0, ())
        report = other.import_(path)
        assert (report.admitted, report.known, report.rejected) == (0, 30, ())
        assert other.verify().findings == ()
        assert other.append("note_added", "", {}, NOW - 9).hlc > own.hlc
        other.export(tmp_path / "both.jsonl")
    ledger.import_(tmp_path / "both.jsonl")
    ledger.export(tmp_path / "same.jsonl")
    assert (tmp_path / "same.jsonl").read_bytes() == (tmp_path / "both.jsonl").read_bytes()


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Twelve exported events of two authors."""
    home = tmp_path_factory.mktemp("lines")
    with Ledger.open(home / "a") as a, Ledger.open(home / "b") as b:
        notes(a, 6)
        notes(b, 6, NOW + 3)
        a.export(home / "a.jsonl")
        b.import_(home / "a.jsonl")
        b.export(home / "all.jsonl")
    return (home / "all.jsonl").read_bytes().splitlines(keepends=True)


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_import_gives_the_same_ledger_in_any_order_and_any_parts(
    lines: list[bytes], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    home = tmp_path_factory.mktemp("any")
    shuffled = data.draw(st.permutations(lines))
    cut = data.draw(st.integers(1, len(lines) - 1))
    with Ledger.open(home) as ledger:
        for part in (shuffled[:cut], shuffled[cut:]):
            (home / "part.jsonl").write_bytes(b"".join(part))
            assert ledger.import_(home / "part.jsonl").rejected == ()
        ledger.export(home / "whole.jsonl")
        assert ledger.verify().findings == ()
    assert (home / "whole.jsonl").read_bytes() == b"".join(lines)


def test_each_rejected_line_is_named(ledger: Ledger, lines: list[bytes], tmp_path: Path) -> None:
    envelope = json.loads(lines[1])
    forged = json.dumps(envelope | {"payload": {"text": "forged"}}).encode() + b"\n"
    long = b'{"x":"' + b"y" * 3_000_000 + b'"}\n'
    path = tmp_path / "bad.jsonl"
    path.write_bytes(lines[0] + forged + b"\n" + long + b"\xff\xfe\n" + lines[0][:-20] + b"\n")
    report = ledger.import_(path)
    assert report.admitted == 1
    assert [(r.line, r.text.split(":")[0]) for r in report.rejected] == [
        (2, "its id does not match its content"),
        (4, "longer than 131072 bytes"),
        (5, "not JSON"),
        (6, "not JSON"),
    ]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "no such file"),
        (b"\x00" * 100, "no line of it is an event"),
        (b"hello\nworld\n", "no line of it"),
        (b'{"a":1}', "id or sig is missing"),
        (b"x" * 3_000_000, "longer than"),
    ],
)
def test_a_file_that_is_no_export_is_refused(
    ledger: Ledger, tmp_path: Path, content: bytes | None, says: str
) -> None:
    path = tmp_path / "odd.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StoreError, match=says):
        ledger.import_(path)


def test_a_folder_is_neither_imported_nor_overwritten(ledger: Ledger, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="it is a folder"):
        ledger.import_(tmp_path)
    with pytest.raises(StoreError, match="it is a folder"):
        ledger.export(tmp_path)
    with pytest.raises(StoreError, match="No such file"):
        ledger.export(tmp_path / "nowhere" / "x.jsonl")


def test_an_export_takes_the_place_of_no_device_and_lies_where_a_link_leads(
    ledger: Ledger, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StoreError, match="it is no file"):
        ledger.export(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    ledger.export(tmp_path / "link")
    assert (tmp_path / "target").is_file()
    assert (tmp_path / "link").is_symlink()


def test_a_copied_disk_is_named_and_frozen_on_every_peer(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "a") as ledger:
        notes(ledger, 2)
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    for name in ("a", "copy"):
        with Ledger.open(tmp_path / name) as ledger:
            ledger.append("note_added", "", {"text": name}, NOW + 9)
            ledger.export(tmp_path / f"{name}.jsonl")
    with Ledger.open(tmp_path / "third") as third:
        assert third.import_(tmp_path / "a.jsonl").admitted == 3
        report = third.import_(tmp_path / "copy.jsonl")
        (rejected,) = report.rejected
        assert rejected.text.endswith("signed two different events at seq 3")
        (finding,) = third.verify().findings
        assert (finding.author, finding.seq) == (ledger.author, 3)
        assert "a copied disk" in finding.text
    with Ledger.open(tmp_path / "a") as ledger:
        ledger.import_(tmp_path / "copy.jsonl")
        with pytest.raises(StoreError, match="two different histories"):
            ledger.append("note_added", "", {}, NOW + 10)


CHILD = """
import sys
from pathlib import Path
from mesh.edge.store.ledger import Ledger
ledger = Ledger.open(Path(sys.argv[1]))
for i in range(100_000):
    event = ledger.append("note_added", "", {"text": "x" * (i % 300)}, 1_790_000_000_000 + i)
    print(event.seq, event.id, flush=True)
"""


@pytest.mark.parametrize("attempt", range(4))
def test_every_acknowledged_event_survives_a_kill(tmp_path: Path, attempt: int) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    try:
        assert child.stdout is not None
        stop = random.Random(attempt).randrange(1, 1200)
        said = [next(child.stdout) for _ in range(stop)]
        os.kill(child.pid, signal.SIGKILL)
        said += [line for line in child.stdout if line.endswith("\n")]
    finally:
        child.kill()
        child.wait(timeout=30)
        if child.stdout:
            child.stdout.close()
    with Ledger.open(tmp_path) as ledger:
        kept = {event.seq: event.id for _, event in ledger.events()}
        for line in said:
            seq, name = line.split()
            assert kept[int(seq)] == name
        assert ledger.verify().findings == ()
        assert ledger.append("note_added", "", {}, int(time.time() * 1000)).seq == len(kept) + 1
