"""The ledger on disk: one writer, every event durable before anyone hears of it."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mesh.edge.disk import LedgerBusy, StoreError, explained
from mesh.edge.store import lock, schema
from mesh.edge.store.care.look import look
from mesh.edge.store.reader import Reader, Shelf
from mesh.edge.store.reports import Finding, ImportReport, Rejected, VerifyReport
from mesh.ledger.event import Event
from mesh.sync.archive import Envelope, Intake, Page
from mesh.sync.manifest import Admits, Tip

if TYPE_CHECKING:
    from mesh.edge.identity import Identity
    from mesh.edge.store.care.progress import Steps
    from mesh.edge.store.writer import Fact, Writer
    from mesh.ledger.chain import Head
    from mesh.ledger.document import Segment
    from mesh.ledger.gate import Admission

__all__ = [
    "Finding",
    "ImportReport",
    "Ledger",
    "LedgerBusy",
    "Reader",
    "Rejected",
    "StoreError",
    "VerifyReport",
]

LOCK: Final = "ledger.lock"
# Events handed over at once, a batch more at most: what is folded in 50 ms.
COMMITTED_PAGE: Final = 1000
# Commits whose events stay in memory: a batch is a megabyte or two, and who follows the ledger is
# behind by a batch of each neighbour at most.
MAX_RECENT_COMMITS: Final = 24


class Ledger(Shelf):
    """The one writer of a ledger. May be called from several threads, one at a time."""

    def __init__(self, home: Path, db: sqlite3.Connection, who: Identity, lock_fd: int) -> None:
        from mesh.edge.store.writer import Writer

        super().__init__(home, db)
        self.author: Final = who.author
        self.peer_id: Final = who.peer_id
        self._who: Final = who
        self._lock_fd = lock_fd
        self._writer: Final[Writer] = Writer(db, self._rows)
        self._recent: Final = Recent(self.last_cursor())

    @classmethod
    def open(cls, home: Path) -> Ledger:
        """Make or open the ledger in `home`; LedgerBusy while another process writes it."""
        return cls.open_claimed(home, claim(home))

    @classmethod
    def open_claimed(cls, home: Path, fd: int, steps: Steps | None = None) -> Ledger:
        """Make or open it under the lock that `claim` gave, which ends with the ledger.

        `steps` is told how far the lift of an older format is.
        """
        from mesh.edge import identity

        try:
            with explained(f"cannot open the ledger in {home}"):
                who = identity.load_or_create(home)
                db = _database(home, steps)
                try:
                    ledger = cls(home, db, who, fd)
                    with ledger._commit("cannot write the ledger") as (writer, _):
                        writer.tidy()
                    return ledger
                except BaseException:
                    db.close()
                    raise
        except BaseException:
            os.close(fd)
            raise

    def append(
        self, event_type: str, device_id: str, payload: dict[str, object], now: int
    ) -> Event:
        """Sign, chain and commit one event; StoreError leaves the ledger as it was."""
        return self.append_many([(event_type, device_id, payload)], now)[0]

    def append_many(self, facts: Sequence[Fact], now: int) -> list[Event]:
        """Append (event_type, device_id, payload) facts in one commit: all of them or none."""
        with self._commit("cannot append to the ledger") as (writer, _):
            return [writer.append(self._who, fact, now) for fact in facts]

    def sign_as(self, who: Identity, facts: Sequence[Fact], now: int = 0) -> list[Event]:
        """As `append_many`, on the chain of another key; by this machine's clock without `now`."""
        now = now or time.time_ns() // 1_000_000
        with self._commit("cannot append to the ledger") as (writer, _):
            return [writer.append(who, fact, now) for fact in facts]

    def admit_many(self, envelopes: Iterable[tuple[bytes, bytes]]) -> list[Admission]:
        """Put (sig, body) pairs of other peers through the gate, in one commit."""
        with self._commit("cannot add to the ledger") as (writer, _):
            return writer.admit_all(list(envelopes))

    def take_in(self, envelopes: Sequence[Envelope]) -> Intake:
        """As `admit_many`, with every event that is new now, also those that had waited."""
        with self._commit("cannot add to the ledger") as (writer, fresh):
            outcomes = tuple(writer.admit_all(envelopes))
        return Intake(outcomes=outcomes, events=tuple(fresh))

    def tips(self) -> Mapping[str, Tip]:
        """Where each author's events end."""
        with self._mutex, explained("cannot read the ledger"):
            return dict(self._writer.tips.all())

    def tip(self, author: str) -> Tip | None:
        """Where one author's events end; None for no events."""
        with self._mutex:
            if self._writer.tips.ready:  # asked for at every turn of every session
                return self._writer.tips.all().get(author)
        return self.tips().get(author)

    def tip_until(self, author: str, last: int) -> Tip | None:
        """An author's tip as if nothing past `last` were here; None for no events."""
        with self._mutex, explained("cannot read the ledger"):
            return self._writer.tips.until(author, last)

    def forked(self) -> Mapping[str, int]:
        """Authors who signed two histories, and the lowest seq where they did."""
        with self._mutex, explained("cannot read the ledger"):
            return dict(self._writer.tips.forked)

    def hashes_at(self, author: str, seq: int) -> frozenset[str]:
        """The hashes kept at a seq of an author: one, or more where branches run."""
        with self._mutex, explained("cannot read the ledger"):
            return frozenset(self._writer.kept_at(author, seq))

    def page(self, author: str, after: int, max_events: int, max_bytes: int) -> Page:
        """The next events of an author past a seq; all those of the last seq it reaches."""
        with self._mutex, explained("cannot read the ledger"):
            return self._rows.page(author, after, max_events, max_bytes)

    def segment(self, author: str) -> tuple[int, Segment] | None:
        """The number and document of an author's open segment; None while it is empty."""
        with self._mutex, explained("cannot read the ledger"):
            return self._writer.open_segment(author)

    def head(self, author: str) -> Head:
        """The last event of an author's main line; `chain.GENESIS` for none."""
        with self._mutex, explained("cannot read the ledger"):
            return self._writer.head(author)

    def want(self, hashes: Set[str]) -> None:
        """The events that members' statements name: always taken, with what leads to them."""
        with self._mutex:
            self._writer.wanted = hashes

    def committed(self, after: int) -> list[tuple[int, Event]]:
        """(cursor, event) in the order of their commits past a cursor: the next page, [] for none.

        What was just committed comes from memory, without waiting for a commit under way.
        """
        found = self._recent.after(after)
        return list(self.events(after, COMMITTED_PAGE)) if found is None else found

    def reader(self) -> Reader:
        """The same ledger on a connection of its own, for a thread that reads it for long."""
        return Reader.open(self.home)

    def import_(self, path: Path, admits: Admits | None = None) -> ImportReport:
        """Take in an export; any order, as often as you like. `admits` says whose events."""
        from mesh.edge.store.transfer import import_

        return import_(self.admit_many, path, admits=admits)

    def verify(self, *, every: bool = False) -> VerifyReport:
        """Re-check every committed byte, while appending goes on."""
        with closing(Reader.open(self.home)) as reader:
            return reader.verify(every=every)

    def export(self, path: Path) -> int:
        """Write every committed event in total order, while appending goes on."""
        with closing(Reader.open(self.home)) as reader:
            return reader.export(path)

    def put_checkpoint(self, cursor: int, state: bytes) -> None:
        """Keep a snapshot of the state folded up to `cursor`, in place of the last one."""
        with self._commit("cannot write a checkpoint"):
            self._db.execute("INSERT OR REPLACE INTO checkpoints VALUES (1, ?, ?)", (cursor, state))

    def archive_to(self, folder: Path) -> int:
        """Move full segments into files of a folder, for good; how many. It must be there."""
        from mesh.edge.store.sealed.archive import move

        def commit(do: Callable[[], None]) -> None:
            with self._commit("cannot write the ledger"):
                do()

        return move(self._db, folder, commit)

    def close(self) -> None:
        """Close the database and let go of the lock. Closing twice does nothing."""
        with self._mutex:
            if self._lock_fd >= 0:
                super().close()
                os.close(self._lock_fd)
                self._lock_fd = -1

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _commit(self, what: str) -> Iterator[tuple[Writer, list[Event]]]:
        """One transaction; on any failure nothing of it stays, on disk or in memory.

        The list holds its new events once they are durable.
        """
        fresh: list[Event] = []
        with self._mutex, explained(what):
            try:
                self._db.execute("BEGIN IMMEDIATE")
                yield self._writer, fresh
                stored = self._writer.flush()
                self._db.execute("COMMIT")
                self._recent.add(stored)
                fresh += (event for _, event in stored)
            except BaseException:
                self._writer.forget()
                _roll_back(self._db)
                raise


