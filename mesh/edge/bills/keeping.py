"""Bills brought up to date: new events in, and then lines cut anew where something changed.

One transaction a step, so that whoever reads sees whole days. A process that dies leaves what it
had kept, and the next goes on from there.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Final, final
from zoneinfo import ZoneInfo

import msgspec

from mesh.edge.bills.cutting import Cutter
from mesh.edge.bills.desk import CLEAN, FOREVER, SqlDesk
from mesh.edge.bills.gathering import Gatherer, Watch
from mesh.edge.bills.kept import watched
from mesh.edge.bills.progress import Making
from mesh.edge.bills.schema import NAMES
from mesh.edge.store.reader import Shelf
from mesh.ledger.event import SCHEMA_VERSION, Event, order_key
from mesh.state.bills.books import TYPES as BOOKS
from mesh.state.facts.fact import whole
from mesh.state.rentals.rentals import TYPES as RENTALS
from mesh.state.runs.reading import REMOVED, take
from mesh.state.state import State
from mesh.state.trust.roles import ADMIN

PAGE_EVENTS: Final = 2000  # a transaction of some 0.1 s
EVERY: Final = "*"  # every device's lines may have changed


@final
class Keeper:
    """The bills of one ledger, in one zone's days. Used by one thread at a time."""

    def __init__(self, db: sqlite3.Connection, zone: ZoneInfo) -> None:
        self._db: Final = db
        self._zone: Final = zone

    def advance(
        self,
        shelf: Shelf,
        state: State,
        now_ms: int,
        watch: Watch | None = None,
        making: Making | None = None,
    ) -> None:
        """Know everything up to the state's last event and up to now; `making` is told how far."""
        watch, making = watch or Watch(), making or Making()
        desk = SqlDesk(self._db)
        self._begin_anew(shelf)
        self._judge(desk, shelf, state)
        making.begin(state.cursor - self._cursor())
        while self._page(desk, shelf, state):
            making.events(self._cursor(), state.cursor)
        while self._machines(desk):
            pass
        with self._whole():
            self._watches(desk, state, watch)
            self._mark(desk)
        gatherer = Gatherer(desk, state, now_ms, watch)
        cutter = Cutter(self._db, self._zone, gatherer)
        billed = gatherer.devices()
        with self._whole():
            cutter.drop_gone(billed)
        for done, one in enumerate(billed):
            making.devices(done, len(billed))
            with self._whole():
                cutter.cut(one)
        with self._whole():
            self._set("now", str(now_ms))

    # Events in

    def _begin_anew(self, shelf: Shelf) -> None:
        """Forget everything where it is of another ledger, another zone, or of events that the
        ledger has no more."""
        with self._whole():
            cursor = self._cursor()
            known = self._get("zone") or self._zone.key, self._get("tip")
            if known != (self._zone.key, _tip(shelf, cursor)):
                for name in NAMES:
                    self._db.execute(f"DELETE FROM {name}")
            self._set("zone", self._zone.key)

    def _judge(self, desk: SqlDesk, shelf: Shelf, state: State) -> None:
        """Read the events again of authors whose word counts otherwise than before."""
        cursor = min(self._cursor(), state.cursor)
        query = "SELECT key, print FROM authors"
        for author, known in self._db.execute(query).fetchall():
            now = _verdict(state, str(author))
            if now == known:
                continue
            with self._whole():
                if known or now != "none":
                    desk.drop(str(author))
                    for event in shelf.of_author(str(author), cursor):
                        self._take(desk, state, event)
                desk.number(str(author))
                self._db.execute("UPDATE authors SET print = ? WHERE key = ?", (now, author))
                self._mark(desk)

    def _page(self, desk: SqlDesk, shelf: Shelf, state: State) -> bool:
        """Keep the next page of events; False where there was none."""
        with self._whole():
            cursor = self._cursor()
            limit = min(PAGE_EVENTS, state.cursor - cursor)
            page = list(islice(shelf.events(cursor, limit), limit)) if limit > 0 else []
            for at, event in page:
                cursor = at
                self._meet(desk, state, event)
                self._take(desk, state, event)
                desk.heard(event.author, order_key(event)[0])
            if page:
                self._set("cursor", str(cursor))
                self._set("tip", page[-1][1].hash)
                self._mark(desk)
            return bool(page)

    def _meet(self, desk: SqlDesk, state: State, event: Event) -> None:
        """A new author is judged when it is first heard of."""
        if event.author not in desk.met:
            desk.met.add(event.author)
            desk.number(event.author)
            verdict = _verdict(state, event.author)
            self._db.execute(
                "UPDATE authors SET print = ? WHERE key = ? AND print = ''",
                (verdict, event.author),
            )

    def _take(self, desk: SqlDesk, state: State, event: Event) -> None:
        if event.v != SCHEMA_VERSION or not state.members.counts(event):
            return
        admin = event.event_type == REMOVED and state.members.role_of(event) == ADMIN
        if take(desk, event, admin=admin):
            return
        if event.event_type in BOOKS:
            from_ms = whole(event.payload, "from_ms")
            desk.mark(event.device_id or EVERY, max(FOREVER, from_ms))
        elif event.event_type in RENTALS:
            desk.machines.take(event)

    def _machines(self, desk: SqlDesk) -> bool:
        """Fold rentals of which something new is known; False where there are none."""
        with self._whole():
            found = desk.machines.settle()
            self._mark(desk)
            return found

    def _watches(self, desk: SqlDesk, state: State, watch: Watch) -> None:
        """What was idle because a daemon watched that has not told so is looked at again once
        that daemon has another begin."""
        known = self._get("watch")
        told = watched(watch.author, watch.from_ms)
        if known != told:
            author, _, from_ms = known.partition(" ")
            for device, _ in desk.devices() if from_ms.isdigit() and author else ():
                if state.owner(device) == author:
                    desk.mark(device, int(from_ms))
            self._set("watch", told)

    def _mark(self, desk: SqlDesk) -> None:
        """Write down what is to be cut anew, so that a crash forgets none of it."""
        every = desk.dirty.pop(EVERY, CLEAN)
        if every < CLEAN:
            self._db.execute("UPDATE cut SET dirty = min(dirty, ?)", (every,))
        for device, from_ms in desk.dirty.items():
            self._db.execute(
                "INSERT INTO cut VALUES (?1, '', 0, ?2) "
                "ON CONFLICT (device) DO UPDATE SET dirty = min(dirty, ?2)",
                (device, from_ms),
            )
        desk.dirty.clear()

    # The file

    def _cursor(self) -> int:
        """The last event that is known."""
        return int(self._get("cursor") or 0)

    def _get(self, name: str) -> str:
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return "" if row is None else str(row[0])

    def _set(self, name: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    @contextmanager
    def _whole(self) -> Iterator[None]:
        try:
            self._db.execute("BEGIN IMMEDIATE")  # where it is interrupted, it may have begun
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:  # SQLite ends some that fail by itself
                self._db.execute("ROLLBACK")
            raise


def _verdict(state: State, author: str) -> str:
    """By which grants, and up to where, an author's word counts; another text, another verdict."""
    given = state.members.judge().grants.get(author, ())
    told = sorted((one.statement.hash, sorted(set(one.cuts))) for one in given)
    text = msgspec.json.encode([state.members.root, told])
    return hashlib.blake2b(text, digest_size=16).hexdigest() if told else "none"


def _tip(shelf: Shelf, cursor: int) -> str:
    """The hash of the event at a cursor; "" for none."""
    found = next(iter(shelf.events(cursor - 1, 1)), None) if cursor else None
    return "" if found is None or found[0] != cursor else found[1].hash
