"""Rows of what ran, in SQLite: what `mesh.state.runs.reading` keeps, and where bills start from."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Final, final

import msgspec

from mesh.edge.bills.machines import Machines
from mesh.edge.bills.schema import OF_AUTHOR, OPEN
from mesh.state.bills.calendar import quarter
from mesh.state.runs.making import PaidKnown, RunKnown, as_known
from mesh.state.runs.reading import Moment
from mesh.state.runs.rows import (
    JobRow,
    PaidRow,
    RunKey,
    RunRow,
    SeenKey,
    SentRow,
    UsedKey,
    UsedRow,
)

FOREVER: Final = 0  # dirty from the first row on
CLEAN: Final = OPEN
_ENCODE: Final = msgspec.msgpack.Encoder().encode


@final
class SqlDesk:
    """Rows of all authors, within a transaction of the caller's; nothing here commits.

    `by_ms`: what bills start from is as it was known then, at the end of a quarter-hour.
    """

    def __init__(self, db: sqlite3.Connection, by_ms: int = OPEN) -> None:
        self._db: Final = db
        self.by_ms: Final = by_ms
        self._numbers: dict[str, int] = {}
        self.dirty: dict[str, int] = {}  # device -> from when on its lines may have changed
        self.met: set[str] = set()  # authors whose events were met in this run
        self.machines: Final = Machines(db, self.number, self._mark_whole, by_ms)

    # Authors

    def number(self, author: str) -> int:
        """How rows name an author."""
        known = self._numbers.get(author)
        if known is None:
            self._db.execute("INSERT OR IGNORE INTO authors VALUES (NULL, ?, '')", (author,))
            row = self._db.execute("SELECT id FROM authors WHERE key = ?", (author,)).fetchone()
            known = self._numbers[author] = int(row[0])
        return known

    def heard(self, author: str, at_ms: int) -> None:
        """An author said something."""
        self._db.execute(
            "INSERT INTO heard VALUES (?1, ?2, ?3) "
            "ON CONFLICT (author, at) DO UPDATE SET last = max(last, ?3)",
            (self.number(author), quarter(at_ms), at_ms),
        )

    def drop(self, author: str) -> None:
        """Forget what an author said."""
        number = self.number(author)
        self.machines.drop(author)
        for table in ("runs", "paid", "away", "seen", "used"):
            for (device,) in self._db.execute(
                f"SELECT DISTINCT device FROM {table} WHERE author = ?", (number,)
            ).fetchall():
                self.mark(str(device), FOREVER)
        for table in OF_AUTHOR:
            self._db.execute(f"DELETE FROM {table} WHERE author = ?", (number,))

    def mark(self, device: str, from_ms: int) -> None:
        """What a device cost may have changed from then on."""
        self.dirty[device] = min(from_ms, self.dirty.get(device, CLEAN))

    def _mark_whole(self, device: str) -> None:
        self.mark(device, FOREVER)

    # What `reading` keeps

    def run(self, key: RunKey) -> RunRow | None:
        """What is known of an attempt."""
        row = self._db.execute(
            "SELECT row FROM runs WHERE device = ? AND author = ? AND job = ? AND attempt = ?",
            (key.device, self.number(key.author), key.job, key.attempt),
        ).fetchone()
        return None if row is None else msgspec.msgpack.decode(row[0], type=RunRow)

    def put_run(self, key: RunKey, row: RunRow) -> None:
        """Keep that of it; what its device costs changes from its begin on."""
        self._db.execute(
            "INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?)",
            (
                key.device,
                self.number(key.author),
                key.job,
                key.attempt,
                row.ended_ms or OPEN,
                _ENCODE(row),
            ),
        )
        begin = min(row.started_ms, (row.ended_ms or row.started_ms) - row.duration_ms)
        for device in (key.device, *self._members(key)):
            self.mark(device, max(FOREVER, begin))

    def _members(self, key: RunKey) -> list[str]:
        query = "SELECT device FROM gangs WHERE job = ? AND attempt = ?"
        return [str(one) for (one,) in self._db.execute(query, (key.job, key.attempt))]

    def put_job(self, author: str, job: str, at_ms: int, row: JobRow) -> None:
        """Keep what a job is; of one author the first word counts."""
        number = self.number(author)
        self._db.execute(
            "INSERT OR IGNORE INTO jobs VALUES (?, ?, ?, ?)", (job, number, at_ms, _ENCODE(row))
        )
        self._mark_runs(job)

    def put_sent(self, author: str, job: str, attempt: int, at_ms: int, row: SentRow) -> None:
        """Keep how an attempt was sent; of one author the first word counts."""
        told = job, attempt, self.number(author), at_ms
        self._db.execute("INSERT OR IGNORE INTO sent VALUES (?, ?, ?, ?, ?)", (*told, _ENCODE(row)))
        for device in row.members:
            self._db.execute("INSERT OR IGNORE INTO gangs VALUES (?, ?, ?, ?, ?)", (device, *told))
        self._mark_runs(job, row.members)

    def _mark_runs(self, job: str, more: tuple[str, ...] = ()) -> None:
        """It is told late what a run was: its lines are as they were, whose they are may change."""
        query = "SELECT device, row FROM runs WHERE job = ?"
        for device, blob in self._db.execute(query, (job,)).fetchall():
            begun = msgspec.msgpack.decode(blob, type=RunRow).started_ms
            for one in (str(device), *more):
                self.mark(one, begun)

    def put_paid(self, author: str, device: str, at: Moment, row: PaidRow) -> None:
        """Keep what a device costs from then on."""
        number, blob, from_ms = self.number(author), _ENCODE(row), at[0]
        last = self._db.execute(
            "SELECT row FROM paid WHERE device = ? AND author = ? AND at <= ? "
            "ORDER BY at DESC LIMIT 1",
            (device, number, from_ms),
        ).fetchone()
        # The same once more opens a device again that an admin took away meanwhile, as it may turn
        # out: what says nothing new is left out when a bill is made.
        self._db.execute(
            "INSERT OR REPLACE INTO paid VALUES (?, ?, ?, ?, ?)", (device, number, *at, blob)
        )
        # Of what was owned and is rented now its rents count alone, from the first day on.
        is_new = last is None or last[0] != blob
        self.mark(device, FOREVER if row.hourly_nusd and is_new else from_ms)

    def put_away(self, author: str, device: str, at: Moment) -> None:
        """An admin took a device away, whoever's it is."""
        self._db.execute(
            "INSERT OR REPLACE INTO away VALUES (?, ?, ?, ?)", (device, self.number(author), *at)
        )
        self.mark(device, at[0])

    def put_seen(self, key: SeenKey, to_ms: int, energy_mj: int | None) -> None:
        """Somebody watched a device all the while, and what it drew."""
        at = (key.device, self.number(key.author), key.from_ms, key.told_ms)
        self._db.execute(
            "INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?, ?, ?)", (*at, to_ms, energy_mj)
        )
        self.mark(key.device, key.from_ms)

    def add_used(self, key: UsedKey, row: UsedRow) -> None:
        """Add what requests used."""
        author = self.number(key.author)
        at = (key.device, author, key.at_ms, key.job, key.key, key.model, key.told_ms)
        known = self._db.execute(
            "SELECT row FROM used WHERE device = ? AND author = ? AND at = ? AND job = ? "
            "AND key = ? AND model = ? AND told = ?",
            at,
        ).fetchone()
        if known is not None:
            row = msgspec.msgpack.decode(known[0], type=UsedRow).plus(row)
        self._db.execute("INSERT OR REPLACE INTO used VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                         (*at, _ENCODE(row)))  # fmt: skip
        self.mark(key.device, key.at_ms)

    # What bills start from

    def devices(self) -> list[tuple[str, str]]:
        """(device, author) of every device that is registered, or on which something ran."""
        query = """SELECT device, key FROM (
            SELECT DISTINCT device, author FROM paid UNION SELECT DISTINCT device, author FROM runs
            ) JOIN authors ON author = id ORDER BY device, key"""
        return [(str(device), str(key)) for device, key in self._db.execute(query)]

    def claims(self) -> Iterator[tuple[str, str]]:
        """(device, author) of everybody who registered a device."""
        query = """SELECT device, key, row FROM paid JOIN authors ON author = id WHERE at <= ?
            ORDER BY device, key"""
        for device, key, blob in self._db.execute(query, (self.by_ms,)).fetchall():
            if not msgspec.msgpack.decode(blob, type=PaidRow).gone:
                yield str(device), str(key)

    def last_ms(self, author: str) -> int:
        """When an author last said something; 0: never."""
        query = "SELECT last FROM heard WHERE author = ? AND at <= ? ORDER BY at DESC LIMIT 1"
        row = self._db.execute(query, (self.number(author), self.by_ms)).fetchone()
        return 0 if row is None else int(row[0])

    def goes_on(self, device: str, owner: str, at_ms: int) -> bool:
        """Whether something runs on a device after an instant, as its owner says."""
        query = """SELECT 1 FROM runs WHERE device = ?1 AND ended > ?2 AND author = ?3 UNION ALL
            SELECT 1 FROM gangs g JOIN runs r ON r.job = g.job AND r.attempt = g.attempt
            WHERE g.device = ?1 AND r.ended > ?2 AND r.author = ?3 LIMIT 1"""
        return self._db.execute(query, (device, at_ms, self.number(owner))).fetchone() is not None

    def runs_of(self, device: str, owner: str, since_ms: int, until_ms: int) -> Iterator[RunKnown]:
        """Runs on a device that had not ended by `since_ms`, as its owner says; those that go on
        ran until `until_ms`. Also runs that had it beside another device."""
        number = self.number(owner)
        own = """SELECT job, attempt, row FROM runs INDEXED BY runs_ended
            WHERE device = ? AND ended > ? AND author = ?"""
        yield from self._known(device, until_ms, own, (device, since_ms, number))
        beside = """SELECT r.job, r.attempt, r.row FROM gangs g
            JOIN runs r ON r.job = g.job AND r.attempt = g.attempt
            WHERE g.device = ? AND r.device != g.device AND r.ended > ? AND r.author = ?
            AND g.at <= ? GROUP BY r.job, r.attempt"""
        yield from self._known(device, until_ms, beside, (device, since_ms, number, self.by_ms))

    def _known(
        self, device: str, until_ms: int, query: str, values: tuple[object, ...]
    ) -> Iterator[RunKnown]:
        for job, attempt, blob in self._db.execute(query, values).fetchall():
            yield RunKnown(
                job=str(job),
                device=device,
                row=as_known(msgspec.msgpack.decode(blob, type=RunRow), self.by_ms),
                asked=self._job(str(job)),
                sent=self._sent(str(job), int(attempt)),
                until_ms=until_ms,
            )

    def _job(self, job: str) -> JobRow:
        """What a job is, as the first says who submitted it."""
        query = """SELECT j.row FROM jobs j JOIN authors a ON j.author = a.id
            WHERE j.job = ? AND j.at <= ? ORDER BY j.at, a.key LIMIT 1"""
        row = self._db.execute(query, (job, self.by_ms)).fetchone()
        return JobRow() if row is None else msgspec.msgpack.decode(row[0], type=JobRow)

    def _sent(self, job: str, attempt: int) -> SentRow:
        query = """SELECT s.row FROM sent s JOIN authors a ON s.author = a.id
            WHERE s.job = ? AND s.attempt = ? AND s.at <= ? ORDER BY a.key LIMIT 1"""
        row = self._db.execute(query, (job, attempt, self.by_ms)).fetchone()
        return SentRow() if row is None else msgspec.msgpack.decode(row[0], type=SentRow)

    def paid_of(self, device: str, owner: str) -> list[PaidKnown]:
        """What its owner registered of a device's cost, in the order of time; gone where it or an
        admin took it away. Of one instant the last word counts; what changes nothing is left out.
        """
        gone = _ENCODE(PaidRow(gone=True))
        query = """SELECT at, turn, ?5, row FROM paid
                WHERE device = ?1 AND author = ?2 AND at <= ?3
            UNION SELECT at, turn, key, ?4 FROM away JOIN authors ON author = id
                WHERE device = ?1 AND at <= ?3 ORDER BY 1, 2, 3"""
        values = device, self.number(owner), self.by_ms, gone, owner
        words = {int(at): blob for at, _, _, blob in self._db.execute(query, values)}
        found: list[PaidKnown] = []
        last = None
        for at, blob in words.items():
            if blob != last:
                row = msgspec.msgpack.decode(blob, type=PaidRow)
                found.append(PaidKnown(device=device, owner=owner, from_ms=at, row=row))
            last = blob
        return found

    def seen_of(
        self, device: str, owner: str, since_ms: int
    ) -> Iterator[tuple[int, int, int | None]]:
        """(from, to, millijoules) of a device's watches that were not over by then."""
        query = """SELECT at, until, energy FROM (
            SELECT at, until, energy, MAX(told) FROM seen
            WHERE device = ? AND author = ? AND told <= ? GROUP BY at) WHERE until > ?"""
        yield from self._db.execute(query, (device, self.number(owner), self.by_ms, since_ms))

    def used_of(
        self, device: str, owner: str, since_ms: int
    ) -> Iterator[tuple[int, str, str, UsedRow]]:
        """(quarter-hour, job, key, what it used) since then, as the device's owner says."""
        query = """SELECT at, job, key, row FROM used
            WHERE device = ? AND author = ? AND at >= ? AND told <= ?"""
        values = device, self.number(owner), since_ms, self.by_ms
        for at, job, key, blob in self._db.execute(query, values):
            yield int(at), str(job), str(key), msgspec.msgpack.decode(blob, type=UsedRow)

    def serving(self, device: str, owner: str) -> list[str]:
        """The jobs there that requests asked."""
        query = "SELECT DISTINCT job FROM used WHERE device = ? AND author = ? AND told <= ?"
        values = device, self.number(owner), self.by_ms
        return [str(job) for (job,) in self._db.execute(query, values)]
