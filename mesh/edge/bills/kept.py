"""Bills from kept sums alone: it reads no event and makes no line, so it is quick."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import msgspec

from mesh.api.bills.asked import BillAsked
from mesh.api.bills.report import Names, Placed, report
from mesh.edge.bills.schema import read_bills
from mesh.edge.store.schema import DATABASE, read_only
from mesh.state.runs.sums import DayRow

Row = dict[str, object]
BRIEF: Final = ""  # sums of devices, owners and kinds alone
WHOSE: Final = ("user", "key", "model", "engine")  # what else sums of months are kept by
OF_DEVICES: Final = ("day", "month", "device", "owner", "kind")  # whose and what for is not asked
FIRST_DAY: Final = "0000"
LAST_DAY: Final = "9999"
RECENT_MS: Final = 60_000  # so old may sums be where nobody keeps them up


def recent_ms(home: Path, now_ms: int) -> int | None:
    """When the sums were kept last, where they count without a daemon: they are of the ledger's
    last event, at most RECENT_MS old, and of a time that no daemon watches still."""
    if not (home / DATABASE).is_file():
        return None
    with closing(read_only(home / DATABASE)) as ledger:
        row = ledger.execute("SELECT COALESCE(MAX(cursor), 0) FROM events").fetchone()
    db = read_bills(home)
    if db is None:
        return None
    with closing(db):
        try:
            meta = dict(db.execute("SELECT name, value FROM meta").fetchall())
        except sqlite3.Error:
            return None  # damaged: it is made anew
    same = meta.get("cursor", "0") == str(row[0]) and meta.get("watch", "") == watched("", 0)
    at_ms = int(meta.get("now", 0))
    return at_ms if same and 0 <= now_ms - at_ms <= RECENT_MS else None


def watched(author: str, from_ms: int) -> str:
    """How sums tell which daemon watched when they were kept, since when; "" and 0: none did."""
    return f"{author} {from_ms}"


def kept_report(home: Path, asked: BillAsked) -> Row | None:
    """The report from the sums alone, as they were kept last, which reads no event. None where they
    do not hold it: of days in another zone, or as known earlier."""
    db = read_bills(home) if asked.as_of is None and asked.by != "job" else None
    if db is None:
        return None
    try:
        return _report(db, asked)
    except (sqlite3.Error, msgspec.MsgspecError):
        return None  # damaged: it is made anew
    finally:
        db.close()


def _report(db: sqlite3.Connection, asked: BillAsked) -> Row | None:
    meta = dict(db.execute("SELECT name, value FROM meta").fetchall())
    if meta.get("zone") != asked.zone.key or "now" not in meta:
        return None
    names = msgspec.json.decode(meta["names"], type=Names)
    return report(list(kept_rows(db, asked)), asked, names, int(meta["now"]))


def put_names(db: sqlite3.Connection, names: Names) -> None:
    """Keep what people call the devices that have a bill, peers and keys, beside the sums."""
    devices = [str(one) for (one,) in db.execute("SELECT DISTINCT device FROM months")]
    hardware = {one: names.hardware.get(one, "") for one in devices}
    rented = names.rented.intersection(devices)
    told = msgspec.json.encode(
        Names(peers=names.peers, keys=names.keys, hardware=hardware, rented=rented)
    )
    db.execute("INSERT OR REPLACE INTO meta VALUES ('names', ?)", (told.decode(),))


def kept_rows(db: sqlite3.Connection, asked: BillAsked) -> Iterator[Placed]:
    """Rows of the days asked for; of whole months where days are not told apart."""
    column = "brief" if asked.by in OF_DEVICES else "rows"
    first, after = asked.first_day or FIRST_DAY, asked.day_after or LAST_DAY
    if asked.by != "day" and not (asked.first_day or asked.day_after):
        of = asked.by if asked.by in WHOSE else BRIEF
        query = "SELECT month, rows FROM months WHERE of = ? ORDER BY month, device"
        for month, blob in db.execute(query, (of,)):
            yield from ((str(month), row) for row in rows_of([blob]))
        return
    query = f"SELECT day, {column} FROM days WHERE day >= ? AND day < ? ORDER BY day, device"
    for day, blob in db.execute(query, (first, after)):
        yield from ((str(day), row) for row in rows_of([blob]))


def rows_of(blobs: Iterable[bytes]) -> Iterator[DayRow]:
    """Rows of days or months as they are kept."""
    for blob in blobs:
        yield from msgspec.msgpack.decode(blob, type=list[DayRow])
