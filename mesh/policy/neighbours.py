"""Whom a peer keeps links to: everyone in a small fleet, a few in a large one. Pure.

Peers stand on a ring in the order of their keys' hashes. Each wants the next ones and one across,
so the fleet hangs together whoever is away, and no peer's cost grows with the fleet.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import Final

# Links a peer dials; about as many dial it, so it ends up with 8.
OUTBOUND: Final = 4
# Up to this many others, everybody keeps a link to everybody.
SMALL_FLEET: Final = 8


def choose(me: bytes, others: Collection[bytes], failing: Collection[bytes]) -> list[bytes]:
    """The keys to be linked with. Those that don't answer are kept trying, and others stand in."""
    if len(others) <= SMALL_FLEET:
        return sorted(others)
    wanted: list[bytes] = []
    sound = 0
    for key in _order(me, others):
        wanted.append(key)
        sound += key not in failing
        if sound == OUTBOUND:
            break
    return wanted


def turn(others: Collection[bytes], number: int, count: int) -> list[bytes]:
    """The keys whose turn it is, `count` at a time, so that all have had one after some turns."""
    ring = sorted(others, key=_place)
    start = number * count % max(1, len(ring))
    return [*ring[start:], *ring[:start]][:count]


def _order(me: bytes, others: Collection[bytes]) -> list[bytes]:
    """The others as they come after `me` on the ring, one from across moved to the second place."""
    ring = sorted([me, *others], key=_place)
    start = ring.index(me)
    after = ring[start + 1 :] + ring[:start]
    across = after.pop(len(after) // 2)
    return [after[0], across, *after[1:]]


def _place(key: bytes) -> bytes:
    return hashlib.blake2b(key, digest_size=16).digest()
