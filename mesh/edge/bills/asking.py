"""A bill for whoever asks: from kept sums where they hold it, else cut anew from the rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple, final
from zoneinfo import ZoneInfo

from mesh.api.bills.asked import BillAsked
from mesh.api.bills.report import Names, Placed, report
from mesh.api.bills.tables import Focus, focus
from mesh.edge.bills.cutting import begin_of, rows_between, spans
from mesh.edge.bills.desk import SqlDesk
from mesh.edge.bills.gathering import Billed, Found, Gatherer, Watch
from mesh.edge.bills.keeping import Keeper
from mesh.edge.bills.kept import kept_report, kept_rows, put_names
from mesh.edge.bills.progress import Making
from mesh.edge.bills.schema import OPEN, in_memory, is_outdated, open_bills
from mesh.edge.store.reader import Shelf
from mesh.state.bills.bill import bill
from mesh.state.bills.inputs import NOBODY, Span, Who
from mesh.state.bills.lines import Line
from mesh.state.state import State

Row = dict[str, object]


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
        self.making: Final = Making()

    def ask(self, asked: BillAsked) -> Row:
        """The report that is asked for, up to now."""
        with self._kept_up() as (db, state, now_ms):
            if self._is_kept(asked):
                rows = list(kept_rows(db, asked))
            else:
                rows = list(self._anew(db, state, asked, now_ms))
            return report(rows, asked, self._named(db, state), asked.by_ms(now_ms))

    def keep(self) -> Row:
        """Bring the sums up to date."""
        with self._kept_up():
            return {}

    def is_outdated(self) -> bool:
        """Whether another version kept them last: they have to be made anew."""
        return is_outdated(self._home)

    def kept(self, asked: BillAsked) -> Row | None:
        """As `ask`, of the sums as they were kept last; None where they do not hold it."""
        return kept_report(self._home, asked)

    @contextmanager
    def _kept_up(self) -> Iterator[tuple[sqlite3.Connection, State, int]]:
        """The database, brought up to now. One in memory where none can be written."""
        shelf, state = self._load()
        with closing(shelf), closing(self._open()) as db:
            now_ms = self._now_ms()
            try:
                self._advance(db, shelf, state, now_ms)
                put_names(db, self._named(db, state))
            except sqlite3.OperationalError:  # a full disk, or a writer that never ends
                with closing(in_memory()) as other:
                    self._advance(other, shelf, state, now_ms)
                    yield other, state, now_ms
                return
            yield db, state, now_ms

    def _advance(self, db: sqlite3.Connection, shelf: Shelf, state: State, now_ms: int) -> None:
        try:
            Keeper(db, self._zone).advance(shelf, state, now_ms, self._watch(), self.making)
        finally:
            self.making.end()

    def _open(self) -> sqlite3.Connection:
        try:
            return open_bills(self._home)
        except (sqlite3.Error, OSError):
            return in_memory()

    def focus(self, asked: BillAsked) -> Focus:
        """The lines of a time with the columns of FOCUS; they add up to what `ask` tells of it."""
        with self._kept_up() as (db, state, now_ms):
            whose: dict[str, Who] = {}
            providers: dict[str, str] = {}

            def lines() -> Iterator[Line]:
                for piece in self._cut(db, state, asked, now_ms):
                    one = piece.billed
                    providers[one.device] = one.machines[0].provider if one.machines else ""
                    for job, who in piece.found.whose.items():
                        if whose.get(job, NOBODY) == NOBODY:
                            whose[job] = who
                    yield from piece.lines

            fleet = state.members.root or "fleet"
            return focus(lines(), asked.zone, fleet, providers, whose)

    def _is_kept(self, asked: BillAsked) -> bool:
        """Whether whole days in the zone of the sums are asked for."""
        return asked.zone.key == self._zone.key and asked.as_of is None and asked.by != "job"

    def _named(self, db: sqlite3.Connection, state: State) -> Names:
        """Names, with those of machines that the state has let go."""
        names = self._names(state)
        return replace(names, rented=names.rented | SqlDesk(db).machines.names())

    def _gatherer(
        self, db: sqlite3.Connection, state: State, asked: BillAsked, now_ms: int
    ) -> Gatherer:
        """Inputs as they were known at the end of the day that is asked for, and up to then."""
        known = SqlDesk(db) if asked.as_of is None else SqlDesk(db, asked.by_ms(OPEN) - 1)
        return Gatherer(known, state, asked.by_ms(now_ms), self._watch())

    def _anew(
        self, db: sqlite3.Connection, state: State, asked: BillAsked, now_ms: int
    ) -> Iterator[Placed]:
        for piece in self._cut(db, state, asked, now_ms):
            begin, end = piece.span
            by_job = asked.by == "job"
            days = rows_between(piece.found, piece.lines, asked.zone, begin, end, by_job=by_job)
            for day, rows in days.items():
                yield from ((day, row) for row in rows)

    def _cut(
        self, db: sqlite3.Connection, state: State, asked: BillAsked, now_ms: int
    ) -> Iterator[_Piece]:
        """The lines that are asked about, of each device by and by: those of ten years at once
        would take some hundred MB."""
        gatherer = self._gatherer(db, state, asked, now_ms)
        start, end = asked.bounds(now_ms)
        for one in gatherer.devices():
            first = begin_of(gatherer, one, start, asked.zone)
            for begin, until, found in spans(gatherer, one, first, end, asked.zone):
                span = begin, min(until, end)
                made = bill(found.given, until, begin).lines
                yield _Piece(one, found, span, _between(made, *span, one.device))


class _Piece(NamedTuple):
    """Lines of a device between two instants, and what they were made from."""

    billed: Billed
    found: Found
    span: Span
    lines: Iterator[Line]


def _between(lines: list[Line], start: int, end: int, device: str) -> Iterator[Line]:
    return (one for one in lines if start <= one.at_ms < end and one.device == device)
