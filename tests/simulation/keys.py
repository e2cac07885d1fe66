"""Simulated keys: the same for the same number, and signatures that cost a hash, not a curve.

They are as good as real ones here: nobody in a schedule makes one without the secret seed.
"""

import hashlib
from functools import cache

from mesh.edge.identity import Identity
from mesh.ledger.signing import DOMAIN, SIGNATURE_BYTES, author_of
from mesh.state.peer_id import peer_id

RECOVERY = 900  # numbers of keys: peers count from 1, invented ones from 10,000
EVIL = 950
INVENTED = 10_000

_SEEDS: dict[str, bytes] = {}  # by author
_INVENTED: set[str] = set()


@cache
def identity(number: int) -> Identity:
    """The key of this number."""
    seed = number.to_bytes(32, "big")
    author = author_of(seed)
    _SEEDS[author] = seed
    if number >= INVENTED:
        _INVENTED.add(author)
    return Identity(seed=seed, author=author, peer_id=peer_id(author))


def seal(seed: bytes, body: bytes) -> bytes:
    """Stands for `signing.seal`."""
    return hashlib.blake2b(DOMAIN + body, key=seed, digest_size=SIGNATURE_BYTES).digest()


def verify(author: str, sig: bytes, body: bytes) -> bool:
    """Stands for `signing.verify`."""
    seed = _SEEDS.get(author)
    return seed is not None and seal(seed, body) == sig


def is_invented(author: str) -> bool:
    """Whether a key is one that a crook made up and nobody ever let in."""
    return author in _INVENTED
