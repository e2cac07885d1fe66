"""A bill for whoever asks: from kept sums where they hold it, else cut anew from the rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, final
from zoneinfo import ZoneInfo

from mesh.api.bills.asked import BillAsked
from mesh.api.bills.report import Names, Placed, report
from mesh.api.bills.tables import Focus, focus
from mesh.edge.bills.cutting import MOST_MS, rows_between, rows_of
from mesh.edge.bills.desk import SqlDesk
from mesh.edge.bills.gathering import Gatherer, Watch
from mesh.edge.bills.keeping import Keeper
from mesh.edge.bills.schema import in_memory, open_bills, read_bills
from mesh.edge.store.reader import Shelf
from mesh.state.bills.bill import bill
from mesh.state.bills.books import AsKnown
from mesh.state.bills.calendar import bounds_ms, day_of
from mesh.state.bills.inputs import Who
from mesh.state.bills.lines import Line
from mesh.state.state import State

Row = dict[str, object]
FIRST_DAY, LAST_DAY = "0000", "9999"


@final
class Bills:
    """The bills of one home. `load` gives the ledger and its state, for as long as it is asked."""

    def __init__(
        self,
        home: Path,
        zone: ZoneInfo,
        load: Callable[[], tuple[Shelf, State]],
        now_ms: Callable[[], int],
        names: Callable[[State], Names],
        watch: Callable[[], Watch] = Watch,
    ) -> None:
        self._home: Final = home
        self._zone: Final = zone
        self._load: Final = load
        self._now_ms: Final = now_ms
        self._names: Final = names
        self._watch: Final = watch
        self._last_names = Names()

    def ask(self, asked: BillAsked) -> Row:
        """The report that is asked for, up to now."""
        with self._kept_up() as (db, state, now_ms):
            if self._is_kept(asked):
                rows = list(_kept(db, asked))
            else:
                rows = list(self._anew(db, state, asked, now_ms))
            self._last_names = self._names(state)
            return report(rows, asked, self._last_names, now_ms)

    def keep(self) -> Row:
        """Bring the sums up to date."""
        with self._kept_up():
            return {}

    def kept(self, asked: BillAsked) -> Row | None:
        """As `ask`, of the sums as they were kept last; None where they do not hold it."""
        db = read_bills(self._home)
        if db is None or not self._is_kept(asked):
            return None
        with closing(db):
            meta = dict(db.execute("SELECT name, value FROM meta").fetchall())
            if meta.get("zone") != self._zone.key:
                return None
            return report(list(_kept(db, asked)), asked, self._last_names, int(meta["now"]))

    @contextmanager
    def _kept_up(self) -> Iterator[tuple[sqlite3.Connection, State, int]]:
        """The database, brought up to now. One in memory where none can be written."""
        shelf, state = self._load()
        with closing(shelf), closing(self._open()) as db:
            now_ms = self._now_ms()
            try:
                Keeper(db, self._zone).advance(shelf, state, now_ms, self._watch())
            except sqlite3.OperationalError:  # a full disk, or a writer that never ends
                with closing(in_memory()) as other:
                    Keeper(other, self._zone).advance(shelf, state, now_ms, self._watch())
                    yield other, state, now_ms
                return
            yield db, state, now_ms

    def _open(self) -> sqlite3.Connection:
        try:
            return open_bills(self._home)
        except (sqlite3.Error, OSError):
            return in_memory()

    def focus(self, asked: BillAsked) -> Focus:
        """The lines of a time with the columns of FOCUS."""
        with self._kept_up() as (db, state, now_ms):
            lines: list[Line] = []
            whose: dict[str, Who] = {}
            providers: dict[str, str] = {}
            gatherer = Gatherer(SqlDesk(db), state, now_ms, self._watch(), _known(asked))
            start, end = asked.bounds(now_ms)
            for one in gatherer.devices():
                found = gatherer.inputs(one, start)
                lines += _between(bill(found.given, end, start).lines, start, end, one.device)
                whose |= found.whose
                providers[one.device] = one.machines[0].provider if one.machines else ""
            fleet = state.members.root or "fleet"
            return focus(lines, asked.zone, fleet, providers, whose)

    def _is_kept(self, asked: BillAsked) -> bool:
        """Whether whole days in the zone of the sums are asked for."""
        return asked.zone.key == self._zone.key and asked.as_of is None and asked.by != "job"

    def _anew(
        self, db: sqlite3.Connection, state: State, asked: BillAsked, now_ms: int
    ) -> Iterator[Placed]:
        gatherer = Gatherer(SqlDesk(db), state, now_ms, self._watch(), _known(asked))
        start, end = asked.bounds(now_ms)
        for one in gatherer.devices():
            begin = max(start or gatherer.first_ms(one), now_ms - MOST_MS)
            begin = bounds_ms(day_of(begin, asked.zone), asked.zone)[0]
            found = gatherer.inputs(one, begin)
            lines = _between(bill(found.given, end, begin).lines, start, end, one.device)
            days = rows_between(
                found, lines, asked.zone, max(start, begin), end, by_job=asked.by == "job"
            )
            for day, rows in days.items():
                yield from ((day, row) for row in rows)


def _kept(db: sqlite3.Connection, asked: BillAsked) -> Iterator[Placed]:
    """Rows of the days asked for; of whole months where days are not told apart."""
    first, after = asked.first_day or FIRST_DAY, asked.day_after or LAST_DAY
    if asked.by != "day" and not (asked.first_day or asked.day_after):
        for month, blob in db.execute("SELECT month, rows FROM months ORDER BY month, device"):
            yield from ((str(month), row) for row in rows_of([blob]))
        return
    query = "SELECT day, rows FROM days WHERE day >= ? AND day < ? ORDER BY day, device"
    for day, blob in db.execute(query, (first, after)):
        yield from ((str(day), row) for row in rows_of([blob]))


def _known(asked: BillAsked) -> AsKnown:
    if asked.as_of is None:
        return AsKnown()
    return AsKnown(by_ms=bounds_ms(asked.as_of, asked.zone)[1] - 1)


def _between(lines: list[Line], start: int, end: int, device: str) -> Iterator[Line]:
    return (one for one in lines if start <= one.at_ms < end and one.device == device)
