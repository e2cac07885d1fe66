"""What one transaction of the ledger writes. Memory here is a cache: `forget` drops it all."""

from __future__ import annotations

import sqlite3
from typing import Final

from mesh.edge.identity import Identity
from mesh.edge.store_errors import StoreError
from mesh.ledger import chain, codec, document, gate, hlc, ids, signing
from mesh.ledger.event import SCHEMA_VERSION, Event

# A held event waits for its predecessor. An honest peer is behind by one sync round; 256 of
# ours are 128 KiB, and 256 of the largest 16 MiB, so a flood costs little.
MAX_HELD_PER_AUTHOR: Final = 256
# Over all authors: at most 256 MiB on disk.
MAX_HELD: Final = 4096
# Other branches kept as evidence; one proves the fork, a few help a person find the copy.
MAX_FORKS_PER_AUTHOR: Final = 16
# Open segments kept live, about a megabyte each; others are loaded again when they grow.
MAX_LIVE_SEGMENTS: Final = 32


class Writer:
    """Appends and admits inside a transaction that its caller opened."""

    def __init__(self, db: sqlite3.Connection, who: Identity) -> None:
        self._db: Final = db
        self._who: Final = who
        self._heads: Final[dict[str, chain.Head]] = {}
        self._segments: Final[dict[str, tuple[int, document.Segment]]] = {}

    def forget(self) -> None:
        """The transaction failed: what we remember may not be on disk."""
        self._heads.clear()
        self._segments.clear()

    def append(
        self, event_type: str, device_id: str, payload: dict[str, object], now: int
    ) -> Event:
        """Sign and store our next event."""
        author = self._who.author
        self._refuse_forked(author)
        head = self._head(author)
        stamp = hlc.send(self._clock(head.stamp, now), now)
        try:
            body = codec.encode({
                "author": author, "device_id": device_id, "event_type": event_type,
                "hlc": hlc.render(stamp), "payload": payload, "prev": head.hash,
                "seq": head.seq + 1, "timestamp": hlc.timestamp(stamp.ms), "v": SCHEMA_VERSION,
            })
        except (codec.EncodeError, OverflowError) as error:
            raise StoreError(f"cannot record {event_type}: {error}") from error
        outcome = self.admit(signing.seal(self._who.seed, body), body)
        if isinstance(outcome, gate.Accept):
            return outcome.event
        reason = outcome.reason if isinstance(outcome, gate.Reject) else "the chain moved"
        raise StoreError(f"cannot record {event_type}: {reason}")

    def admit(self, sig: bytes, body: bytes) -> gate.Admission:
        """Judge an event and store what is to be stored of it; takes in those it frees."""
        outcome = gate.admit(sig, body, self._head, self._hash_at)
        match outcome:
            case gate.Accept(event=event):
                if event.author != self._who.author and self._forked(event.author):
                    return gate.Reject(reason=f"author {event.author[:16]} is frozen: it forked")
                self._store(outcome, sig, body)
                self._free(event.author, event.seq + 1)
            case gate.Hold():
                return self._hold(outcome, sig, body)
            case gate.Fork(event=event, hash=digest):
                self._keep_branch(event, digest, sig, body)
        return outcome

    def _store(self, new: gate.Accept, sig: bytes, body: bytes) -> None:
        event, stamp = new.event, hlc.parse(new.event.hlc)
        self._db.execute(
            "INSERT INTO events (id, author, seq, hlc_ms, hlc_counter, hash, body, sig)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (event.id, event.author, event.seq, stamp.ms, stamp.counter, new.hash, body, sig),
        )
        self._carry(event.author, event.seq, sig, body)
        self._heads[event.author] = chain.Head(seq=event.seq, hash=new.hash, stamp=stamp)

    def _carry(self, author: str, seq: int, sig: bytes, body: bytes) -> None:
        """Add the event to its segment; a full segment becomes one sealed blob."""
        number = document.segment_of(seq)
        segment = self._segment(author, number)
        change = segment.append(seq, sig, body)
        if seq % document.SEGMENT_EVENTS:
            self._db.execute("INSERT INTO increments VALUES (?, ?, ?)", (author, seq, change))
            return
        self._db.execute(
            "INSERT INTO segments VALUES (?, ?, ?)", (author, number, segment.save())
        )
        self._db.execute("DELETE FROM increments WHERE author = ?", (author,))
        del self._segments[author]

    def _segment(self, author: str, number: int) -> document.Segment:
        """The live segment of an author, from memory or from its increments."""
        found = self._segments.pop(author, None)
        if found is None or found[0] != number:
            rows = self._db.execute(
                "SELECT change FROM increments WHERE author = ? ORDER BY seq", (author,)
            ).fetchall()
            try:
                found = (number, document.Segment(author, b"".join(row[0] for row in rows)))
            except (document.DocumentError, TypeError) as error:
                text = f"segment {number} of author {author[:16]} is damaged: {error}"
                raise StoreError(text, "run: fleet verify") from error
        self._segments[author] = found
        if len(self._segments) > MAX_LIVE_SEGMENTS:
            del self._segments[next(iter(self._segments))]
        return found[1]

    def _hold(self, waiting: gate.Hold, sig: bytes, body: bytes) -> gate.Admission:
        author = waiting.event.author
        mine = self._count("SELECT COUNT(*) FROM held WHERE author = ?", author)
        if mine >= MAX_HELD_PER_AUTHOR or self._count("SELECT COUNT(*) FROM held") >= MAX_HELD:
            return gate.Reject(reason=f"{waiting.reason}; too many are waiting already")
        self._db.execute(
            "INSERT OR IGNORE INTO held VALUES (?, ?, ?, ?, ?)",
            (author, waiting.event.seq, waiting.hash, body, sig),
        )
        return waiting

    def _free(self, author: str, seq: int) -> None:
        """Admit the held events that a new head lets in, one after the other."""
        while rows := self._db.execute(
            "DELETE FROM held WHERE author = ? AND seq = ? RETURNING sig, body", (author, seq)
        ).fetchall():
            for sig, body in rows:
                outcome = gate.admit(sig, body, self._head, self._hash_at)
                if isinstance(outcome, gate.Accept):
                    self._store(outcome, sig, body)
                elif isinstance(outcome, gate.Fork):
                    self._keep_branch(outcome.event, outcome.hash, sig, body)
            seq += 1

    def _keep_branch(self, event: Event, digest: str, sig: bytes, body: bytes) -> None:
        """Evidence of a fork freezes its author, until a person resets one of the copies."""
        kept = self._count("SELECT COUNT(*) FROM forks WHERE author = ?", event.author)
        if kept < MAX_FORKS_PER_AUTHOR:
            self._db.execute(
                "INSERT OR IGNORE INTO forks VALUES (?, ?, ?, ?, ?)",
                (event.author, event.seq, digest, body, sig),
            )

    def _refuse_forked(self, author: str) -> None:
        if self._forked(author):
            raise StoreError(
                "this ledger's key signed two different histories: its folder was copied",
                "move identity.key away on one of the copies; it gets a new name",
            )

    def _forked(self, author: str) -> bool:
        return self._count("SELECT EXISTS (SELECT 1 FROM forks WHERE author = ?)", author) > 0

    def _head(self, author: str) -> chain.Head:
        head = self._heads.get(author)
        if head is None:
            row = self._db.execute(
                "SELECT body, sig FROM events WHERE author = ? ORDER BY seq DESC LIMIT 1",
                (author,),
            ).fetchone()
            head = chain.GENESIS if row is None else _read_head(author, *row)
            self._heads[author] = head
        return head

    def _hash_at(self, author: str, seq: int) -> str | None:
        row = self._db.execute(
            "SELECT body FROM events WHERE author = ? AND seq = ?", (author, seq)
        ).fetchone()
        return None if row is None else ids.event_hash(row[0])

    def _clock(self, own: hlc.Stamp, now: int) -> hlc.Stamp:
        """Our last stamp, or the latest one seen that is not too far ahead of `now`."""
        row = self._db.execute(
            "SELECT hlc_ms, hlc_counter FROM events WHERE hlc_ms <= ?"
            " ORDER BY hlc_ms DESC, hlc_counter DESC LIMIT 1", (now + hlc.MAX_DRIFT_MS,),
        ).fetchone()
        return own if row is None else hlc.receive(own, hlc.Stamp(row[0], row[1]), now)

    def _count(self, query: str, *values: str) -> int:
        return int(self._db.execute(query, values).fetchone()[0])


def _read_head(author: str, body: bytes, sig: bytes) -> chain.Head:
    """The head its signed bytes describe: a damaged one must not become a link of the chain."""
    event = gate.inspect(sig, body)
    if isinstance(event, Event) and event.author == author:
        return chain.Head(
            seq=event.seq, hash=ids.event_hash(body), stamp=hlc.parse(event.hlc)
        )
    raise StoreError(f"the last event of author {author[:16]} is damaged", "run: fleet verify")
