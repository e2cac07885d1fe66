"""Whenever the power goes, the next start is what the ledger says."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from mesh.edge import live as live_module
from mesh.edge.store import schema
from mesh.edge.store.ledger import Ledger
from mesh.edge.store.state import current_state, snapshot_finding, whole_fold
from mesh.ledger.event import Event
from mesh.state.checkpoint import digest
from mesh.sync.archive import Envelope
from tests.edge.lives import (
    Peer,
    envelopes,
    settled,
)


class Crash(BaseException):
    """The power went."""


class Fragile:
    """A database connection whose power goes at the n-th statement that commits or snapshots."""

    left, after, dead = 0, False, False

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db

    def __getattr__(self, name: str) -> Any:
        if Fragile.dead and name != "close":
            raise Crash
        return getattr(self.db, name)

    def execute(self, text: str, *values: Any) -> Any:
        if Fragile.dead:
            raise Crash
        fatal = False
        if text.startswith(("COMMIT", "INSERT OR REPLACE INTO checkpoints")):
            Fragile.left -= 1
            fatal = Fragile.left == 0
        if fatal and not Fragile.after:
            Fragile.dead = True
            raise Crash
        done = self.db.execute(text, *values)
        if fatal:
            Fragile.dead = True
            raise Crash
        return done


@pytest.fixture
def fragile(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Fragile]]:
    sound = schema.connect
    monkeypatch.setattr(schema, "connect", lambda *at: Fragile(sound(*at)))
    monkeypatch.setattr(live_module, "SNAPSHOT_EVENTS", 3)
    yield Fragile
    Fragile.left, Fragile.dead = 0, False


async def a_day(peer: Peer, brought: list[Envelope], acknowledged: list[Event]) -> None:
    """Notes, a fleet founded, an import, a job that is told of late, an orderly end."""
    await peer.found()
    for text in ("one", "two", "three", "four"):
        acknowledged += [await peer.note(text)]
    await peer.live.take_in(brought[:3])
    peer.state.stale = True  # as an event that changes what is no longer kept makes it
    acknowledged.append(await peer.note("late"))
    await settled(peer)
    await peer.live.take_in(brought[3:])
    await asyncio.to_thread(peer.writer.shutdown)
    peer.live.close()
    peer.ledger.close()


@pytest.mark.parametrize("when", ["before", "after"])
async def test_the_power_goes_at_any_commit_and_the_next_start_is_what_the_ledger_says(
    tmp_path: Path, fragile: type[Fragile], when: str
) -> None:
    with Ledger.open(tmp_path / "ben") as other:
        for number in range(6):
            other.append("note_added", "", {"text": str(number)}, 1_790_000_000_000)
        brought = envelopes(other)
    for at in range(1, 100):
        home = tmp_path / f"home{at}"
        peer = Peer(home)
        acknowledged: list[Event] = []
        fragile.left, fragile.after = at, when == "after"
        ended = False
        with suppress(Crash):
            await asyncio.wait_for(a_day(peer, brought, acknowledged), 60)
            ended = True
        fragile.left, fragile.dead = 0, False
        if not ended:
            await peer.crash()
        with Ledger.open(home) as ledger:
            assert digest(current_state(ledger)) == digest(whole_fold(ledger))
            assert snapshot_finding(ledger) is None
            assert {e.id for e in acknowledged} <= {e.id for _, e in ledger.events()}
            assert ledger.verify().ok
        if ended:
            assert at > 10
            return
    raise AssertionError("no end")
