"""Peers that know who belongs, for tests of what strangers can do between them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mesh.edge.store.ledger import Ledger
from mesh.ledger import codec, hlc, ids, signing
from mesh.ledger.event import NO_PREV
from mesh.sync.archive import Envelope
from mesh.sync.holdings import Holdings
from mesh.sync.manifest import digest
from tests.sync.sessions import NOW, End, talk


class Signer:
    """A key and its chain, outside any ledger."""

    def __init__(self, number: int) -> None:
        self.seed = number.to_bytes(32, "big")
        self.author = signing.author_of(self.seed)
        self.seq, self.prev = 0, NO_PREV

    def say(self, text: str) -> Envelope:
        """The next event of the chain."""
        self.seq += 1
        fields: dict[str, object] = {
            "author": self.author,
            "device_id": "",
            "event_type": "note_added",
            "hlc": hlc.render(hlc.Stamp(NOW + self.seq, 0)),
            "payload": {"text": text},
            "prev": self.prev,
            "seq": self.seq,
            "timestamp": hlc.timestamp(NOW + self.seq),
            "v": 1,
        }
        body = codec.encode(fields)
        self.prev = ids.event_hash(body)
        return signing.seal(self.seed, body), body


class Peer:
    """A ledger and whom it takes for members; seq 0 of an author in `members` means all."""

    def __init__(self, home: Path) -> None:
        self.ledger = Ledger.open(home)
        self.ledger._db.execute("PRAGMA synchronous=OFF")  # nothing here outlives the process
        self.members: set[str] = set()
        self.everyone = False

    @property
    def author(self) -> str:
        return self.ledger.author

    def admits(self, author: str, seq: int) -> bool:
        return self.everyone or author in self.members

    def trust(self, others: Iterable["Peer"]) -> None:
        self.members |= {one.author for one in others}

    def end(self, **more: Any) -> End:
        return End(self.ledger, self.admits, **more)

    def holds(self) -> bytes:
        """The digest of what counts here."""
        return digest(Holdings(self.ledger, self.admits).all())

    def authors(self) -> set[str]:
        return set(self.ledger.tips())


def meet(one: Peer, two: Peer) -> tuple[End, End]:
    """A conversation from hello to silence."""
    ends = one.end(), two.end()
    talk(*ends)
    return ends
