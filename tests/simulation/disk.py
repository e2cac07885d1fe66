"""A peer's disk: what survives when the power goes, what a backup holds, and when it is full."""

import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from mesh.edge.identity import Identity
from mesh.edge.store import schema
from mesh.edge.store.ledger import Ledger, Reader
from mesh.edge.store.writer import Writer
from mesh.ledger.event import Event
from mesh.sync.session import Session


class Crash(BaseException):
    """The power went. Nobody catches it: what was not yet said will never be."""


class Disk:
    """What survives: the bytes of the last commit that reached the platter."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.durable = empty()
        self.previous = self.durable
        self.full = False
        self.fragile = False  # whether the power goes at the next commit

    def sync(self, image: bytes) -> None:
        """Write a commit; the power may go before or after it counts (a torn tail), never half."""
        if self.fragile:
            self.fragile = False
            if self._rng.random() < 0.5:
                self.previous, self.durable = self.durable, image
            raise Crash
        self.previous, self.durable = self.durable, image

    def settle(self) -> None:
        """Some time has passed since the last write."""

    def lose(self) -> None:
        """The power goes."""


class EarlyDisk(Disk):
    """Broken: says that a write is done, and does it some time later."""

    _pending = b""

    def sync(self, image: bytes) -> None:
        if self.fragile:
            self.fragile = False
            raise Crash
        self._pending = image

    def settle(self) -> None:
        self.durable = self._pending or self.durable

    def lose(self) -> None:
        self._pending = b""


class SimLedger(Ledger):
    """The real ledger on a database in memory, saved to a simulated disk at every commit."""

    speaks: Callable[..., Session] = Session  # what its peer's sessions are

    def __init__(
        self,
        who: Identity,
        home: Path,
        disk: Disk,
        step: Callable[[str], None],
        crashed: Callable[[], None],
    ) -> None:
        super().__init__(home, loaded(disk.durable), who, -1)
        self.disk = disk
        self.dead = False
        self._doing = "commit"
        self._step, self._crashed = step, crashed

    @contextmanager
    def _commit(self, what: str) -> Iterator[tuple[Writer, list[Event]]]:
        with super()._commit(what) as found:
            yield found
            if self.dead or self.disk.full:
                raise sqlite3.OperationalError("database or disk is full")
        try:
            self.disk.sync(self._db.serialize())
            self._step(self._doing)
        except Crash:
            self.dead = True
            self._crashed()
            raise

    def put_checkpoint(self, cursor: int, state: bytes) -> None:
        """As the real one; its commit is a step of its own."""
        self._doing = "snapshot"
        try:
            super().put_checkpoint(cursor, state)
        finally:
            self._doing = "commit"

    def reader(self) -> Reader:
        """What another connection sees at this moment; whoever folds anew reads from it."""
        self._step("refold")
        return SimReader(self.home, self._db)

    def lose_power(self) -> None:
        """Nothing that is done with it any more is ever seen."""
        self.dead = True


class SimReader(Reader):
    """Reads over the writer's connection: a simulated thread is done before another goes on."""

    def close(self) -> None:
        """The connection is the ledger's."""


def loaded(image: bytes) -> sqlite3.Connection:
    """A database as an image holds it."""
    db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    db.deserialize(image)
    return db


@cache
def empty() -> bytes:
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.execute("PRAGMA page_size=1024")
    schema.prepare(db)
    return db.serialize()
