"""A daemon's state while members become known one by one, in the order a sync brings them."""

import asyncio
from pathlib import Path

import pytest

from mesh.config import Config
from mesh.edge.identity import Fleet, join_fleet
from mesh.edge.signing import voice as voice_module
from mesh.edge.signing.hearing import NotHeard
from mesh.edge.store.ledger import Ledger
from mesh.edge.store.state import whole_fold
from mesh.node import Node
from mesh.state.checkpoint import digest
from mesh.state.members import RUNNER
from mesh.sync.wants import NOTHING
from tests.edge.pairing.test_desk import Home, let_in


async def test_late_news_of_members_ends_in_the_state_of_a_reader(tmp_path: Path) -> None:
    ana, guests = Home(tmp_path, "ana"), [Home(tmp_path, f"g{n}") for n in range(4)]
    for guest in guests:
        await let_in(ana, guest, RUNNER)
        for n in range(20):
            await guest.emit("note_added", "", {"text": f"{guest.name} {n}"})
    home = tmp_path / "ben"
    ledger = Ledger.open(home)
    join_fleet(home, Fleet(root=ana.who.author))
    node = Node(home, Config(name="ben", listen="none"), ledger, alone=True)
    running = asyncio.create_task(node.run())
    try:
        # The guests' events first, who may say them last: they are strangers until then.
        for other in (*guests, ana, *guests):
            path = tmp_path / "stick.jsonl"
            other.ledger.export(path)
            report = await node.import_(path, "a stick")
            known = node.state.members.seen(ana.who.author) > 0
            assert report.rejected_count == (0 if known else 20)
        async with asyncio.timeout(30):
            while True:
                if node.ready and not node.state.stale:
                    break
                await asyncio.sleep(0.02)
        assert node.state.note_count == 80
        assert digest(node.state) == digest(whole_fold(ledger))
    finally:
        node.shutdown()
        await running
        node.close()
        for one in (ana, *guests):
            one.ledger.close()


async def test_a_member_that_nobody_has_answered_yet_serves_and_waits_to_sign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(voice_module, "PATIENCE_S", 0.01)
    join_fleet(tmp_path, Fleet(root="ab" * 32))
    node = Node(tmp_path, Config(name="ben", listen="none"), Ledger.open(tmp_path))
    running = asyncio.create_task(node.run())
    try:
        async with asyncio.timeout(30):
            while not node.ready:  # noqa: ASYNC110  the node says so itself
                await asyncio.sleep(0.02)
        assert "a member that says" in str(node.status()["waiting_for"])
        assert "this peer signs nothing yet" in capsys.readouterr().err
        with pytest.raises(NotHeard):
            await node.note("too early")
        assert node.state.event_count == 0
        node._live.heard(NOTHING)
        async with asyncio.timeout(60):
            while not node.state.event_count:  # noqa: ASYNC110  it announces its devices itself
                await asyncio.sleep(0.02)
        assert node.status()["waiting_for"] == ""
        assert (await node.note("now")).seq == node.state.event_count
    finally:
        node.shutdown()
        await running
        node.close()
