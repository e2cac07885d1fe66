"""Bills brought up to date: new events in, lines cut anew where something changed, sums kept.

One transaction a step, so that whoever reads sees whole days. A process that dies leaves what it
had kept, and the next goes on from there.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Final, final
from zoneinfo import ZoneInfo

import msgspec

from mathcore.units import DAY_MS
from mesh.edge.bills.desk import CLEAN, FOREVER, SqlDesk
from mesh.edge.bills.gathering import Billed, Found, Gatherer, Watch
from mesh.edge.bills.schema import NAMES
from mesh.edge.store.reader import Shelf
from mesh.ledger.event import SCHEMA_VERSION, Event, order_key
from mesh.state.bills.bill import bill
from mesh.state.bills.books import TYPES as BOOKS
from mesh.state.bills.calendar import bounds_ms, day_of
from mesh.state.bills.lines import Line
from mesh.state.facts.fact import whole
from mesh.state.rentals.rentals import TYPES as RENTALS
from mesh.state.runs.reading import take
from mesh.state.runs.rows import UsedRow
from mesh.state.runs.sums import DayRow, Days, day_rows, joined
from mesh.state.state import State

PAGE_EVENTS: Final = 2000  # a transaction of some 0.1 s
# Days that are cut at once: so many lines of a device fit into some 20 MB.
SPAN_MS: Final = 31 * DAY_MS
EVERY: Final = "*"  # every device's lines may have changed
_ENCODE: Final = msgspec.msgpack.Encoder().encode


@final
class Keeper:
    """The bills of one ledger, in one zone's days. Used by one thread at a time."""

    def __init__(self, db: sqlite3.Connection, zone: ZoneInfo) -> None:
        self._db: Final = db
        self._zone: Final = zone

    def advance(self, shelf: Shelf, state: State, now_ms: int, watch: Watch | None = None) -> None:
        """Know everything up to the state's last event and up to now."""
        watch = watch or Watch()
        desk = SqlDesk(self._db)
        self._begin_anew(shelf, state)
        self._judge(desk, shelf, state)
        while self._page(desk, shelf, state):
            pass
        with self._whole():
            self._watches(desk, state, watch)
            self._mark(desk)
        self._cut_all(desk, state, now_ms, watch)
        with self._whole():
            self._set("now", str(now_ms))

    # Events in

    def _begin_anew(self, shelf: Shelf, state: State) -> None:
        """Forget everything where it is of another ledger, another zone, or of events that the
        ledger has no more."""
        with self._whole():
            cursor = int(self._get("cursor") or 0)
            known = self._get("zone"), self._get("root"), self._get("tip")
            now = self._zone.key, state.members.root, _tip(shelf, cursor)
            if known[0] == "" and cursor == 0:
                self._set("zone", now[0])
            elif known[0] != now[0] or known[2] != now[2]:
                self._forget()
                self._set("zone", now[0])
            self._set("root", now[1])

    def _forget(self) -> None:
        for name in NAMES:
            self._db.execute(f"DELETE FROM {name}")

    def _judge(self, desk: SqlDesk, shelf: Shelf, state: State) -> None:
        """Read the events again of authors whose word counts otherwise than before."""
        cursor = min(int(self._get("cursor") or 0), state.cursor)
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

    def _page(self, desk: SqlDesk, shelf: Shelf, state: State) -> bool:
        """Keep the next page of events; False where there was none."""
        with self._whole():
            cursor = int(self._get("cursor") or 0)
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
        if take(desk, event):
            return
        if event.event_type in BOOKS:
            from_ms = whole(event.payload, "from_ms")
            desk.mark(event.device_id or EVERY, max(FOREVER, from_ms))
        elif event.event_type in RENTALS:
            desk.rentals_changed = True

    def _watches(self, desk: SqlDesk, state: State, watch: Watch) -> None:
        """What was idle because a daemon watched that has not told so is looked at again once
        that daemon has another begin."""
        known = self._get("watch")
        told = f"{watch.author} {watch.from_ms}"
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

    # Lines out

    def _cut_all(self, desk: SqlDesk, state: State, now_ms: int, watch: Watch) -> None:
        gatherer = Gatherer(desk, state, now_ms, watch)
        billed = gatherer.devices()
        with self._whole():
            self._drop_gone({one.device for one in billed})
        for one in billed:
            with self._whole():
                self._cut(desk, gatherer, one, now_ms)

    def _drop_gone(self, kept: set[str]) -> None:
        """Devices that are none any more have no bill: their owner's word counts no longer."""
        for (device,) in self._db.execute("SELECT DISTINCT device FROM days").fetchall():
            if str(device) not in kept:
                for table in ("days", "months", "cut"):
                    self._db.execute(f"DELETE FROM {table} WHERE device = ?", (device,))

    def _cut(self, desk: SqlDesk, gatherer: Gatherer, one: Billed, now_ms: int) -> None:
        """A device's rows anew from where they may have changed."""
        since_ms = self._since(desk, gatherer, one, now_ms)
        if since_ms is None:
            return
        first = day_of(since_ms, self._zone)
        start = bounds_ms(first, self._zone)[0]
        days: Days = {}
        for begin, end, found in _spans(gatherer, one, start, now_ms):
            lines = bill(found.given, end, begin).lines
            mine = (line for line in lines if line.device == one.device)
            days |= rows_between(found, mine, self._zone, begin, end)
        self._put(one.device, first, days)
        self._db.execute(
            "INSERT OR REPLACE INTO cut VALUES (?, ?, ?, ?)",
            (one.device, one.owner, now_ms, CLEAN),
        )

    def _since(self, desk: SqlDesk, gatherer: Gatherer, one: Billed, now_ms: int) -> int | None:
        """From when on its lines are to be cut; None where nothing changed."""
        rows = [
            self._db.execute("SELECT owner, done, dirty FROM cut WHERE device = ?", (each,))
            .fetchone() for each in {one.device, *one.parts}
        ]  # fmt: skip
        known = [row for row in rows if row is not None]
        own = next((row for row in known if row[0]), None)
        dirty = min((int(row[2]) for row in known), default=FOREVER)
        if one.machines and (
            desk.rentals_changed
            or dirty < CLEAN
            or any(machine.is_open for machine in one.machines)
        ):
            dirty = FOREVER
        if own is None or own[0] != one.owner:
            dirty = FOREVER
        done = int(own[1]) if own is not None else 0
        since = min(dirty, done) if not one.machines or dirty < CLEAN else CLEAN
        if since >= now_ms and dirty == CLEAN:
            return None
        for part in set(one.parts) - {one.device}:
            self._db.execute("UPDATE cut SET dirty = ? WHERE device = ?", (CLEAN, part))
        return max(since, gatherer.first_ms(one)) if since == FOREVER else since

    def _used(
        self, found: Found, begin: int, end: int
    ) -> dict[tuple[str, str], dict[str, UsedRow]]:
        used: dict[tuple[str, str], dict[str, UsedRow]] = {}
        for at_ms, job, key, row in found.used:
            if begin <= at_ms < end:
                keys = used.setdefault((day_of(at_ms, self._zone), job), {})
                known = keys.get(key)
                keys[key] = row if known is None else known.plus(row)
        return used

    def _put(self, device: str, first: str, days: Days) -> None:
        """Put a device's days in the place of those it had from `first` on."""
        months = {day[:7] for day in days} | {first[:7]}
        query = "SELECT DISTINCT substr(day, 1, 7) FROM days WHERE device = ? AND day >= ?"
        months |= {str(month) for (month,) in self._db.execute(query, (device, first))}
        self._db.execute("DELETE FROM days WHERE device = ? AND day >= ?", (device, first))
        self._db.executemany(
            "INSERT OR REPLACE INTO days VALUES (?, ?, ?)",
            [(day, device, _ENCODE(rows)) for day, rows in days.items()],
        )
        for month in months:
            self._sum_up(device, month)

    def _sum_up(self, device: str, month: str) -> None:
        query = "SELECT rows FROM days WHERE device = ? AND day BETWEEN ? AND ?"
        blobs = self._db.execute(query, (device, f"{month}-01", f"{month}-31"))
        rows = joined(rows_of(blob for (blob,) in blobs), lambda group: group)
        self._db.execute(
            "INSERT OR REPLACE INTO months VALUES (?, ?, ?)", (month, device, _ENCODE(rows))
        )

    # The file

    def _get(self, name: str) -> str:
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return "" if row is None else str(row[0])

    def _set(self, name: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    @contextmanager
    def _whole(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")


def rows_between(
    found: Found,
    lines: Iterable[Line],
    zone: ZoneInfo,
    begin: int,
    end: int,
    *,
    by_job: bool = False,
) -> Days:
    """Lines between two instants as rows by local day."""
    used: dict[tuple[str, str], dict[str, UsedRow]] = {}
    for at_ms, job, key, row in found.used:
        if begin <= at_ms < end:
            keys = used.setdefault((day_of(at_ms, zone), job), {})
            known = keys.get(key)
            keys[key] = row if known is None else known.plus(row)
    ran = [run for run in found.ran if begin < run.spans[-1][1] <= end]
    return day_rows(lines, zone, found.whose, ran, used, by_job=by_job)


def rows_of(blobs: Iterable[bytes]) -> Iterator[DayRow]:
    """Rows of days or months as they are kept."""
    for blob in blobs:
        yield from msgspec.msgpack.decode(blob, type=list[DayRow])


def _spans(
    gatherer: Gatherer, one: Billed, start: int, now_ms: int
) -> Iterator[tuple[int, int, Found]]:
    """The time from `start` in pieces, with what each is made from; in one where a charge or a
    rental may reach over an edge."""
    found = gatherer.inputs(one, start)
    if found.given.charges or found.given.rentals or now_ms - start <= SPAN_MS:
        yield start, now_ms, found
        return
    for begin in range(start, now_ms, SPAN_MS):
        yield begin, min(now_ms, begin + SPAN_MS), gatherer.inputs(one, begin)


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
