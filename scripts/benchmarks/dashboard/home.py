"""A home as large as the dashboard should bear: 50 devices, 1,000 jobs listed, 100,000 events.

The long ledger is `bench ledger`'s: jobs of eight peers, of which a daemon keeps the last ones
whole. As many more as make a thousand have been submitted and wait.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from mesh.cli.client import Daemon, need_daemon
from mesh.edge.store.ledger import Ledger
from mesh.edge.store.state import current_state
from mesh.state.checkpoint import pack
from mesh.state.state import KEEP_ENDED
from scripts.benchmarks.ledger import AUTHORS, BATCH, Author, templates

EVENTS: Final = 100_000
JOBS: Final = 1_000
FEW, MANY = 5, 50
# Cards that people have, in turn; the prices of an hour are made up and differ.
CARDS: Final = ("RTX 4090", "RTX 3090", "RTX 5090", "L40S", "A100 80GB", "H100", "RTX 4070")
WAITS: Final = "job_submitted"


def fill(home: Path, events: int = EVENTS) -> None:
    """The ledger, folded as a daemon keeps it, so that no start folds it all."""
    waiting = JOBS - KEEP_ENDED
    known = templates()
    authors = [Author(number, known) for number in range(AUTHORS)]
    with Ledger.open(home) as ledger:
        for turn, at in enumerate(range(0, events - waiting, BATCH)):
            count = min(BATCH, events - waiting - at)
            ledger.take_in(authors[turn % AUTHORS].write(count))
        _, _, said = known[WAITS]
        for number in range(waiting):
            one = authors[number % AUTHORS]
            ledger.take_in([one.event(WAITS, "", said | {"job_id": f"j-waits-{number:04}"})])
        ledger.put_checkpoint(ledger.last_cursor(), pack(current_state(ledger)))


def describe(home: Path, first: int, last: int) -> None:
    """Devices from number `first` up to `last`, through the daemon."""
    daemon: Daemon = need_daemon(home)
    for number in range(first, last):
        card = CARDS[number % len(CARDS)]
        rate = f"{0.2 + number / 100:.2f}/h"
        daemon.post("/v1/devices", {"name": f"desk-{number:02}", "gpu": card, "rate": rate})
