"""What one transaction of the ledger writes. Memory here is a cache: `forget` drops it all."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Final

from mesh.edge.disk import StoreError
from mesh.edge.identity import Identity
from mesh.edge.store.documents import Documents
from mesh.edge.store.tips import Tips
from mesh.ledger import chain, codec, gate, hlc, ids, signing
from mesh.ledger.event import SCHEMA_VERSION, Event

# A held event waits for its predecessor. An honest peer is behind by one sync round; 256 of
# ours are 128 KiB, and 256 of the largest 16 MiB, so a flood costs little.
MAX_HELD_PER_AUTHOR: Final = 256
# Over all authors: at most 256 MiB on disk.
MAX_HELD: Final = 4096
# Events kept at one seq. A disk copied twice makes three; more are an attack on everyone's disk.
MAX_SIBLINGS: Final = 16


class Writer:
    """Appends and admits inside a transaction that its caller opened and ends with `flush`."""

    def __init__(self, db: sqlite3.Connection, who: Identity) -> None:
        self._db: Final = db
        self._who: Final = who
        self._heads: Final[dict[str, chain.Head]] = {}
        self._rows: Final[list[tuple[object, ...]]] = []  # events not yet in their table
        self._held: set[str] | None = None  # authors with events that wait
        self.documents: Final = Documents(db)
        self.tips: Final = Tips(db)
        self.fresh: Final[list[Event]] = []  # stored by this transaction

    def forget(self) -> None:
        """The transaction failed: what we remember may not be on disk."""
        self._heads.clear()
        self._rows.clear()
        self._held = None
        self.documents.forget()
        self.tips.forget()
        self.fresh.clear()

    def flush(self) -> list[Event]:
        """Write what is still in memory; the new events of this transaction."""
        self._insert()
        self.documents.flush(self.tips.forked)
        fresh = self.fresh.copy()
        self.fresh.clear()
        return fresh

    def append(
        self, event_type: str, device_id: str, payload: dict[str, object], now: int
    ) -> Event:
        """Sign and store our next event."""
        author = self._who.author
        self._refuse_forked(author)
        head = self.head(author)
        stamp = hlc.send(self._clock(head.stamp, now), now)
        try:
            body = codec.encode(
                {
                    "author": author,
                    "device_id": device_id,
                    "event_type": event_type,
                    "hlc": hlc.render(stamp),
                    "payload": payload,
                    "prev": head.hash,
                    "seq": head.seq + 1,
                    "timestamp": hlc.timestamp(stamp.ms),
                    "v": SCHEMA_VERSION,
                }
            )
        except (codec.EncodeError, OverflowError) as error:
            raise StoreError(f"cannot record {event_type}: {error}") from error
        outcome = self.admit(signing.seal(self._who.seed, body), body)
        if isinstance(outcome, gate.Accept):
            return outcome.event
        reason = outcome.reason if isinstance(outcome, gate.Reject) else "the chain moved"
        raise StoreError(f"cannot record {event_type}: {reason}")

    def admit(self, sig: bytes, body: bytes) -> gate.Admission:
        """Judge an event and store what is to be stored of it; takes in those it frees."""
        outcome = self._judge(sig, body)
        if isinstance(outcome, gate.Hold):
            return self._hold(outcome, sig, body)
        if isinstance(outcome, gate.Accept | gate.Fork):
            self._free(outcome.event.author, outcome.event.seq + 1)
        return outcome

    def _judge(self, sig: bytes, body: bytes) -> gate.Admission:
        """The gate's verdict, carried out unless it is to wait."""
        outcome = gate.admit(sig, body, self.head, self.kept_at)
        match outcome:
            case gate.Accept(event=event):
                self._store(outcome, sig, body)
                self.documents.carry(event.author, event.seq, sig, body)
            case gate.Fork(event=event):
                if len(self.kept_at(event.author, event.seq)) >= MAX_SIBLINGS:
                    return gate.Reject(reason=f"{outcome.reason}; too many of them", full=True)
                self._keep_branch(outcome, sig, body)
        return outcome

    def _store(self, new: gate.Accept | gate.Fork, sig: bytes, body: bytes) -> None:
        event, stamp = new.event, hlc.parse(new.event.hlc)
        self._rows.append(
            (event.id, event.author, event.seq, stamp.ms, stamp.counter, new.hash, body, sig)
        )
        self.fresh.append(event)
        if isinstance(new, gate.Accept):
            self._heads[event.author] = chain.Head(seq=event.seq, hash=new.hash, stamp=stamp)
        self.tips.moved(event.author, event.seq, new.hash)

    def _keep_branch(self, new: gate.Fork, sig: bytes, body: bytes) -> None:
        """An event of another branch is an event like any other, with its copy as evidence."""
        event = new.event
        self._db.execute(
            "INSERT INTO forks VALUES (?, ?, ?, ?, ?)",
            (event.author, event.seq, new.hash, body, sig),
        )
        self.tips.forks(event.author, event.seq)
        self._store(new, sig, body)

    def _insert(self) -> None:
        self._db.executemany(
            "INSERT INTO events (id, author, seq, hlc_ms, hlc_counter, hash, body, sig)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            self._rows,
        )
        self._rows.clear()

    def _hold(self, waiting: gate.Hold, sig: bytes, body: bytes) -> gate.Admission:
        author = waiting.event.author
        mine = self._count("SELECT COUNT(*) FROM held WHERE author = ?", author)
        if mine >= MAX_HELD_PER_AUTHOR or self._count("SELECT COUNT(*) FROM held") >= MAX_HELD:
            reason = f"{waiting.reason}; too many are waiting already"
            return gate.Reject(reason=reason, full=True)
        self._wait(waiting, sig, body)
        return waiting

    def _wait(self, waiting: gate.Hold, sig: bytes, body: bytes) -> None:
        event = waiting.event
        self._db.execute(
            "INSERT OR IGNORE INTO held VALUES (?, ?, ?, ?, ?)",
            (event.author, event.seq, waiting.hash, body, sig),
        )
        self._waiting().add(event.author)

    def _free(self, author: str, seq: int) -> None:
        """Admit the held events that a new event lets in, one seq after the other."""
        stored = author in self._waiting()
        while stored:
            stored = False
            for sig, body in self._db.execute(
                "DELETE FROM held WHERE author = ? AND seq = ? RETURNING sig, body", (author, seq)
            ).fetchall():
                outcome = self._judge(sig, body)
                stored |= isinstance(outcome, gate.Accept | gate.Fork)
                if isinstance(outcome, gate.Hold):
                    self._wait(outcome, sig, body)
            seq += 1

    def _waiting(self) -> set[str]:
        if self._held is None:
            rows = self._db.execute("SELECT DISTINCT author FROM held").fetchall()
            self._held = {author for (author,) in rows}
        return self._held

    def _refuse_forked(self, author: str) -> None:
        if author in self.tips.forked:
            raise StoreError(
                "this ledger's key signed two different histories: its folder was copied",
                "move identity.key away on one of the copies; it gets a new name",
            )

    def head(self, author: str) -> chain.Head:
        """The last event of an author's main line: the branch that came here first."""
        head = self._heads.get(author)
        if head is None:
            row = self._db.execute(
                "SELECT body, sig FROM events WHERE author = ? AND NOT EXISTS (SELECT 1 FROM forks"
                " WHERE author = events.author AND seq = events.seq AND hash = events.hash)"
                " ORDER BY seq DESC LIMIT 1",
                (author,),
            ).fetchone()
            head = chain.GENESIS if row is None else _read_head(author, *row)
            self._heads[author] = head
        return head

    def kept_at(self, author: str, seq: int) -> Mapping[str, hlc.Stamp]:
        """Every hash kept at a seq, with its stamp."""
        self._insert()
        rows = self._db.execute(
            "SELECT body, hlc_ms, hlc_counter FROM events WHERE author = ? AND seq = ?",
            (author, seq),
        )
        return {ids.event_hash(body): hlc.Stamp(ms, counter) for body, ms, counter in rows}

    def _clock(self, own: hlc.Stamp, now: int) -> hlc.Stamp:
        """Our last stamp, or the latest one seen that is not too far ahead of `now`."""
        self._insert()
        row = self._db.execute(
            "SELECT hlc_ms, hlc_counter FROM events WHERE hlc_ms <= ?"
            " ORDER BY hlc_ms DESC, hlc_counter DESC LIMIT 1",
            (now + hlc.MAX_DRIFT_MS,),
        ).fetchone()
        return own if row is None else hlc.receive(own, hlc.Stamp(row[0], row[1]), now)

    def _count(self, query: str, *values: str) -> int:
        return int(self._db.execute(query, values).fetchone()[0])


def _read_head(author: str, body: bytes, sig: bytes) -> chain.Head:
    """The head its signed bytes describe: a damaged one must not become a link of the chain."""
    event = gate.inspect(sig, body)
    if isinstance(event, Event) and event.author == author:
        return chain.Head(seq=event.seq, hash=ids.event_hash(body), stamp=hlc.parse(event.hlc))
    raise StoreError(f"the last event of author {author[:16]} is damaged", "run: fleet verify")
