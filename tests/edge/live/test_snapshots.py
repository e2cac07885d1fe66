"""A snapshot is used only where it is exactly the first events of its ledger."""

import asyncio
import shutil
from pathlib import Path

import pytest

from mesh.edge import live as live_module
from mesh.edge.store.ledger import Reader
from mesh.edge.store.state import current_state, snapshot_finding, whole_fold
from mesh.state.checkpoint import digest, pack
from tests.edge.lives import (
    Peer,
    assert_sound,
    assert_told_once,
    connect,
    envelopes,
    settled,
    until,
)


async def test_a_snapshot_that_claims_events_it_lacks_is_found_and_not_used(ana: Peer) -> None:
    for number in range(3):
        await ana.note(str(number))
    await ana.live._run(ana.writer, int)  # its own first snapshot is written
    ana.ledger.put_checkpoint(2, pack(ana.state))
    assert_unused(ana, "claims the first 2 events of 3 and holds 3")
    short = pack(ana.state)
    await ana.note("one more")
    ana.ledger.put_checkpoint(4, short)
    assert_unused(ana, "claims the first 4 events of 4 and holds 3")


def assert_unused(peer: Peer, text: str) -> None:
    finding = snapshot_finding(peer.ledger)
    assert finding is not None
    assert text in finding.text
    assert digest(current_state(peer.ledger)) == digest(whole_fold(peer.ledger))


async def test_a_snapshot_ahead_of_a_shorter_ledger_is_not_used(ana: Peer, ben: Peer) -> None:
    for number in range(3):
        await ana.note(str(number))
    await ana.live._run(ana.writer, int)  # its own first snapshot is written
    ana.live.snapshot()
    kept = ana.ledger.get_checkpoint()
    assert kept is not None
    await ben.note()
    await ben.live._run(ben.writer, int)  # its own first snapshot is written
    ben.ledger.put_checkpoint(*kept)
    assert_unused(ben, "claims the first 3 events of 1 and holds 3")


async def test_a_snapshot_with_another_content_than_its_events_is_found(ana: Peer) -> None:
    for number in range(3):
        await ana.note(str(number))
    await ana.live._run(ana.writer, int)  # its own first snapshot is written
    wrong = whole_fold(ana.ledger)
    wrong.counts[ana.ledger.author].notes = 2
    ana.ledger.put_checkpoint(3, pack(wrong))
    await ana.note("after it")
    finding = snapshot_finding(ana.ledger)
    assert finding is not None
    assert "is not what the first 3 events say" in finding.text


async def test_a_reader_of_a_growing_ledger_folds_one_moment_of_it(ana: Peer) -> None:
    """Pages come in total order, so that events written meanwhile may belong to those read."""
    for number in range(600):
        ana.ledger.append("note_added", "", {"text": str(number)}, ana.now())
    reader = Reader.open(ana.home)
    pages = reader.ordered(reader.last_cursor())
    first = next(pages)
    for number in range(600):
        ana.ledger.append("note_added", "", {"text": f"new {number}"}, ana.now())
    assert len([first, *pages]) == 600
    reader.close()


async def test_a_full_disk_costs_the_snapshot_and_not_the_state(
    ana: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mesh.edge.disk import StoreError

    def full(*_: object) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(live_module, "SNAPSHOT_EVENTS", 1)
    monkeypatch.setattr(ana.ledger, "put_checkpoint", full)
    for number in range(3):
        await ana.note(str(number))
    assert ana.ledger.get_checkpoint() is None
    monkeypatch.undo()
    assert_sound(ana)


async def test_a_home_copied_while_its_peer_runs_opens_with_the_state_of_its_ledger(
    tmp_path: Path, ana: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What kill -9 leaves while batches of several neighbours come in."""
    monkeypatch.setattr(live_module, "SNAPSHOT_EVENTS", 5)
    monkeypatch.setattr("mesh.sync.messages.BATCH_EVENTS", 10)
    fars = [Peer(tmp_path / f"far{n}") for n in range(3)]
    for far in fars:
        for number in range(60):
            await far.note(str(number))
    copies, put = [], ana.ledger.put_checkpoint

    def copied(cursor: int, blob: bytes) -> None:
        put(cursor, blob)
        copies.append(tmp_path / f"copy{len(copies)}")
        shutil.copytree(ana.home, copies[-1])

    monkeypatch.setattr(ana.ledger, "put_checkpoint", copied)
    for far in fars:
        connect(ana, far)
    await until(lambda: ana.state.event_count == 180)
    await settled(ana)
    assert_sound(ana)
    assert_told_once(ana)
    for far in fars:
        await far.close()
    assert len(copies) > 3
    for copy in copies:
        reader = Reader.open(copy)
        assert digest(current_state(reader)) == digest(whole_fold(reader))
        assert snapshot_finding(reader) is None
        reader.close()


async def test_the_snapshot_of_the_end_holds_what_a_last_verdict_changed(
    ana: Peer, ben: Peer
) -> None:
    """A removal that came with the last breath takes back what is folded already."""
    await ana.found()
    await ana.let_in(ben)
    notes = [await ben.note(str(number)) for number in range(3)]
    await ana.live.take_in(envelopes(ben.ledger))
    assert ana.state.note_count == 3
    put_out = {"key": ben.ledger.author, "epoch": 1, "until": 1, "until_hash": notes[0].hash}
    ana.ledger.append("peer_removed", "", put_out, ana.now())
    await asyncio.to_thread(ana.writer.shutdown)
    ana.live.close()
    assert ana.ledger.get_checkpoint() is not None
    assert snapshot_finding(ana.ledger) is None
    assert current_state(ana.ledger).note_count == whole_fold(ana.ledger).note_count == 1
