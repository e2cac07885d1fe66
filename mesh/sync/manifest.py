"""What a peer holds, said briefly: one line per author, one digest over all of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, final

DIGEST_BYTES: Final = 32


@final
@dataclass(frozen=True, slots=True)
class Tip:
    """Where an author's events end. Two peers with equal tips hold equal events of the author.

    `seq` and `hash` (hex) are of the last event. Where the author forked, `fork` is the lowest
    seq with two events, `seq` the highest of any branch, and `hash` covers every event from
    `fork` on; `fork` is 0 for everybody else.
    """

    seq: int
    hash: str
    fork: int = 0


# Whether an author's event of a seq may count. A prefix of each chain does: what is true of a
# seq is true of those before it, so one that is false of seq 1 is false of the author.
Admits = Callable[[str, int], bool]


def branches_hash(hashes: list[str]) -> str:
    """The `hash` of a forked author's tip: over all event hashes from the fork on."""
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for one in sorted(hashes):
        digest.update(bytes.fromhex(one))
    return digest.hexdigest()


def digest(tips: Mapping[str, Tip]) -> bytes:
    """32 bytes that are equal for equal tips, however many events lie under them."""
    total = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for author in sorted(tips):
        tip = tips[author]
        total.update(f"{author} {tip.seq} {tip.hash} {tip.fork}\n".encode())
    return total.digest()


def last_admitted(admits: Admits, author: str, seq: int) -> int:
    """The last seq up to `seq` that the members' rules let through; 0 for none.

    A removed author's events count up to the cut-off, so admission is a prefix.
    """
    if admits(author, seq):
        return seq
    if not admits(author, 1):
        return 0
    low, high = 1, seq
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if admits(author, middle) else (low, middle)
    return low
