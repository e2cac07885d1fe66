"""The live state takes what was committed page by page, in any order, and knows its own."""

import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from mesh.edge import live as live_module
from mesh.edge.store import ledger as ledger_module
from mesh.state.members import ADMIN
from tests.edge.lives import (
    Peer,
    assert_sound,
    assert_told_once,
    envelopes,
    settled,
)


def test_memory_serves_what_is_contiguous_and_leaves_the_rest_to_the_disk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ledger_module, "MAX_RECENT_COMMITS", 2)
    recent = ledger_module.Recent(3)
    events: list[Any] = list(enumerate("abcd", 4))
    assert recent.after(3) == []
    assert recent.after(2) is None
    recent.add(events[:2])
    recent.add(events[2:3])
    assert recent.after(3) == [(4, "a"), (5, "b"), (6, "c")]
    assert recent.after(4) == [(5, "b"), (6, "c")]
    assert recent.after(7) is None
    recent.add(events[3:4])
    assert recent.after(3) is None
    assert recent.after(5) == [(6, "c"), (7, "d")]
    skipped: Any = "f"
    recent.add([(9, skipped)])
    assert recent.after(7) is None
    assert recent.after(8) == [(9, "f")]


async def test_a_ledger_hands_out_pages_from_memory_and_disk_alike(
    ana: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "COMMITTED_PAGE", 2)
    for number in range(5):
        await ana.note(str(number))
    for recent in (ana.ledger._recent, ledger_module.Recent(99)):
        monkeypatch.setattr(ana.ledger, "_recent", recent)
        after, found = 0, []
        while page := ana.ledger.committed(after):
            assert len(page) <= 2
            after, found = page[-1][0], [*found, *page]
        assert found == list(ana.ledger.events())


async def test_own_events_are_admitted_whatever_the_fleet_says_of_their_author(
    ana: Peer, ben: Peer
) -> None:
    await ana.found()
    await ana.let_in(ben)
    fact: dict[str, object] = {"key": ben.ledger.author, "epoch": 1, "until": 0, "until_hash": ""}
    await ana.live.emit("peer_removed", "", fact)
    await ben.live.take_in(envelopes(ana.ledger))
    assert ben.live.admits(ben.ledger.author, 1 << 40)
    assert not ana.live.admits(ben.ledger.author, 1 << 40)


@pytest.mark.parametrize("seed", range(12))
async def test_members_and_jobs_in_any_order_give_one_state_live_whole_and_from_a_snapshot(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(seed)
    monkeypatch.setattr(live_module, "SNAPSHOT_EVENTS", rng.choice((1, 7, 30)))
    monkeypatch.setattr(live_module, "REFOLD_PAUSES", 0)
    root, hub, *guests = (Peer(tmp_path / name) for name in ("root", "hub", "g1", "g2", "g3"))
    await root.found()
    for guest in rng.sample(guests, 3):
        for number in range(rng.randrange(6)):
            await guest.live.emit("job_submitted", "d", {"job_id": f"j{number}", "model": "m"})
        await root.let_in(guest)
        for number in range(rng.randrange(8)):
            kind = rng.choice(("job_dispatched", "job_started", "job_completed"))
            await guest.live.emit(kind, "d", {"job_id": f"j{number}", "actual_cost_nusd": 5})
    brought = [[one] for peer in (root, *guests) for one in envelopes(peer.ledger)]
    rng.shuffle(brought)
    for one in brought:
        await hub.live.take_in(one)
        if rng.random() < 0.1:
            await hub.note()
    await hub.live.belong(root.live._fleet)  # type: ignore[arg-type]
    await settled(hub)
    assert_sound(hub)
    assert_told_once(hub)
    home = hub.home
    for peer in (root, hub, *guests):
        await peer.close()
    again = Peer(home, alone=True)
    assert_sound(again)
    await again.note("goes on")
    assert_sound(again)
    await again.close()


async def test_the_ledger_knows_what_statements_name_also_where_a_note_changes_verdicts(
    tmp_path: Path, ana: Peer, ben: Peer
) -> None:
    """A second history of a key that was put out by number takes back what it said of another."""
    await ana.found()
    await ana.let_in(ben, ADMIN)
    cid = Peer(tmp_path / "cid")
    await ana.let_in(cid)
    tip = (await cid.note()).hash
    gone = {"key": cid.ledger.author, "epoch": 1, "until": 1, "until_hash": tip}
    ben.ledger.append("peer_removed", "", gone, ben.now())
    await ana.live.take_in(envelopes(ben.ledger))
    gone = {"key": ben.ledger.author, "epoch": 1, "until": 5, "until_hash": ""}
    await ana.live.emit("peer_removed", "", gone)
    assert tip in ana.state.members.named
    (tmp_path / "twin").mkdir()
    shutil.copy(ben.home / "identity.key", tmp_path / "twin")
    twin = Peer(tmp_path / "twin")
    await twin.note("another first word")
    await ana.live.take_in(envelopes(twin.ledger))
    assert tip not in ana.state.members.named
    assert ana.ledger._writer.tips.wanted == ana.state.members.named
    assert_sound(ana)
    for peer in (cid, twin):
        await peer.close()
