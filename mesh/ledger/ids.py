"""Names derived from bytes: an event's hash and id."""

from __future__ import annotations

import base64
import hashlib
from typing import Final

# 26 base32 characters are 130 bits: no two events will ever share an id by chance.
ID_CHARACTERS: Final = 26


def event_hash(body: bytes) -> str:
    """Hex blake2b-256 of the canonical body."""
    return hashlib.blake2b(body, digest_size=32).hexdigest()


def event_id(hash_hex: str) -> str:
    """The word "evt-" and the first 26 characters of the hash in lowercase base32."""
    text = base64.b32encode(bytes.fromhex(hash_hex)).decode("ascii").lower()
    return "evt-" + text[:ID_CHARACTERS]
