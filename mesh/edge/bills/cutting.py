"""Lines of devices cut anew from where they may have changed, kept as sums of days and months."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, final
from zoneinfo import ZoneInfo

import msgspec

from mathcore.units import DAY_MS
from mesh.edge.bills.desk import CLEAN, FOREVER
from mesh.edge.bills.gathering import Billed, Found, Gatherer
from mesh.edge.bills.kept import BRIEF, WHOSE, rows_of
from mesh.state.bills.bill import bill
from mesh.state.bills.calendar import bounds_ms, day_of
from mesh.state.bills.lines import Line
from mesh.state.runs.rows import UsedRow
from mesh.state.runs.sums import DayRow, Days, Group, day_rows, joined

# Days that are cut at once: so many lines of a device fit into some 20 MB.
SPAN_MS: Final = 31 * DAY_MS
# No bill goes back further: whoever says what a device cost in 2001 would have every peer cut lines
# for a quarter of a century, some minutes of a processor.
MOST_MS: Final = 10 * 366 * DAY_MS
FIRST: Final = ""  # before every day
_ENCODE: Final = msgspec.msgpack.Encoder().encode


@final
class Cutter:
    """Cuts what one gatherer finds; within a transaction of the caller's."""

    def __init__(self, db: sqlite3.Connection, zone: ZoneInfo, gatherer: Gatherer) -> None:
        self._db: Final = db
        self._zone: Final = zone
        self._gatherer: Final = gatherer

    def drop_gone(self, there: Sequence[Billed]) -> None:
        """Devices that are none any more have no bill: their owner's word counts no longer."""
        kept = {one.device for one in there}
        for (device,) in self._db.execute("SELECT DISTINCT device FROM days").fetchall():
            if str(device) not in kept:
                for table in ("days", "months", "cut"):
                    self._db.execute(f"DELETE FROM {table} WHERE device = ?", (device,))

    def cut(self, one: Billed) -> None:
        """A device's rows anew from where they may have changed."""
        since_ms = self._since(one)
        if since_ms is None:
            return
        begin_ms = begin_of(self._gatherer, one, since_ms, self._zone)
        first = day_of(begin_ms, self._zone)
        days: Days = {}
        for begin, end, found in spans(
            self._gatherer, one, begin_ms, self._gatherer.now_ms, self._zone
        ):
            lines = bill(found.given, end, begin).lines
            mine = (line for line in lines if line.device == one.device)
            days |= rows_between(found, mine, self._zone, begin, end)
        self._put(one.device, first if since_ms else FIRST, days)
        for part in set(one.parts) - {one.device}:
            self._db.execute("UPDATE cut SET dirty = ? WHERE device = ?", (CLEAN, part))
        self._db.execute(
            "INSERT OR REPLACE INTO cut VALUES (?, ?, ?, ?)",
            (one.device, one.owner, self._gatherer.certain_ms(one), CLEAN),
        )

    def _since(self, one: Billed) -> int | None:
        """From when on its lines are to be cut, FOREVER for all of them; None: nothing changed."""
        query = "SELECT owner, done, dirty FROM cut WHERE device = ?"
        rows = [self._db.execute(query, (each,)).fetchone() for each in {one.device, *one.parts}]
        known = [row for row in rows if row is not None]
        own = next((row for row in known if row[0] == one.owner), None)
        if own is None:
            return FOREVER
        dirty, done = min(int(row[2]) for row in known), int(own[1])
        if one.machines:  # what had ended by then costs nothing more
            goes_on = self._gatherer.goes_on(one, done)
            return FOREVER if goes_on or dirty < CLEAN else None
        return self._gatherer.charged_since(one, min(dirty, done))

    def _put(self, device: str, first: str, days: Days) -> None:
        """Put a device's days in the place of those it had from `first` on."""
        query = "SELECT DISTINCT substr(day, 1, 7) FROM days WHERE device = ? AND day >= ?"
        months = {str(month) for (month,) in self._db.execute(query, (device, first))}
        self._db.execute("DELETE FROM days WHERE device = ? AND day >= ?", (device, first))
        self._db.executemany(
            "INSERT OR REPLACE INTO days VALUES (?, ?, ?, ?)",
            [(day, device, _ENCODE(rows), _ENCODE(_of(rows, BRIEF))) for day, rows in days.items()],
        )
        for month in months | {day[:7] for day in days}:
            self._sum_up(device, month)

    def _sum_up(self, device: str, month: str) -> None:
        query = "SELECT rows FROM days WHERE device = ? AND day BETWEEN ? AND ?"
        blobs = self._db.execute(query, (device, f"{month}-01", f"{month}-31"))
        rows = joined(rows_of(blob for (blob,) in blobs), lambda group: group)
        self._db.execute("DELETE FROM months WHERE device = ? AND month = ?", (device, month))
        if rows:
            values = [(month, device, of, _ENCODE(_of(rows, of))) for of in (BRIEF, *WHOSE)]
            self._db.executemany("INSERT INTO months VALUES (?, ?, ?, ?)", values)


def begin_of(gatherer: Gatherer, one: Billed, since_ms: int, zone: ZoneInfo) -> int:
    """The begin of the local day from which a device's bill is cut, for what is asked from an
    instant on; FOREVER for all of it."""
    begin_ms = max(since_ms or gatherer.first_ms(one), gatherer.now_ms - MOST_MS)
    return bounds_ms(day_of(begin_ms, zone), zone)[0]


def spans(
    gatherer: Gatherer, one: Billed, start: int, until_ms: int, zone: ZoneInfo
) -> Iterator[tuple[int, int, Found]]:
    """The time between two begins of local days, or up to now, in pieces of whole local days, with
    what each is made from. In one lies all of a charge, also what of it is after `until_ms`, and
    all that a cloud rents out."""
    now_ms, begin = gatherer.now_ms, start
    if one.machines and start < until_ms:
        yield start, now_ms, gatherer.inputs(one, start)
        return
    while begin < until_ms:
        end = min(_day_after(begin + SPAN_MS, zone), until_ms)
        while (later := gatherer.charged_until(one, end)) > end:
            end = _day_after(later, zone)
        yield begin, min(end, now_ms), gatherer.inputs(one, begin)
        begin = end


def _day_after(at_ms: int, zone: ZoneInfo) -> int:
    """The first instant after the local day of another."""
    return bounds_ms(day_of(at_ms, zone), zone)[1]


def _of(rows: list[DayRow], of: str) -> list[DayRow]:
    """The same by one of WHOSE, or without any: each question reads no more than it asks."""

    def key(one: Group) -> Group:
        kept = {of: getattr(one, of)} if of else {}
        return Group(device=one.device, owner=one.owner, kind=one.kind, **kept)

    return joined(rows, key)


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
    return day_rows(lines, zone, found.whose, ran, used, found.serving, by_job=by_job)
