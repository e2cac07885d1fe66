"""What passes between a peer and a key that was put out of the fleet: evidence, and nothing else.

Whoever was put out by a thief may hold, or be the only way to, what puts the thief out. So it is
heard. What it is told is the recovery key's chain, where there is one: that says who belongs, and
holds nothing else. Nobody who may go on is kept from going on: whom a peer's own ledger has for a
member, it tells everything.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, final

from mesh.sync import messages
from mesh.sync.manifest import DIGEST_BYTES

# Where a stretch is asked from is rounded down to this, so that a key that was put out learns to
# the thousand how much an admin has signed since. One batch more comes over the link for it.
GRAIN: Final = messages.BATCH_EVENTS
# The digest a quiet side says: of nothing it holds. Who reads it knows that it is told nothing of
# itself either, and goes by what others say of its own chain.
SAID: Final = hashlib.blake2b(b"fleet-ledger/quiet/1", digest_size=DIGEST_BYTES).digest()


@final
@dataclass(frozen=True, slots=True)
class Quiet:
    """The rule of a quiet session, by author. Both may be asked in any thread.

    `tells`: whose chain the neighbour is told of. `takes`: whose chain may say who belongs.
    """

    tells: Callable[[str], bool]
    takes: Callable[[str], bool]


def coarse(seq: int) -> int:
    """A seq as a quiet session names it."""
    return seq - seq % GRAIN
