"""A ledger whose disk can lose what was not yet written when the power went."""

import random
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from mesh.edge.identity import Identity, peer_id
from mesh.edge.store.ledger import Ledger, schema
from mesh.edge.store.writer import Writer
from mesh.ledger import signing
from mesh.ledger.event import Event


class Crash(Exception):
    """The power went while a commit was being written; nobody was told that it succeeded."""


class Disk:
    """What survives: the bytes of the last commit that reached the platter."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.durable = _empty()
        self.fragile = False  # whether the power may go in the middle of a write

    def sync(self, image: bytes) -> None:
        """Write a commit; the power may go before or after it counts, never half way."""
        if self.fragile and self._rng.random() < 0.1:
            self.fragile = False
            if self._rng.random() < 0.5:
                self.durable = image
            raise Crash
        self.durable = image

    def settle(self) -> None:
        """Some time has passed since the last write."""

    def lose(self) -> None:
        """The power goes."""


class EarlyDisk(Disk):
    """Broken: says that a write is done, and does it some time later."""

    _pending = b""

    def sync(self, image: bytes) -> None:
        self._pending = image

    def settle(self) -> None:
        self.durable = self._pending or self.durable

    def lose(self) -> None:
        self._pending = b""


class SimLedger(Ledger):
    """The real ledger on a database in memory, saved to a simulated disk at every commit."""

    def __init__(self, who: Identity, disk: Disk) -> None:
        db = sqlite3.connect(":memory:", isolation_level=None)
        db.deserialize(disk.durable)
        super().__init__(Path(), db, who, -1)
        self.disk = disk

    @contextmanager
    def _commit(self, what: str) -> Iterator[tuple[Writer, list[Event]]]:
        with super()._commit(what) as found:
            yield found
        self.disk.sync(self._db.serialize())


def identity(number: int) -> Identity:
    """The same key for the same number."""
    seed = number.to_bytes(32, "big")
    author = signing.author_of(seed)
    return Identity(seed=seed, author=author, peer_id=peer_id(author))


@cache
def _empty() -> bytes:
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.execute("PRAGMA page_size=1024")
    schema.prepare(db)
    return db.serialize()