class Recent:
    """The events committed last, so that following the ledger need not read it back from disk."""

    def __init__(self, last: int) -> None:
        self._lock: Final = threading.Lock()  # its own: a commit holds the ledger's for long
        self._last = last
        self._commits: Final[deque[list[tuple[int, Event]]]] = deque()

    def add(self, events: list[tuple[int, Event]]) -> None:
        """Note a commit's events with their cursors."""
        if not events:
            return
        with self._lock:
            if events[0][0] != self._last + 1:
                self._commits.clear()  # cursors with a gap: only what is contiguous is served
            self._last = events[-1][0]
            self._commits.append(events)
            if len(self._commits) > MAX_RECENT_COMMITS:
                self._commits.popleft()

    def after(self, cursor: int) -> list[tuple[int, Event]] | None:
        """The events of the next commits past a cursor; None where memory can't tell."""
        with self._lock:
            if cursor == self._last:
                return []
            if not self._commits or not self._commits[0][0][0] - 1 <= cursor <= self._last:
                return None
            found: list[tuple[int, Event]] = []
            for commit in self._commits:
                if commit[-1][0] > cursor and len(found) < COMMITTED_PAGE:
                    found += commit[max(0, cursor + 1 - commit[0][0]) :]
            return found


def claim(home: Path) -> int:
    """Be the one who writes the ledger in `home`; LedgerBusy where another process is."""
    with explained(f"cannot open the ledger in {home}"):
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        return lock.lock(home / LOCK)


def _database(home: Path, steps: Steps | None) -> sqlite3.Connection:
    path = home / schema.DATABASE
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # SQLite gives its other files this mode
    path.chmod(0o600)
    db = schema.connect(path, "rw")
    try:
        if 0 < schema.format_of(db) < schema.FORMAT:
            from mesh.edge.store.care.lift import lift
            from mesh.edge.store.care.progress import Progress

            db.close()
            lift(path, steps or Progress)
            db = schema.connect(path, "rw")
        schema.prepare(db)
        look(db, path)
    except BaseException:
        db.close()
        raise
    return db


def _roll_back(db: sqlite3.Connection) -> None:
    """SQLite may have rolled back by itself already, on a full disk for one."""
    try:
        if db.in_transaction:
            db.execute("ROLLBACK")
    except sqlite3.Error:
        return
