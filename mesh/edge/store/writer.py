"""What one transaction of the ledger writes. Memory here is a cache: `forget` drops it all."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence, Set
from typing import Final

from mesh.edge.disk import StoreError
from mesh.edge.identity import Identity
from mesh.edge.store.documents import Documents
from mesh.edge.store.held import Held
from mesh.edge.store.rows import Row, Rows
from mesh.edge.store.siblings import MAX_SIBLINGS, Trails
from mesh.edge.store.tips import Tips
from mesh.ledger import chain, codec, document, gate, hlc, signing
from mesh.ledger.event import SCHEMA_VERSION, Event

__all__ = ["MAX_SIBLINGS", "Writer"]

Fact = tuple[str, str, dict[str, object]]  # event_type, device_id, payload


class Writer:
    """Appends and admits inside a transaction that its caller opened and ends with `flush`."""

    def __init__(self, db: sqlite3.Connection, rows: Rows) -> None:
        self._db: Final = db
        self._shelf: Final = rows
        self._heads: Final[dict[str, chain.Head]] = {}
        self._cursor = -1  # of the last event; -1 unknown
        self._rows: Final[list[tuple[object, ...]]] = []  # events not yet in their table
        self._held: Final = Held(db)
        self._offered: Sequence[tuple[bytes, bytes]] = ()
        self._trails: Final = Trails()
        self._lead: frozenset[str] | None = None  # what leads to a wanted one, asked for once
        self.documents: Final = Documents(db, rows)
        self.tips: Final = Tips(db, rows)
        self.fresh: Final[list[tuple[int, Event]]] = []  # stored by this transaction

    @property
    def wanted(self) -> frozenset[str]:
        """Hashes that statements of members name: taken however many siblings they have."""
        return self.tips.wanted

    @wanted.setter
    def wanted(self, hashes: Set[str]) -> None:
        self.tips.want(hashes)

    def forget(self) -> None:
        """The transaction failed: what we remember may not be on disk."""
        self._heads.clear()
        self._cursor = -1
        self._rows.clear()
        self._held.forget()
        self._shelf.forget()
        self.documents.forget()
        self.tips.forget()
        self.fresh.clear()

    def flush(self) -> list[tuple[int, Event]]:
        """Write what is still in memory; the new events of this transaction with their cursors."""
        self._insert()
        self.documents.flush(self.tips.forked)
        for author in {event.author for _, event in self.fresh}:
            self._held.passed(author, self.head(author).seq)
        fresh = self.fresh.copy()
        self.fresh.clear()
        return fresh

    def tidy(self) -> None:
        """What is to be put right at the start."""
        self._held.tidy()

    def append(self, who: Identity, fact: Fact, now: int) -> Event:
        """Sign and store the next event of a key's own chain."""
        event_type, device_id, payload = fact
        self._refuse_forked(who.author)
        head = self.head(who.author)
        stamp = hlc.send(self._clock(head.stamp, now), now)
        try:
            body = codec.encode(
                {
                    "author": who.author,
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
        outcome = self.admit(signing.seal(who.seed, body), body)
        if isinstance(outcome, gate.Accept):
            return outcome.event
        reason = outcome.reason if isinstance(outcome, gate.Reject) else "the chain moved"
        raise StoreError(f"cannot record {event_type}: {reason}")

    def admit_all(self, envelopes: Sequence[tuple[bytes, bytes]]) -> list[gate.Admission]:
        """Judge events that are offered together, and store what is to be stored of them."""
        self._offered, self._lead = envelopes, None
        return [self.admit(sig, body) for sig, body in envelopes]

    def admit(self, sig: bytes, body: bytes) -> gate.Admission:
        """Judge an event and store what is to be stored of it; takes in those it frees."""
        outcome = self._judge(sig, body)
        if isinstance(outcome, gate.Hold):
            if self._too_many(outcome.event, outcome.hash):  # what it waits for is not taken
                return _no_room(outcome.event)
            self._held.put(outcome, sig, body)
        if isinstance(outcome, gate.Accept | gate.Fork):
            self._free(outcome.event.author, outcome.event.seq + 1)
        return outcome

    def _judge(self, sig: bytes, body: bytes) -> gate.Admission:
        """The gate's verdict, carried out unless it is to wait."""
        outcome = gate.admit(sig, body, self.head, self.kept_at)
        match outcome:
            case gate.Accept(event=event, hash=digest) | gate.Fork(event=event, hash=digest):
                if self._too_many(event, digest):
                    return _no_room(event)
                if isinstance(outcome, gate.Fork):
                    self._keep_branch(outcome, sig, body)
                else:
                    self._store(outcome, sig, body)
                    self.documents.carry(event.author, event.seq, self._cursor, sig, body)
        return outcome

    def _too_many(self, event: Event, digest: str) -> bool:
        """Whether there is no room for an event: only what leads to a wanted one always has."""
        broken = self.tips.shattered.get(event.author)
        if broken is None or event.seq < broken:
            return False
        if self._lead is None:
            self._trails.offer(self._offered)
            self._lead = self._trails.leading(self.wanted)
        return digest not in self.wanted and digest not in self._lead

    def _store(self, new: gate.Accept | gate.Fork, sig: bytes, body: bytes) -> None:
        event, stamp = new.event, hlc.parse(new.event.hlc)
        self._cursor = self._last_cursor() + 1
        number = self._shelf.number(event.author) or self._enter(event.author)
        digest = bytes.fromhex(new.hash)
        self._rows.append((self._cursor, number, event.seq, stamp.ms, stamp.counter, digest))
        self.fresh.append((self._cursor, event))
        if isinstance(new, gate.Accept):
            self._heads[event.author] = chain.Head(seq=event.seq, hash=new.hash, stamp=stamp)
        self.tips.moved(event.author, event.seq, new.hash)
        if event.author in self.tips.forked:
            self._count_siblings(event)

    def _keep_branch(self, new: gate.Fork, sig: bytes, body: bytes) -> None:
        """An event of another branch is an event like any other, but in no segment."""
        event = new.event
        number = self._shelf.number(event.author) or self._enter(event.author)
        self._db.execute(
            "INSERT INTO forks VALUES (?, ?, ?)", (number, event.seq, bytes.fromhex(new.hash))
        )
        self.tips.forks(event.author, event.seq)
        self._store(new, sig, body)
        self.documents.keep(self._cursor, sig, body)

    def _count_siblings(self, event: Event) -> None:
        if len(self.kept_at(event.author, event.seq)) >= MAX_SIBLINGS:
            self.tips.shatter(event.author, event.seq)

    def _enter(self, author: str) -> int:
        self._db.execute("INSERT INTO authors (key) VALUES (?)", (bytes.fromhex(author),))
        return self._shelf.number(author)

    def _last_cursor(self) -> int:
        if self._cursor < 0:
            query = "SELECT COALESCE(MAX(cursor), 0) FROM events"
            self._cursor = int(self._db.execute(query).fetchone()[0])
        return self._cursor

    def _insert(self) -> None:
        self._db.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", self._rows)
        self._rows.clear()

    def _free(self, author: str, seq: int) -> None:
        """Admit the held events that a new event lets in, one seq after the other."""
        stored = self._held.waits(author)
        while stored:
            stored = False
            for sig, body in self._held.take(author, seq):
                outcome = self._judge(sig, body)
                stored |= isinstance(outcome, gate.Accept | gate.Fork)
                if isinstance(outcome, gate.Hold):
                    self._held.put(outcome, sig, body)
            seq += 1

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
            self._heads[author] = head = self._read_head(author)
        return head

    def _read_head(self, author: str) -> chain.Head:
        """The head its signed bytes describe: a damaged one must not become a link of the chain."""
        row = self._db.execute(
            "SELECT cursor, author, seq, hlc_ms, hlc_counter, hash,"
            " (SELECT sig FROM open_bodies o WHERE o.cursor = e.cursor),"
            " (SELECT body FROM open_bodies o WHERE o.cursor = e.cursor)"
            " FROM events e WHERE author = ? AND NOT EXISTS (SELECT 1 FROM forks"
            " WHERE author = e.author AND seq = e.seq AND hash = e.hash) ORDER BY seq DESC LIMIT 1",
            (self._shelf.number(author),),
        ).fetchone()
        if row is None:
            return chain.GENESIS
        try:
            ((sig, body),) = self._shelf.whole([Row._make(row)])
        except StoreError:
            sig, body = b"", b""
        event = gate.inspect(sig, body)
        if isinstance(event, Event) and event.author == author:
            return chain.Head(seq=event.seq, hash=event.hash, stamp=hlc.parse(event.hlc))
        raise StoreError(f"the last event of author {author[:16]} is damaged", "run: fleet verify")

    def open_segment(self, author: str) -> tuple[int, document.Segment] | None:
        """The document of an author's main line that is not yet full."""
        seq = self.head(author).seq
        if seq % document.SEGMENT_EVENTS == 0:
            return None
        number = document.segment_of(seq)
        return number, self.documents.segment(author, number)

    def kept_at(self, author: str, seq: int) -> Mapping[str, hlc.Stamp]:
        """Every hash kept at a seq, with its stamp."""
        self._insert()
        rows = self._db.execute(
            "SELECT hash, hlc_ms, hlc_counter FROM events WHERE author = ? AND seq = ?",
            (self._shelf.number(author), seq),
        )
        return {digest.hex(): hlc.Stamp(ms, counter) for digest, ms, counter in rows}

    def _clock(self, own: hlc.Stamp, now: int) -> hlc.Stamp:
        """Our last stamp, or the latest one seen that is not too far ahead of `now`."""
        self._insert()
        row = self._db.execute(
            "SELECT hlc_ms, hlc_counter FROM events WHERE hlc_ms <= ?"
            " ORDER BY hlc_ms DESC, hlc_counter DESC LIMIT 1",
            (now + hlc.MAX_DRIFT_MS,),
        ).fetchone()
        return own if row is None else hlc.receive(own, hlc.Stamp(row[0], row[1]), now)


def _no_room(event: Event) -> gate.Reject:
    reason = f"author {event.author[:16]} signed too many events at one seq"
    return gate.Reject(reason=reason, full=True)
