"""A daemon's state while members become known one by one, in the order a sync brings them."""

import asyncio
from pathlib import Path

from mesh.config import Config
from mesh.edge.identity import Fleet, join_fleet
from mesh.edge.store.ledger import Ledger
from mesh.edge.store.state import whole_fold
from mesh.node import Node
from mesh.state.checkpoint import digest
from mesh.state.members import RUNNER
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
        # The guests' events first, who may say them last: the worst order there is.
        for other in (*guests, ana):
            path = tmp_path / "stick.jsonl"
            other.ledger.export(path)
            await node.import_(path, "a stick")
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
